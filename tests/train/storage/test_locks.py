"""Locks that are held alone or shared, and given up whatever happens."""

from pathlib import Path

import pytest

from train.storage.locks import Lock, waiting


def test_several_may_share_what_nobody_has_alone(tmp_path: Path) -> None:
    first, second, third = (Lock(tmp_path / "lock") for _ in range(3))
    assert first.take(shared=True) and second.take(shared=True) and not third.take()
    first.free()
    assert not third.take()
    second.free()
    assert third.take() and not Lock(tmp_path / "lock").take(shared=True)
    assert third.take(shared=True) and Lock(tmp_path / "lock").take(shared=True)


def test_a_lock_is_given_up_by_who_no_longer_waits_or_fails(tmp_path: Path) -> None:
    holder = Lock(tmp_path / "lock")
    assert holder.take()
    tries: list[float] = []

    def wait(seconds: float) -> None:
        tries.append(seconds)
        if len(tries) == 2:
            raise TimeoutError
        if len(tries) > 2:
            holder.free()

    waiter = Lock(tmp_path / "lock")
    with pytest.raises(TimeoutError), waiting(waiter, wait):
        pytest.fail("was not held")
    with pytest.raises(OSError, match="Bad file descriptor"):
        waiter.touch()
    with pytest.raises(ZeroDivisionError), waiting(Lock(tmp_path / "lock"), wait):
        assert len(tries) == 3 and not Lock(tmp_path / "lock").take(shared=True)
        raise ZeroDivisionError
    assert Lock(tmp_path / "lock").take()
