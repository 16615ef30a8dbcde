"""What the platform passes: arguments and variables."""

import re
from pathlib import Path

import pytest

from launch.modelarts_job import arguments
from launch.modelarts_job.place import Card, Node, Worker, identify
from train.errors import UserError


def test_arguments_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").touch()
    words = "--data_url obs://b/x --train_url= --a.b=1 --c.d -2 e.f=3 --grace=5 --dry-run"
    request = arguments.parse([*words.split(), "--config=c.yaml"], tmp_path, "/fast")
    assert request
    assert request.config == tmp_path / "c.yaml"
    assert request.settings == ["a.b=1", "c.d=-2", "e.f=3"]
    assert request.options == ["--grace", "5"]
    assert (request.data_url, request.train_url) == ("obs://b/x", None)
    assert request.dry_run and request.local_dir == Path("/fast/mtln")
    assert arguments.parse(["--help"], tmp_path, None) is None


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "no configuration file given: --config CONFIG"),
        (["--config", "no.yaml"], "configuration file no.yaml does not exist, neither here nor in"),
        (["--config"], "--config needs a value"),
        (["--model.depth", "--config=c.yaml"], "--model.depth needs a value"),
        (["--config=c.yaml", "--stage_timeout=x"], "--stage_timeout must be a number of seconds"),
    ],
)
def test_wrong_arguments(words: list[str], text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").touch()
    with pytest.raises(UserError, match=re.escape(text)):
        arguments.parse(words, tmp_path, None)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({}, Node(0, 1, None, "")),
        (
            {"MA_NUM_HOSTS": "2", "VC_TASK_INDEX": "1", "VC_WORKER_HOSTS": "a, b"},
            Node(1, 2, None, "a"),
        ),
        ({"RANK_ID": "0", "RANK_SIZE": "1", "RANK_TABLE_FILE": "/user"}, Node(0, 1, None, "")),
        ({"RANK_ID": "3", "RANK_SIZE": "8", "RANK_TABLE_FILE": "/user"}, Card(3)),
        ({"MS_ROLE": "MS_WORKER", "MS_NODE_ID": "3", "MS_WORKER_NUM": "8"}, Worker(3)),
        ({"MS_ROLE": "MS_SCHED", "RANK_ID": "0", "MS_WORKER_NUM": "8"}, Worker(-1)),
    ],
)
def test_places(given: dict[str, str], place: Node | Card) -> None:
    assert identify(given) == place


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"MA_NUM_HOSTS": "2", "VC_TASK_INDEX": "2"}, "VC_TASK_INDEX is 2, but MA_NUM_HOSTS is 2"),
        ({"MA_NUM_HOSTS": "2"}, "MA_NUM_HOSTS is 2, but VC_WORKER_HOSTS names no host"),
        ({"MA_NUM_HOSTS": "two"}, "MA_NUM_HOSTS must be a whole number, not 'two'"),
        ({"RANK_ID": "1", "RANK_SIZE": "8"}, "RANK_ID is 1, but RANK_TABLE_FILE is not set"),
        ({"RANK_ID": "one", "RANK_SIZE": "8"}, "RANK_ID must be a whole number, not 'one'"),
    ],
)
def test_variables_that_contradict_each_other(given: dict[str, str], text: str) -> None:
    with pytest.raises(UserError, match=re.escape(text)):
        identify(given)
