"""The queue of the server: what waits together is one batch, and nobody waits for ever."""

import threading
from collections.abc import Sequence

import pytest

from tools.serve.batching import Batcher, Full


class Squares:
    """Squares numbers, as soon as it may; a negative one is a mistake."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.called = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.called.set()
        assert self.may.wait(30)
        self.batches.append(list(numbers))
        if 99 in numbers:
            raise MemoryError("no room")
        return [ValueError(f"{n}") if n < 0 else n * n for n in numbers]


def test_what_waits_is_answered_together() -> None:
    squares = Squares()
    batcher = Batcher(squares, batch=3, waiting=5)
    first = batcher.ask(1)
    assert squares.called.wait(30)
    waiting = [batcher.ask(number) for number in (2, -3, 4, 5, 6)]
    assert batcher.waiting == 5
    with pytest.raises(Full):
        batcher.ask(7)
    waiting[1].cancel()  # nobody waits for it any more
    squares.may.set()
    assert first.result(30) == 1
    assert [waiting[i].result(30) for i in (0, 2, 3, 4)] == [4, 16, 25, 36]
    assert squares.batches == [[1], [2, 4], [5, 6]]
    batcher.close()


def test_a_mistake_and_a_failure_are_their_own_askers() -> None:
    squares = Squares()
    batcher = Batcher(squares, batch=4, waiting=8)
    first = batcher.ask(1)
    assert squares.called.wait(30)
    good, bad = batcher.ask(2), batcher.ask(-2)
    squares.may.set()
    assert (first.result(30), good.result(30)) == (1, 4)
    with pytest.raises(ValueError, match="-2"):
        bad.result(30)
    with pytest.raises(MemoryError, match="no room"):
        batcher.ask(99).result(30)
    assert batcher.ask(3).result(30) == 9  # it goes on
    batcher.close()


def test_what_waits_is_answered_before_the_end() -> None:
    squares = Squares()
    batcher = Batcher(squares, batch=1, waiting=8)
    asked = [batcher.ask(number) for number in range(4)]
    squares.may.set()
    batcher.close()
    assert [one.result(0) for one in asked] == [0, 1, 4, 9]
