"""A file that is being fetched, and what is known of the bytes that are there."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tools.common.command_line import refused
from train.errors import UserError
from train.files import replace_file
from train.storage.locks import Lock


class Part:
    """A file that is being fetched: ``<file>.part``, and beside it where it comes from.

    Both stay when the fetching is interrupted; the next one goes on from there. One process at a
    time may hold it.

    Args:
        target: The file to be.

    Raises:
        UserError: The folder cannot be written, or another process is fetching the same file.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self._about = target.with_name(f"{target.name}.part.json")

    @contextlib.contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Open the part for appending, locked."""
        with contextlib.ExitStack() as held:
            with refused(self.path, "cannot be written"):
                self.target.parent.mkdir(parents=True, exist_ok=True)
                file = held.enter_context(self.path.open("ab"))
                lock = Lock(self.path)
                held.callback(lock.free)
            if not lock.take():
                raise UserError(f"{self.path}: another process is fetching it")
            yield file

    def known(self, url: str) -> dict[str, Any]:
        """Return what is known of the bytes that are there, if they came from this address."""
        try:
            about = json.loads(self._about.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return about if isinstance(about, dict) and about.get("url") == url else {}

    def remember(self, about: dict[str, Any]) -> None:
        """Note where the bytes to come are from."""
        replace_file(self._about, json.dumps(about).encode())

    def finish(self) -> None:
        """Give the whole file its name."""
        self.path.replace(self.target)
        self._about.unlink(missing_ok=True)

    def drop(self) -> None:
        """Remove what is there."""
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)
