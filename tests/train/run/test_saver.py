"""Checkpoints that are written beside the training, by a writer that does as it is told."""

import errno
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from train.run.checkpoint import Checkpoint
from train.run.saver import Saver


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"w": np.zeros(1000, np.float32)}, {}, {})


class Writer:
    """Writes when it is let, and fails as often as it is told."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.let.set()
        self.written: list[int] = []
        self.fails: list[Exception] = []

    def __call__(self, checkpoint: Checkpoint) -> None:
        assert self.let.wait(20)
        if self.fails:
            raise self.fails.pop()
        self.written.append(checkpoint.step)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def saver(tmp_path: Path, writer: Writer, said: list[str]) -> Saver:
    return Saver(tmp_path, writer, said.append)


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def in_a_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_training_goes_on_and_the_next_save_waits(saver: Saver, writer: Writer) -> None:
    writer.let.clear()
    saver.save(checkpoint(2))  # returns at once
    next_save = in_a_thread(lambda: saver.save(checkpoint(4)))
    next_save.join(0.2)
    assert next_save.is_alive() and writer.written == []
    writer.let.set()
    next_save.join(20)
    assert saver.settle(0, lambda: None) is None and writer.written == [2, 4]


def test_a_disk_that_refuses_is_told_and_the_next_one_tried(
    saver: Saver, writer: Writer, said: list[str]
) -> None:
    writer.fails = [full(), full()]
    for step in (2, 4, 6, 8):
        saver.save(checkpoint(step))
    assert saver.settle(0, lambda: None) is None and writer.written == [6, 8]
    first, second, again = said
    assert "checkpoint of step 2 could not" in first and "checkpoint of step 4 could not" in second
    assert "No space left on device (disk /" in first and "0.0 MB needed" in first
    assert again.endswith("checkpoints are written again")


def test_what_is_left_at_the_end_is_tried_for_a_while(saver: Saver, writer: Writer) -> None:
    beats: list[int] = []
    writer.fails = [full(), full()]
    saver.save(checkpoint(2))
    assert saver.settle(20, lambda: beats.append(1)) is None
    assert writer.written == [2] and len(beats) == 2
    writer.fails = [full()] * 9
    saver.save(checkpoint(4))
    problem = saver.settle(0.1, lambda: None)
    assert problem is not None and "No space left on device" in problem
    assert saver.unsaved is not None and writer.written == [2]


def test_the_end_waits_for_what_is_being_written(saver: Saver, writer: Writer) -> None:
    """And does not write it a second time beside it."""
    writer.let.clear()
    saver.save(checkpoint(2))
    end = in_a_thread(lambda: saver.settle(20, lambda: None))
    end.join(0.2)
    assert end.is_alive()
    writer.let.set()
    end.join(20)
    assert not end.is_alive() and writer.written == [2]


def test_a_fault_of_ours_ends_the_run(saver: Saver, writer: Writer, said: list[str]) -> None:
    writer.fails = [ValueError("no such thing")]
    saver.save(checkpoint(2))
    with pytest.raises(ValueError, match="no such thing"):
        saver.save(checkpoint(4))
    assert said == []
