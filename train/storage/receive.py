"""Brings a file into a folder: whole, checked, and gone on with where it broke off."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from train.storage.digests import Known, Verified, digest_of
from train.storage.retry import Persistence, WrongDigest
from train.storage.stores import File, Folder, Store, Tick

_MARK_LENGTH = 12


class Receiver:
    """Copies single files from a store into a folder.

    Args:
        source: the store.
        target: the folder.
        again: how often anything is tried.
        tick: told how many more bytes have moved.
        verified: told which files were found right.
        keep_unfinished: see :class:`train.storage.Copier`.
    """

    def __init__(
        self,
        source: Store,
        target: Folder,
        again: Persistence,
        tick: Tick,
        verified: Verified,
        keep_unfinished: bool,
    ) -> None:
        self._source, self._target = source, target
        self._again = again
        self._tick = tick
        self._verified = verified
        self._keep_unfinished = keep_unfinished

    def fetch(self, name: str, file: File, known: Known | None) -> int:
        """Copies a file; its size in bytes.

        Args:
            name: its name.
            file: what the listing of the store says of it.
            known: its digest.

        Raises:
            UserError: it is missing, forbidden, or the disk is full.
            Damaged: it has another digest.
            StorageError: it could not be copied.
        """
        # What was begun by a process that ended is gone on with only where a digest will tell
        # whether all of it was still on the disk.
        lasting = bool(self._keep_unfinished and known and file.tag)
        mark = hashlib.sha256(str(file.tag).encode()).hexdigest()[:_MARK_LENGTH]
        into = self._target.temporary(name, f"{mark}.part" if lasting else str(os.getpid()))
        if not lasting:
            into.unlink(missing_ok=True)
        what = f"{name} from {self._source.address}"
        try:
            self._again.do(what, lambda: self._receive(name, file, known, into))
        finally:
            if not lasting:
                into.unlink(missing_ok=True)
        return file.size

    def _receive(self, name: str, file: File, known: Known | None, into: Path) -> None:
        begun = into.stat().st_size if into.exists() else 0
        if begun == 0 or begun != file.size:
            self._read(name, file, begun, into)
        if (arrived := into.stat().st_size) != file.size:
            if arrived > file.size:
                into.unlink()
            raise OSError(errno.EIO, f"{arrived} bytes arrived instead of {file.size}")
        if known and digest_of(into) != known.sha256:
            into.unlink()
            raise WrongDigest("its SHA-256 is not the one that is listed for it")
        # The store's own time, so that two clocks are never compared the next time.
        os.utime(into, (file.modified, file.modified))
        self._target.publish(into, name)
        if known:
            self._verified.add(self._target.path(name), known.sha256)

    def _read(self, name: str, file: File, begun: int, into: Path) -> None:
        try:
            self._source.read(name, into, self._tick, file.tag if 0 < begun < file.size else None)
        except OSError as error:
            if error.errno == errno.EINVAL:  # it is another file now, or has no such part
                into.unlink(missing_ok=True)
            raise
