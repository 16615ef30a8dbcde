"""Moving a single file: into a store, or into a folder, verified and resumed where it broke off."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from train.files import publish, sha256_file
from train.storage.digests import Expected, Verified
from train.storage.retry import Retry, WrongDigest
from train.storage.stores import File, Folder, Store, Tick

_MARK_LENGTH = 12
_LINE_EVERY = 15.0


def send(store: Store, name: str, path: Path, tick: Tick, message: str = "") -> int | None:
    """Store a local file; return its size there, or None if it has vanished from the disk.

    Args:
        store: Where to.
        name: Its name there.
        path: The file, which may grow meanwhile as logs do.
        tick: Told how many more bytes have moved.
        message: What the message of a failure begins with.

    Raises:
        OSError: Not all of it has arrived, or the store failed.
    """
    try:
        before = path.stat().st_size
        store.write(name, path, tick)
        after = path.stat().st_size
    except FileNotFoundError:
        if path.exists():
            raise  # so it is the store that lacks something
        return None
    stored = store.size(name)
    if not min(before, after) <= stored <= max(before, after):
        raise OSError(errno.EIO, f"{message}{stored} bytes arrived instead of {after}")
    return stored


def read_small(store: Store, name: str) -> bytes:
    """Return what a small file of a store holds."""
    with tempfile.TemporaryDirectory(prefix="mtln-") as folder:
        into = Path(folder, "content")
        store.read(name, into, lambda _: None)
        return into.read_bytes()


@dataclass(frozen=True)
class Receiver:
    """The receiving end of a copy: single files of a store get into a folder.

    Attributes:
        source: The store.
        target: The folder.
        retry: Tries again what fails.
        tick: Told how many more bytes have moved.
        verified: Told which files were verified.
        keep_unfinished: See :class:`train.storage.copier.Copier`.
    """

    source: Store
    target: Folder
    retry: Retry
    tick: Tick
    verified: Verified
    keep_unfinished: bool

    def receive(self, name: str, file: File, expected: Expected | None) -> int:
        """Copy a file; return its size in bytes.

        Args:
            name: Its name.
            file: What the listing of the store says of it.
            expected: Its digest.

        Raises:
            UserError: It is missing, forbidden, or the disk is full.
            Damaged: It has another digest.
            StorageError: It could not be copied.
        """
        # What a process that ended has begun is resumed only where a digest will tell whether all
        # of it was still on the disk.
        lasting = bool(self.keep_unfinished and expected and file.tag)
        mark = hashlib.sha256(str(file.tag).encode()).hexdigest()[:_MARK_LENGTH]
        final = self.target.new_path(name)
        into = final.with_name(f".{final.name}.{f'{mark}.part' if lasting else os.getpid()}")
        if not lasting:
            into.unlink(missing_ok=True)
        what = f"{name} from {self.source.address}"
        try:
            self.retry.call(what, lambda: self._try(name, file, expected, into, final))
        finally:
            if not lasting:
                into.unlink(missing_ok=True)
        return file.size

    def _try(
        self, name: str, file: File, expected: Expected | None, into: Path, final: Path
    ) -> None:
        begun = into.stat().st_size if into.exists() else 0
        if begun == 0 or begun != file.size:
            self._read(name, file, begun, into)
        if (arrived := into.stat().st_size) != file.size:
            if arrived > file.size:
                into.unlink()
            raise OSError(errno.EIO, f"{arrived} bytes arrived instead of {file.size}")
        if expected and sha256_file(into) != expected.sha256:
            into.unlink()
            raise WrongDigest("its SHA-256 is not the one that is listed for it")
        # The store's own time, so that two clocks are never compared the next time.
        os.utime(into, (file.modified, file.modified))
        publish(into, final)
        if expected:
            self.verified.add(final, expected.sha256)

    def _read(self, name: str, file: File, begun: int, into: Path) -> None:
        try:
            self.source.read(name, into, self.tick, file.tag if 0 < begun < file.size else None)
        except OSError as error:
            if error.errno == errno.EINVAL:  # it is another file now, or has no such part
                into.unlink(missing_ok=True)
            raise


class Progress:
    """Lines that say now and then how much has moved.

    Args:
        say: Called with the lines.
        alive: Called with every piece that moves.
    """

    def __init__(
        self, say: Callable[[str], None], alive: Callable[[], None] = lambda: None
    ) -> None:
        self._say, self._alive = say, alive
        self._lock = threading.Lock()
        self.begin(0)

    def begin(self, total: int) -> None:
        """Start to count a transfer of so many bytes."""
        self._total = total
        self._moved = 0
        self._next = time.monotonic() + _LINE_EVERY

    def move(self, count: int) -> None:
        """Count more bytes; may be called from any thread."""
        with self._lock:
            self._alive()
            self._moved += count
            if time.monotonic() < self._next:
                return
            self._next += _LINE_EVERY
            self._say(f"{self._moved / 1e6:,.0f} of {self._total / 1e6:,.0f} MB")
