"""The cache of data sets on a node: who uses them, and which are evicted when room is needed.

For a data set there are, beside its folder ``NAME``::

    .NAME.lock           held by the process that copies or removes it
    .NAME.use            shared by the processes that use it; its time is that of the last use
    .NAME.json           its address and size, and how its last copy ended
    .NAME.verified.json  which of its files had the right digest
"""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from train.errors import UserError
from train.files import free_bytes, read_json, replace_file
from train.storage.locks import Lock, waiting


@dataclass(frozen=True)
class Note:
    """What is known of a data set in the cache.

    Attributes:
        address: Where it comes from.
        bytes: Its size, also while it is only on its way.
        finished: When its last copy ended, in seconds since 1970; 0 as long as it has not.
        error: Why that failed, None if it did not.
        mistake: Whether this is the user's mistake.
    """

    address: str
    bytes: int = 0
    finished: float = 0.0
    error: str | None = None
    mistake: bool = False


class Entry:
    """The place of a data set in the cache.

    Args:
        folder: The folder of its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.verified = self._beside("verified.json")

    def lock(self) -> Lock:
        """Return the lock of the process that changes the files."""
        return Lock(self._beside("lock"))

    def use(self) -> Lock:
        """Return the lock of the processes that use the files."""
        return Lock(self._beside("use"))

    def read(self) -> Note | None:
        """Return what is known of it, None if nothing is."""
        try:
            return Note(**read_json(self._beside("json")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, note: Note) -> None:
        """Leave a note for the other processes."""
        replace_file(self._beside("json"), json.dumps(asdict(note)).encode())

    def remove(self) -> bool:
        """Remove the files; False if a process uses or changes them."""
        lock, use = self.lock(), self.use()
        try:
            if not (lock.take() and use.take()):
                return False
            self._beside("json").unlink(missing_ok=True)
            self.verified.unlink(missing_ok=True)
            if self.folder.exists():
                # Under another name first: what is removed in part must not look like a data set.
                gone = self.folder.with_name(f".{self.folder.name}.gone")
                shutil.rmtree(gone, ignore_errors=True)
                self.folder.rename(gone)
                shutil.rmtree(gone)
            return True
        finally:
            use.free()
            lock.free()

    def last_use(self) -> float:
        """Return when it was last used, in seconds since 1970."""
        try:
            return self._beside("use").stat().st_mtime
        except OSError:
            return 0.0

    def _beside(self, kind: str) -> Path:
        return self.folder.with_name(f".{self.folder.name}.{kind}")


def make_room(entry: Entry, note: Note, missing: int, limit: int | None) -> list[str]:
    """Make room in the cache for a data set, and note that it is on its way.

    Args:
        entry: Its place, beside those of all others.
        note: Its address and size.
        missing: How many of its bytes are still to come.
        limit: The most that all data sets may take, in bytes; None for as much as the disk holds.

    Returns:
        The addresses of the data sets that were removed, least recently used first.

    Raises:
        UserError: There is not enough room, and nothing more to remove.
    """
    if limit is not None and note.bytes > limit:
        raise UserError(
            f"storage.cache_size: {limit:,} bytes are too few for {note.address}, which has "
            f"{note.bytes:,}"
        )
    removed = []
    with waiting(Lock(entry.folder.with_name(".room.lock")), time.sleep):
        unused = sorted(_others(entry), key=Entry.last_use)
        while problem := _lacks(entry, note, missing, limit):
            while unused:
                candidate = unused.pop(0)
                address = (candidate.read() or Note(candidate.folder.name)).address
                if candidate.remove():
                    removed.append(address)
                    break
            else:
                raise UserError(problem)
        entry.write(note)
    return removed


def _lacks(entry: Entry, note: Note, missing: int, limit: int | None) -> str | None:
    """Return what is wrong, or None if there is room."""
    root = entry.folder.parent
    if (free := free_bytes(root)) < missing:
        return (
            f"storage.cache: {root}: {note.address} needs {missing:,} bytes more, {free:,} are free"
        )
    taken = sum((other.read() or Note("")).bytes for other in _others(entry))
    if limit is not None and taken + note.bytes > limit:
        return (
            f"storage.cache_size: {limit:,} bytes are too few: {note.address} needs "
            f"{note.bytes:,}, and data sets that are in use take {taken:,}"
        )
    return None


def _others(entry: Entry) -> Iterator[Entry]:
    for path in entry.folder.parent.glob(".*.json"):
        name = path.name.removeprefix(".").removesuffix(".json")
        if not name.endswith(".verified") and name != entry.folder.name:
            yield Entry(path.with_name(name))
