"""Uploading the results of a run in the background: whatever the store does, training goes on."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from train.errors import UserError
from train.storage.retry import permanent, reason
from train.storage.run_mirror import Mirror

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
# While a process waits for its end, a store that is back should not be noticed a minute later.
_LONGEST_PAUSE_AT_THE_END = 5.0
_SILENT_SECONDS = 5.0


@dataclass(frozen=True)
class Outcome:
    """What has become of the results.

    Attributes:
        missing: Names of the files that the store lacks, or of which it has an older state.
        error: Why, None if nothing is missing.
    """

    missing: list[str] = field(default_factory=list)
    error: str | None = None


class Uploader:
    """A thread that keeps the run folder in object storage up to date.

    Args:
        address: The run folder in object storage.
        mirror: Sends the files.
        every: Seconds between two passes.
        seconds: How long the end waits for the last results.
        say: Called with a line when trouble begins and when it is over.
    """

    def __init__(
        self, address: str, mirror: Mirror, every: float, seconds: float, say: Callable[[str], None]
    ) -> None:
        self.address = address
        self.seconds = seconds
        self._mirror = mirror
        self._every = every
        self._say = say
        self._error: str | None = None
        self._wake = threading.Event()
        # Set by the thread when a pass that began after the request has come to its end.
        self._request: threading.Event | None = None
        self._with_summary = False
        self._closed = False
        # A daemon: a store that does not answer must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="upload", daemon=True)

    @property
    def started(self) -> bool:
        """Whether there is anything to finish."""
        return self._thread.ident is not None

    def start(self, step: int | None) -> None:
        """Send the configuration, and start the thread that sends everything else.

        Args:
            step: The step that the run resumes from, None for one that is completed.

        Raises:
            UserError: The store does not take it, and it is no use to try again.
        """
        try:
            self._mirror.begin(step)
        except Exception as error:
            if why := permanent(error):
                raise UserError(f"run_dir: {self.address}: {why}") from None
            self._fail(error)  # the thread tries again
        self._thread.start()

    def soon(self) -> None:
        """Start a pass now: there is something new."""
        self._wake.set()

    def close(self) -> None:
        """Send nothing new any more."""
        self._closed = True
        self._wake.set()

    def finish(self, deadline: float, with_summary: bool = False) -> Outcome:
        """Wait until all that is in the folder now is in the store.

        Args:
            deadline: Until when at most, in seconds of ``time.monotonic``.
            with_summary: Whether to send the summary too.
        """
        request = threading.Event()
        self._with_summary = with_summary
        self._request = request
        self._wake.set()
        left = max(0.0, deadline - time.monotonic())
        if request.wait(min(left, _SILENT_SECONDS)):
            return Outcome()
        if left > _SILENT_SECONDS:
            self._say(f"waiting for the last uploads to {self.address}, at most {left:.0f} s")
            if request.wait(left - _SILENT_SECONDS):
                return Outcome()
        missing = self._mirror.missing(with_summary)
        return Outcome(missing, self._error or "there was not time enough to upload everything")

    def _work(self) -> None:
        pause = 0.0
        while True:
            self._wake.wait(pause or self._every)
            self._wake.clear()
            if self._closed:
                return
            request = self._request
            try:
                self._mirror.update(self._with_summary)
            except Exception as error:
                if self._closed:  # the end has told already what is missing
                    return
                self._fail(error)
                longest = _LONGEST_PAUSE_AT_THE_END if request else _LONGEST_PAUSE
                pause = min(2 * pause or _FIRST_PAUSE, longest)
                continue
            pause = 0.0
            if self._error is not None:
                self._error = None
                self._say(f"{self.address}: results are uploaded again")
            if request is not None:
                request.set()

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._say(
                f"warning: {self.address}: results could not be uploaded: {reason(error)} "
                "(training goes on, and it is tried again)"
            )
        self._error = reason(error)
