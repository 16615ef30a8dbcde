"""Makes one store like another: how data sets come to a node and how results leave it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from train.errors import UserError
from train.storage.digests import VOUCHERS, Known, Verified, vouched_for
from train.storage.receive import Receiver
from train.storage.retry import Persistence, Stopped
from train.storage.stores import File, Folder, Store, open_store

_WORKERS = 8


@dataclass
class Copied:
    """What :func:`copy` did.

    Attributes:
        files: number of files copied.
        bytes: their size.
        unchanged: files that were there already.
        vanished: names of files that were removed from a local source while it was copied.
    """

    files: int = 0
    bytes: int = 0
    unchanged: int = 0
    vanished: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What is to be copied.

    Attributes:
        files: by name, as they are in the source.
        unchanged: number of files that are there already.
        found: all files of the source.
        known: what the manifests and checkpoints among them say of files.
    """

    files: dict[str, File]
    unchanged: int
    found: dict[str, File] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The size of all."""
        return sum(file.size for file in self.files.values())


class Copier:
    """Makes a store hold what another one holds, and leaves what else it holds alone.

    One of the two must be on the disk. Every file appears under its name only when it is whole,
    with the size that it has in the source, and with the digest that the manifest or checkpoint it
    belongs to says. A file is not copied again if the target has it already: one of known digest
    counts if it is on the disk with that digest, any other if its size is the same and it is not
    older.

    Args:
        source: what to copy.
        target: where to.
        tries: how often anything is tried; the pauses between grow from half a second.
        progress: told how many more bytes have moved, from any thread.
        verified: files whose digests need not be computed again.
        keep_unfinished: what a copy that breaks off has begun is left, for the next to go on with
            where the digest is known. No other process may copy to the target meanwhile.

    Raises:
        UserError: both are in object storage.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        tries: int = 6,
        progress: Callable[[int], None] = lambda _: None,
        verified: Verified | None = None,
        keep_unfinished: bool = False,
    ) -> None:
        if not isinstance(source, Folder) and not isinstance(target, Folder):
            raise UserError(
                f"{source.address} and {target.address}: one of both must be on this machine"
            )
        if isinstance(target, Folder) and Path(target.address).is_file():
            raise UserError(f"{target.address}: is a file, where a folder is needed")
        self.source, self.target = source, target
        self._again = Persistence(tries)
        self._progress = progress
        self._verified = verified or Verified()
        self._receiver = None
        if isinstance(target, Folder):
            self._receiver = Receiver(
                source, target, self._again, self._tick, self._verified, keep_unfinished
            )

    def stop(self) -> None:
        """Ends what is under way, from another thread or a signal."""
        self._again.stop.set()

    def plan(self, everything: bool = False, missing_ok: bool = False) -> Plan:
        """Compares the two.

        Args:
            everything: copy also what is there already.
            missing_ok: it is fine if there is nothing to copy.

        Raises:
            UserError: one of them cannot be read, there is nothing to copy, or no room for it.
            StorageError: one of them could not be listed.
        """
        found = self.listing()
        if not found and not missing_ok:
            raise UserError(f"{self.source.address}: there is nothing")
        known = self.known(found) if isinstance(self.target, Folder) else {}
        plan = self.compare(found, known, everything)
        if isinstance(self.target, Folder):
            _require_room(self.target.root, plan.bytes)
        return plan

    def listing(self) -> dict[str, File]:
        """All files of the source.

        Raises:
            UserError: it cannot be listed.
            StorageError: it could not be listed.
        """
        return self._again.do(self.source.address, self.source.files)

    def remember(self) -> None:
        """Keeps which files were found right, though nothing was copied."""
        self._verified.save()

    def known(self, found: Mapping[str, File]) -> dict[str, Known]:
        """Reads the manifests and checkpoints among the files of the source.

        They get a digest too: that of what was read, so that no other comes with the files.

        Raises:
            UserError: one of them cannot be read.
            StorageError: one of them could not be read.
        """
        known: dict[str, Known] = {}
        for name in sorted(found):
            if name.rsplit("/", 1)[-1] in VOUCHERS:
                content = self.content(name, found[name])
                known |= vouched_for(name, content)
                known[name] = Known(hashlib.sha256(content).hexdigest(), len(content))
        return known

    def content(self, name: str, file: File) -> bytes:
        """What a small file of the source holds.

        Raises:
            UserError: it cannot be read.
            StorageError: it could not be read.
        """
        with tempfile.TemporaryDirectory(prefix="mtln-") as folder:
            into = Path(folder, "content")

            def read() -> bytes:
                self.source.read(name, into, lambda _: None)
                content = into.read_bytes()
                if len(content) != file.size:
                    raise OSError(errno.EIO, f"{len(content)} bytes arrived, not {file.size}")
                return content

            return self._again.do(f"{name} from {self.source.address}", read)

    def compare(
        self, found: Mapping[str, File], known: Mapping[str, Known], everything: bool = False
    ) -> Plan:
        """Finds out what of the source the target lacks."""
        there = {} if everything else self._again.do(self.target.address, self.target.files)
        files = {
            name: file
            for name, file in found.items()
            if not self._is_copy(name, there.get(name), file, known.get(name))
        }
        return Plan(files, len(found) - len(files), dict(found), dict(known))

    def run(self, plan: Plan) -> Copied:
        """Copies.

        Raises:
            UserError: something is missing, forbidden or full.
            Damaged: a file is not the one its manifest or checkpoint lists.
            StorageError: a file could not be copied.
        """
        copied = Copied(unchanged=plan.unchanged)
        vouchers = {name for name in plan.files if name.rsplit("/", 1)[-1] in VOUCHERS}
        try:
            for names in (plan.files.keys() - vouchers, vouchers):
                self._run(sorted(names), plan, copied)
        finally:
            self._verified.save()
        return copied

    def _run(self, names: list[str], plan: Plan, copied: Copied) -> None:
        with ThreadPoolExecutor(_WORKERS) as pool:
            futures = {pool.submit(self._copy, name, plan): name for name in names}
            try:
                for future in as_completed(futures):
                    if (size := future.result()) is None:
                        copied.vanished += (futures[future],)
                    else:
                        copied.files += 1
                        copied.bytes += size
            except BaseException:  # a signal too: what is under way must not go on to its end
                self.stop()
                pool.shutdown(cancel_futures=True)
                raise

    def _copy(self, name: str, plan: Plan) -> int | None:
        """Copies a file; its size, or None if it has vanished from the disk."""
        source, known = self.source, plan.known.get(name)
        if isinstance(source, Folder) and known is None:
            path = source.path(name)
            what = f"{path} to {self.target.address}"
            return self._again.do(what, lambda: self._send(name, path))
        assert self._receiver is not None
        return self._receiver.fetch(name, plan.files[name], known)

    def _send(self, name: str, path: Path) -> int | None:
        try:
            before = path.stat().st_size
            self.target.write(name, path, self._tick)
            after = path.stat().st_size
        except FileNotFoundError:
            if path.exists():
                raise  # so it is the target that lacks something
            return None
        stored = self.target.size(name)
        # Logs grow while they are copied.
        if not min(before, after) <= stored <= max(before, after):
            raise OSError(errno.EIO, f"{stored} bytes arrived instead of {after}")
        return stored

    def _is_copy(self, name: str, there: File | None, file: File, known: Known | None) -> bool:
        if there is None or there.size != file.size:
            return False
        if known and isinstance(self.target, Folder):
            return self._verified.is_right(self.target.path(name), known.sha256)
        # Whole seconds: that is how exactly object stores keep time.
        return int(there.modified) >= int(file.modified)

    def _tick(self, count: int) -> None:
        if self._again.stop.is_set():
            raise Stopped
        self._progress(count)


def copy(source: str, target: str, environment: Mapping[str, str] = os.environ) -> Copied:
    """Copies a folder or file between the disk and object storage, see :class:`Copier`.

    Raises:
        UserError: something is missing, forbidden or full.
        StorageError: a file could not be copied.
    """
    copier = Copier(open_store(source, environment), open_store(target, environment))
    return copier.run(copier.plan())


def free_bytes(folder: Path) -> int:
    """What is free on the disk of a folder, which need not be there yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _require_room(folder: Path, size: int) -> None:
    free = free_bytes(folder)
    if free < size:
        raise UserError(f"{folder}: {size:,} bytes are needed, {free:,} are free")
