"""Jobs for a test to start; what is left of them after the test is killed."""

import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch.script_jobs import Launch, ScriptJob
from tests.launch.two_networks import places  # noqa: F401  fixture
from tests.marked import Marked
from tests.paths import ROOT


@pytest.fixture
def job(tmp_path: Path) -> Iterator[ScriptJob]:
    """A job whose workers are scripts."""
    job = ScriptJob(tmp_path)
    yield job
    job.clean_up()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[ScriptJob]]:
    """The launchers of three nodes of one job, in one folder."""
    nodes = [ScriptJob(tmp_path) for _ in range(3)]
    yield nodes
    for node in nodes:
        node.clean_up()


@pytest.fixture
def started() -> Iterator[list[Marked]]:
    """Processes that a test has started and noted here."""
    started: list[Marked] = []
    yield started
    for process in started:
        process.clean_up()


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Runs python -m launch in an empty folder."""

    def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "launch", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on, with another free one after it."""
    while True:
        port = random.randint(20000, 31000)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("", port))
                second.bind(("", port + 1))
            except OSError:
                continue
            return port
