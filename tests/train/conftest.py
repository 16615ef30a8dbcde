"""Shared by these tests: modes of MindSpore, and one small run on two ranks to compare with."""

import gc
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mindspore as ms
import pytest

from tests.marked import Marked, StartMarked
from tests.ranks import run_train


@pytest.fixture(scope="session")
def start_config(small_tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Local branches, batch norm, momentum, clipping; a checkpoint at every consolidation point."""
    tree = {
        **small_tree,
        "datasets": {name: small_tree["datasets"][name] for name in ("fields", "coast")},
        "schedule": {"steps": 6, "consolidate_every": 2},
        "checkpoint": {"every": 2, "keep": 9},
        "optimizer": {"learning_rate": 0.05, "clip_norm": 2.0},
    }
    path = tmp_path_factory.mktemp("starts") / "start.yaml"
    path.write_text(json.dumps(tree))
    return path


@pytest.fixture(scope="session")
def launched(start_config: Path) -> Path:
    """The run folder of that configuration on two ranks under our launcher."""
    run_dir = start_config.parent / "launched"
    run_train(2, start_config, f"run_dir={run_dir}", graphs=start_config.parent / "graphs")
    return run_dir


@pytest.fixture
def start() -> Iterator[StartMarked]:
    """Starts processes; what is left of them after the test is killed."""
    started: list[Marked] = []

    def run(*command: object, variables: Mapping[str, str] | None = None) -> Marked:
        started.append(Marked(command, variables or {}))
        return started[-1]

    yield run
    for process in started:
        process.clean_up()


@pytest.fixture
def graph_mode() -> None:
    """Networks are compiled, as in a run."""
    gc.collect()  # a Cell that is collected while another one compiles may cost it a second time
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")


@pytest.fixture
def eager(graph_mode: None) -> None:
    """Operator by operator: much quicker where a network is used a few times."""
    ms.set_context(mode=ms.PYNATIVE_MODE)
