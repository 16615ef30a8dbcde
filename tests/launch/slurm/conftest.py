"""A cluster for all tests of this folder, and the project in a folder with a space in its name."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.launch.slurm.cluster import Cluster, Job, missing, running
from tests.paths import ROOT

_PARTS = ("train", "launch", "rank_tables")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running Slurm with two nodes of four cores."""
    if programs := missing():
        pytest.skip(
            f"Slurm is not on this machine, {', '.join(programs)} not found "
            "(Debian, Ubuntu: apt install slurm-wlm munge)"
        )
    with running(Path(tempfile.mkdtemp(prefix="slurm"))) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a job needs of the project, in a folder with a space in its name."""
    copy = tmp_path_factory.mktemp("slurm") / "a project"
    for part in _PARTS:
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.glob("requirements*.txt"):
        shutil.copy(file, copy)
    return copy


Submit = Callable[..., Job]


@pytest.fixture
def submit(
    cluster: Cluster,
    project: Path,
    tmp_path: Path,
    one_task_config: dict[str, Any],
    write_config: Callable[..., Path],
) -> Iterator[Submit]:
    """Submits launch/slurm.sbatch for a small data set, from a folder with a space in its name.

    What is left of the jobs after the test is cancelled.
    """
    folder = tmp_path / "submitted here"
    folder.mkdir()
    write_config(one_task_config, "submitted here/job.yaml")
    jobs: list[Job] = []

    def submit(options: str, settings: str) -> Job:
        script = project / "launch/slurm.sbatch"
        words = [*options.split(), script, "job.yaml", *settings.split()]
        jobs.append(cluster.submit(*words, cwd=folder, MTLN_PYTHON=sys.executable))
        return jobs[-1]

    yield submit
    for job in jobs:
        job.end()
