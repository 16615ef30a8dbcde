"""What the ranks of this node let the launcher know: how far they are, and why they failed."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from launch.plan import Process


@dataclass(frozen=True)
class Recorded:
    """What a rank noted when it failed.

    Attributes:
        time: when, in seconds since 1970.
        message: the last line of its traceback, or the mistake of the user.
    """

    time: float
    message: str


class Signs:
    """A private folder in which every rank keeps the number of its step and notes its failure."""

    def __enter__(self) -> "Signs":
        self._folder = tempfile.TemporaryDirectory(prefix="mtln-", ignore_cleanup_errors=True)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    def variables(self, process: Process) -> dict[str, str]:
        """Returns what tells a process where to leave its signs."""
        if process.rank is None:
            return {}
        return {
            "MTLN_HEARTBEAT": str(self._path(process, "heartbeat")),
            "MTLN_ERROR": str(self._path(process, "error")),
        }

    def beats(self, processes: Iterable[Process]) -> list[int]:
        """Returns when the ranks last gave a sign of life, as numbers to compare."""
        return [self._modified(self._path(process, "heartbeat")) for process in processes]

    def step(self, process: Process) -> int | None:
        """Returns the step that a rank has come to, None before its first."""
        try:
            return int(self._path(process, "heartbeat").read_text())
        except (OSError, ValueError):
            return None

    def recorded(self, process: Process) -> Recorded | None:
        """Returns what a rank has noted of its failure."""
        try:
            values = json.loads(self._path(process, "error").read_text(encoding="utf-8"))
            return Recorded(float(values["time"]), str(values["message"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _path(self, process: Process, kind: str) -> Path:
        return Path(self._folder.name) / f"{process.name.replace(' ', '_')}.{kind}"

    def _modified(self, path: Path) -> int:
        try:
            return path.stat().st_mtime_ns
        except OSError:
            return 0


class HangWatch:
    """Notices that no rank of this node has made progress for too long.

    One look is enough for all: a rank that waits for another in a collective does not get on
    either.

    Args:
        signs: what the ranks let us know.
        processes: the ranks.
        timeout: seconds, 0 for no watch.
        now: the present time in seconds.
    """

    def __init__(
        self, signs: Signs, processes: Iterable[Process], timeout: float, now: float
    ) -> None:
        self._signs = signs
        self._processes = [process for process in processes if process.rank is not None]
        self._timeout = timeout
        self._beats = signs.beats(self._processes)
        self._since = now

    def is_hung(self, now: float) -> bool:
        """Says whether nothing has moved for longer than allowed."""
        if not self._timeout:
            return False
        beats = self._signs.beats(self._processes)
        if beats != self._beats:
            self._beats, self._since = beats, now
        return now - self._since > self._timeout
