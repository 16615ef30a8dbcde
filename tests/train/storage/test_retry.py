"""What is tried again, after which pauses, and what is no use to try again."""

import errno
import random

import pytest
from botocore.exceptions import (  # type: ignore[import-untyped]
    NoCredentialsError,
    PartialCredentialsError,
)

from train.errors import UserError
from train.storage import retry
from train.storage.retry import Damaged, Retry, Stopped, StorageError, WrongDigest


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of every retry, which take no time, without their jitter."""
    made: list[float] = []

    class Recorded(Retry):
        def __init__(self, tries: int) -> None:
            super().__init__(tries)
            stop = self.stop
            stop.wait = lambda seconds: made.append(seconds) or stop.is_set()  # type: ignore

    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)
    monkeypatch.setattr(retry, "Retry", Recorded)
    return made


class Failing:
    """Fails so many times with an error, then succeeds."""

    def __init__(self, error: BaseException, times: int = 10**6) -> None:
        self.error, self.times, self.calls = error, times, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "done"


def test_pauses_double_up_to_half_a_minute(pauses: list[float]) -> None:
    action = Failing(OSError(errno.EIO, "broken"), 8)
    assert retry.Retry(9).call("x", action) == "done" and action.calls == 9
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError(errno.EIO, "bro\nken"), StorageError, "bro ken"),
        (WrongDigest("not the one"), Damaged, "not the one"),
    ],
)
def test_what_fails_every_time(
    pauses: list[float], error: Exception, kind: type[Exception], words: str
) -> None:
    action = Failing(error)
    with pytest.raises(StorageError) as caught:
        retry.Retry(3).call("big from there", action)
    assert type(caught.value) is kind and action.calls == 3 and len(pauses) == 2
    assert str(caught.value) == f"big from there: {words} (3 tries)"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space"), "x: the disk is full"),
        (OSError(errno.EDQUOT, "Quota"), "x: the disk is full"),
        (OSError(errno.EACCES, "Denied", "/a/b"), "x: /a/b: Denied"),
        (FileNotFoundError("The bucket"), "x: does not exist (The bucket)"),
        (PermissionError("The key"), "x: access denied (The key)"),
        (NoCredentialsError(), "x: Unable to locate credentials"),
        (PartialCredentialsError(provider="p", cred_var="v"), "x: Partial credentials found in p"),
        (UserError("as it is"), "as it is"),
    ],
)
def test_what_is_no_use_to_try_again(pauses: list[float], error: Exception, told: str) -> None:
    action = Failing(error)
    with pytest.raises(UserError) as caught:
        retry.Retry(3).call("x", action)
    assert str(caught.value).startswith(told) and action.calls == 1 and pauses == []


def test_a_stop_ends_it_at_once_or_in_the_pause(pauses: list[float]) -> None:
    asked = Failing(Stopped())
    with pytest.raises(Stopped):
        retry.Retry(3).call("x", asked)
    assert asked.calls == 1
    stopped, action = retry.Retry(3), Failing(OSError(errno.EIO, "broken"))
    stopped.stop.set()
    with pytest.raises(Stopped):
        stopped.call("x", action)
    assert action.calls == 1 and pauses == [0.5]
