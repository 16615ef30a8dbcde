"""What a run says of the code that has trained it."""

import subprocess
from pathlib import Path

import pytest

from tests.paths import ROOT
from train import __version__
from train.run import code_version as module
from train.run.code_version import code_version


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with this project, or what stands for it."""
    (tmp_path / "project/train").mkdir(parents=True)
    (tmp_path / "project/train/a.py").write_text("1")
    monkeypatch.setattr(module, "_ROOT", tmp_path / "project")
    return tmp_path / "project"


def git(folder: Path, *words: str) -> str:
    own = ["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *own, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    return git(folder, "rev-parse", "HEAD")[:12]


def test_it_is_the_one_that_is_cited() -> None:
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_a_checkout_has_a_commit(root: Path) -> None:
    known = commit(root)
    assert code_version() == f"{__version__}, commit {known}"
    (root / "train/new.py").write_text("no part of it")
    assert code_version() == f"{__version__}, commit {known}"
    (root / "train/a.py").write_text("2")
    assert code_version() == f"{__version__}, commit {known} with changes"


def test_a_copy_has_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor has one that lies in somebody else's checkout, or where there is no git."""
    assert code_version() == __version__
    commit(root.parent)
    assert code_version() == __version__
    monkeypatch.setenv("PATH", "/nowhere")
    assert code_version() == __version__
