"""Which process of how many this is, from the variables of whoever has started it."""

import pytest

from tools.predict.share import Share
from train.errors import UserError


@pytest.mark.parametrize(
    ("variables", "rank", "size"),
    [
        ({}, 0, 1),
        ({"RANK_ID": "2", "RANK_SIZE": "3"}, 2, 3),
        ({"MS_NODE_ID": "1", "MS_WORKER_NUM": "2", "MS_ROLE": "MS_WORKER"}, 1, 2),
        ({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "8"}, 5, 8),
        # A script of a job, outside of srun, is alone.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, 0, 1),
        ({"RANK_SIZE": "8"}, 0, 1),
        (
            {
                "OMPI_COMM_WORLD_RANK": "1",
                "OMPI_COMM_WORLD_SIZE": "4",
                "OMPI_COMM_WORLD_LOCAL_RANK": "1",
            },
            1,
            4,
        ),
        ({"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "0"}, 3, 4),
    ],
)
def test_starters(variables: dict[str, str], rank: int, size: int) -> None:
    assert Share.of(variables) == Share(rank, size)


@pytest.mark.parametrize(("rank", "size"), [("3", "3"), ("x", "3"), ("0", "-1")])
def test_wrong_variables(rank: str, size: str) -> None:
    with pytest.raises(UserError, match="environment: RANK_ID and RANK_SIZE must be"):
        Share.of({"RANK_ID": rank, "RANK_SIZE": size})


def test_all_is_done_by_somebody() -> None:
    shares = [Share(rank, 3) for rank in range(3)]
    assert all([share.mine(n) for share in shares].count(True) == 1 for n in range(20))


def test_devices() -> None:
    """Processes of one machine do not meet on one device."""
    slurm = {"SLURM_LOCALID": "2"}
    Share(2, 4).choose_device(slurm)
    assert slurm["DEVICE_ID"] == "2"
    given = {"SLURM_LOCALID": "2", "DEVICE_ID": "5"}
    Share(2, 4).choose_device(given)
    assert given["DEVICE_ID"] == "5"
    alone = {"SLURM_LOCALID": "0"}
    Share(0, 1).choose_device(alone)
    assert "DEVICE_ID" not in alone
