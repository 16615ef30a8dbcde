"""Who has started this process: nobody else, or a site that starts one for every rank."""

import re

import pytest

from launch.foreign_starter import foreign_starter, rank_in_table
from train.errors import UserError

RANK = {"RANK_ID": "3", "RANK_SIZE": "8"}


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, None),
        (RANK, 3),
        ({"RANK_ID": "0"}, 0),
        ({"RANK_ID": "0", "RANK_SIZE": "1"}, None),
        # A rank of another starter's, which starts a launcher.
        ({**RANK, "MS_ROLE": "MS_WORKER"}, None),
    ],
)
def test_rank_in_table(environment: dict[str, str], rank: int | None) -> None:
    assert rank_in_table(environment) == rank


def test_rank_that_is_none() -> None:
    with pytest.raises(UserError, match=re.escape("RANK_ID must be a whole number, not '-1'")):
        rank_in_table({"RANK_ID": "-1", "RANK_SIZE": "8"})


def test_only_mpirun_takes_the_launcher_s_place() -> None:
    assert foreign_starter({**RANK, "RANK_TABLE_FILE": "hccl.json"}) is None
    under = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}
    assert foreign_starter(under) == "mpirun, as rank 1"
