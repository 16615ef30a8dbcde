"""Writing checkpoints while training goes on, and what becomes of them on a disk that refuses."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from train.files import disk_of
from train.run.checkpoint import Checkpoint
from train.storage.retry import reason

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0


class Saver:
    """A thread that writes checkpoints, one after the other, while training goes on.

    Args:
        folder: Where they go.
        write: Writes one, all or nothing.
        say: Called with a line when one could not be written, and when one can be again.

    Attributes:
        unsaved: The newest checkpoint, if it could not be written or is being written.
    """

    def __init__(
        self, folder: Path, write: Callable[[Checkpoint], None], say: Callable[[str], None]
    ) -> None:
        self.unsaved: Checkpoint | None = None
        self._folder = folder
        self._write = write
        self._say = say
        self._thread = threading.Thread()
        self._refused: OSError | None = None
        self._broken: BaseException | None = None

    def save(self, checkpoint: Checkpoint) -> None:
        """Begin to write a checkpoint, whose arrays nobody changes any more.

        Waits for the one before, if that is still being written. If that could not be written, this
        one takes its place.
        """
        self.wait()
        self.unsaved = checkpoint
        # No daemon: the process does not end without it.
        self._thread = threading.Thread(target=self._save, args=(checkpoint,), name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Wait until nothing is being written.

        Raises:
            Exception: What has gone wrong, if it was not the disk that refused.
        """
        if self._thread.ident is not None:
            self._thread.join()
        broken, self._broken = self._broken, None
        if broken is not None:
            raise broken

    def settle(self, seconds: float, alive: Callable[[], None]) -> str | None:
        """Wait for the newest checkpoint; if the disk refuses it, try again for a while.

        Args:
            seconds: For how long.
            alive: Called now and then.

        Returns:
            None if it is on the disk, otherwise what is wrong.
        """
        self.wait()
        checkpoint = self.unsaved
        if checkpoint is not None:
            self._say(f"trying for {seconds:g} s to save step {checkpoint.step} nevertheless")
            self._refused = insist(lambda: self._write_out(checkpoint), seconds, alive)
        return None if checkpoint is None or self._refused is None else self._what(checkpoint)

    def _save(self, checkpoint: Checkpoint) -> None:
        before = self._refused
        try:
            self._write_out(checkpoint)
        except OSError as error:
            self._refused = error
            self._say(
                f"warning: the checkpoint of step {checkpoint.step} could not be written: "
                f"{self._what(checkpoint)}; training goes on, and the next one is tried when it is "
                "due"
            )
        except BaseException as error:
            self._broken = error
        else:
            if before is not None:
                self._say(f"{self._folder}: checkpoints are written again")

    def _write_out(self, checkpoint: Checkpoint) -> None:
        self._write(checkpoint)
        self.unsaved = self._refused = None

    def _what(self, checkpoint: Checkpoint) -> str:
        assert self._refused is not None
        disk = disk_of(self._folder, checkpoint.num_bytes)
        return f"{self._folder}: {reason(self._refused)} ({disk})"


def insist(action: Callable[[], None], seconds: float, alive: Callable[[], None]) -> OSError | None:
    """Try what a disk may refuse until it works; return the last error if it never did.

    Args:
        action: What to do, at least once.
        seconds: How long to try.
        alive: Called before every try.
    """
    deadline, pause = time.monotonic() + seconds, _FIRST_PAUSE
    while True:
        alive()
        try:
            action()
        except OSError as error:
            if (left := deadline - time.monotonic()) <= 0:
                return error
        else:
            return None
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)
