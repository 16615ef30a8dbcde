"""The stand-in for CANN, built once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ascend import stand_in
from tests.ascend.stand_in import StandIn
from train.step import graph_cache


@pytest.fixture(scope="session")
def built() -> StandIn:
    """The stand-in; tests that need it skip where it cannot be built."""
    if (why := stand_in.problem()) is not None:
        pytest.skip(why)
    return stand_in.build()


@pytest.fixture(scope="module", autouse=True)
def no_graphs_kept() -> Iterator[None]:
    """What is counted here is what compiling a graph takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(graph_cache.VARIABLE, "0")
        yield


@pytest.fixture
def on_stand_in(built: StandIn, tmp_path: Path) -> dict[str, str]:
    """The environment of a process on the stand-in, whose log is ``tmp_path/log``."""
    return {**os.environ, **built.environment(tmp_path / "log")}
