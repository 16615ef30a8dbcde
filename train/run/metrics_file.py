"""``metrics.jsonl``: lines that wait in memory for as long as the disk refuses them."""

import os
from collections.abc import Callable
from pathlib import Path

from train.files import parse_json, replace_file, told
from train.storage.run_download import CONFIG


class MetricsFile:
    """A file of JSON lines, each with its step.

    Args:
        path: The file; beside it the run's configuration tells that the disk is there.
        say: Called with a line when it cannot be written, and when it can be again.
        require_own: Called before the file is written; raises if it is another run's by now.
    """

    def __init__(
        self, path: Path, say: Callable[[str], None], require_own: Callable[[], None]
    ) -> None:
        self._path = path
        self._say = say
        self._require_own = require_own
        # Bytes of whole lines; None before the run begins.
        self._end: int | None = None
        self._waiting: list[str] = []
        self._is_refused = False

    def begin(self, step: int) -> None:
        """Drop the lines after ``step``, which the run will write again; write those that wait.

        Raises:
            OSError: The file cannot be read or written.
        """
        # Bytes: a damaged line need not be text.
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        kept = [line for line in lines if _step_of(line) <= step] if step else []
        kept += [line.encode() for line in self._waiting]
        content = b"".join(line + b"\n" for line in kept)
        replace_file(self._path, content)
        self._waiting.clear()
        self._end = len(content)

    def add(self, line: str) -> None:
        """Write a line, and those that wait; keep it if that cannot be done now."""
        self._waiting.append(line)
        if self._end is None:
            return
        content = "".join(f"{line}\n" for line in self._waiting).encode()
        self._require_own()
        try:
            self._append(content)
        except OSError as error:
            if not self._is_refused:
                error.filename = str(self._path)
                self._say(
                    f"warning: {told(error)}; training goes on, and what is missing is written "
                    "when it can be"
                )
            self._is_refused = True
            return
        self._waiting.clear()
        if self._is_refused:
            self._is_refused = False
            self._say(f"{self._path}: written again, nothing is missing")

    def missing(self) -> str | None:
        """Return what to tell of the lines that could not be written, if there are some."""
        if not self._waiting or self._end is None:
            return None
        return f"{self._path}: the last {len(self._waiting)} lines are missing"

    def _append(self, content: bytes) -> None:
        # Where the disk has gone, nothing is written to the one below.
        flags = os.O_WRONLY | (os.O_CREAT if self._path.with_name(CONFIG).exists() else 0)
        handle = os.open(self._path, flags, 0o666)
        with os.fdopen(handle, "wb") as file:
            end = min(self._end or 0, os.fstat(handle).st_size)
            file.truncate(end)  # half a line that was written before the disk was full
            file.seek(end)
            file.write(content)
        self._end = end + len(content)


def _step_of(line: bytes) -> float:
    try:
        return float(parse_json(line)["step"])
    except (ValueError, KeyError, TypeError):  # half a line, of a run that was killed
        return float("inf")
