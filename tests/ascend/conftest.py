"""The stand-in for CANN, built once."""

import os
from pathlib import Path

import pytest

from tests.ascend import stand_in
from tests.ascend.stand_in import StandIn


@pytest.fixture(scope="session")
def built() -> StandIn:
    """The stand-in; tests that need it skip where it cannot be built."""
    if (why := stand_in.problem()) is not None:
        pytest.skip(why)
    return stand_in.build()


@pytest.fixture
def on_stand_in(built: StandIn, tmp_path: Path) -> dict[str, str]:
    """The environment of a process on the stand-in, whose log is ``tmp_path/log``."""
    return {**os.environ, **built.environment(tmp_path / "log")}
