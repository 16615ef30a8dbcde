"""Looking at what the machine has."""

from pathlib import Path

import pytest

from launch.devices import Machine
from train.environment import visible_npus


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    names = ["davinci0", "davinci3", "davinci12", "davinci_manager", "davinci0.bak", "null"]
    for name in names:
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 3, 12)),
        ({"ASCEND_RT_VISIBLE_DEVICES": "0,1"}, (0, 3)),
        ({"ASCEND_RT_VISIBLE_DEVICES": "2"}, (12,)),
        ({"ASCEND_RT_VISIBLE_DEVICES": "0,1,2,3,4,5"}, (0, 3, 12)),
        ({"ASCEND_RT_VISIBLE_DEVICES": ""}, ()),
    ],
)
def test_visible_npus(dev: Path, environment: dict[str, str], expected: tuple[int, ...]) -> None:
    assert visible_npus(environment, dev) == expected


def test_no_npus(tmp_path: Path) -> None:
    assert visible_npus({}, tmp_path) == ()


@pytest.mark.parametrize(
    ("npus", "cores", "expected"), [(0, 2, 2), (0, 64, 8), (8, 192, 8), (16, 192, 16), (4, 2, 4)]
)
def test_default_world_size(npus: int, cores: int, expected: int) -> None:
    machine = Machine(tuple(range(npus)), (tuple(range(cores)),))
    assert machine.default_world_size == expected
