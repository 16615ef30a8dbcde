"""The reduction through shared memory, with real processes."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.train.distributed.shared_memory_rank import vector
from tests.train.native_calls import native
from train.distributed import shared_memory

RANK = Path(__file__).with_name("shared_memory_rank.py")
PIECE = 1000
# Less than there are ranks, around the size of a piece, several pieces; and again, at once.
SIZES = (1, 2, 999, 1000, 1001, 5003, 1000, 1)


@pytest.fixture(autouse=True)
def library() -> None:
    """Skips where there are no native operators."""
    native()


def start(file: Path, rank: int, ranks: int, **variables: str) -> subprocess.Popen[str]:
    words = [str(word) for word in (RANK, file, rank, ranks, PIECE, *SIZES)]
    return subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, **variables},
        stderr=subprocess.PIPE,
        text=True,
    )


def memory_of(ranks: int, tmp_path: Path) -> Path:
    file = tmp_path / "memory"
    file.write_bytes(bytes(shared_memory.num_bytes(ranks, PIECE)))
    return file


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_sum_in_the_order_of_the_ranks(ranks: int, tmp_path: Path) -> None:
    file = memory_of(ranks, tmp_path)
    processes = [start(file, rank, ranks) for rank in range(ranks)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    expected = [vector(0, size) for size in SIZES]
    for rank in range(1, ranks):
        expected = [e + vector(rank, size) for e, size in zip(expected, SIZES, strict=True)]
    for rank in range(ranks):
        found = np.load(f"{file}.{rank}.npy")
        np.testing.assert_array_equal(found, np.concatenate(expected))


@pytest.mark.slow
def test_a_rank_that_does_not_come(tmp_path: Path) -> None:
    process = start(memory_of(2, tmp_path), 0, 2, MS_CPU_COMM_OP_TIMEOUT="1")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "assert code(name" in err


class Ranks:
    """Two ranks that join one after the other: what they say is put together here."""

    def __init__(self, *others: int) -> None:
        self.others = list(others)

    def sum_of(self, number: int) -> int:
        return number + self.others.pop(0)


def handles() -> list[str]:
    """The memory that this process has open, beside what it has mapped."""
    paths = list(Path("/proc/self/fd").iterdir())
    links = [str(path.readlink()) for path in paths if path.is_symlink()]
    return [link for link in links if "memfd:mtln-" in link]


def test_ranks_without_common_memory_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0 has made it, but rank 1 could not map it."""
    shared: list[int] = []
    monkeypatch.setattr(shared_memory, "share", lambda *_: shared.append(1))
    assert not shared_memory.join(0, 2, Ranks(0, 0, 0).sum_of)
    assert not shared
    assert shared_memory.join(0, 2, Ranks(0, 0, 1).sum_of)
    assert shared == [1]
    assert not handles()


def test_too_little_memory_is_found_out() -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        assert not shared_memory.join(0, 2, Ranks(0, 0, 0).sum_of)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not handles()
