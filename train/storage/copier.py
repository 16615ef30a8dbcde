"""Copying a tree of files between two stores: what is missing there, several files at a time.

What arrives on the disk is verified, and resumed where it broke off.
"""

import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from train.errors import UserError
from train.files import free_bytes, publish, sha256_file
from train.storage.digests import Expected, Verified, expected_files, is_marker
from train.storage.retry import Retry, Stopped, WrongDigest
from train.storage.stores import File, Folder, Store, open_store, read_small, send


@dataclass
class Copied:
    """What :func:`copy` did.

    Attributes:
        files: Number of files copied.
        bytes: Their size.
        unchanged: Files that were there already.
        vanished: Names of files that were removed from a local source while it was copied.
    """

    files: int = 0
    bytes: int = 0
    unchanged: int = 0
    vanished: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What is to be copied.

    Attributes:
        files: By name, as they are in the source.
        unchanged: Number of files that are there already.
        found: All files of the source.
        expected: What the manifests and checkpoints among them say of files.
    """

    files: dict[str, File]
    unchanged: int
    found: dict[str, File] = field(default_factory=dict)
    expected: dict[str, Expected] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Size of all."""
        return sum(file.size for file in self.files.values())


class Copier:
    """A copy of one store's files into another, which keeps what else it holds.

    One of the two must be on the disk. Every file appears under its name only when it is whole,
    with the size that it has in the source, and with the digest that the manifest or checkpoint it
    belongs to says. A file is not copied again if the target has it already: one of known digest
    counts if it is on the disk with that digest, any other if its size is the same and it is not
    older.

    Args:
        source: What to copy.
        target: Where to.
        tries: How often anything is tried; the pauses between grow from half a second.
        progress: Told how many more bytes have moved, from any thread.
        verified: Files whose digests need not be computed again.
        keep_unfinished: Whether files that a failed copy has begun stay, for the next to resume
            where the digest is known. No other process may copy to the target meanwhile.

    Raises:
        UserError: Both are in object storage.
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
                f"{source.address} and {target.address}: one of the two must be on this machine"
            )
        if isinstance(target, Folder) and Path(target.address).is_file():
            raise UserError(f"{target.address}: is a file, where a folder is needed")
        self.source, self.target = source, target
        self._retry = Retry(tries)
        self._progress = progress
        self._verified = verified or Verified()
        self._keep_unfinished = keep_unfinished

    def stop(self) -> None:
        """End what is under way, from another thread or a signal."""
        self._retry.stop.set()

    def plan(self, everything: bool = False, missing_ok: bool = False) -> Plan:
        """Compare the two.

        Args:
            everything: Whether to copy also what is there already.
            missing_ok: Whether there may be nothing to copy.

        Raises:
            UserError: One of them cannot be read, there is nothing to copy, or no room for it.
            StorageError: One of them could not be listed.
        """
        found = self.listing()
        if not found and not missing_ok:
            raise UserError(f"{self.source.address}: there is nothing")
        expected = self.expected(found) if isinstance(self.target, Folder) else {}
        plan = self.compare(found, expected, everything)
        if isinstance(self.target, Folder):
            root = self.target.root
            if (free := free_bytes(root)) < plan.bytes:
                raise UserError(f"{root}: {plan.bytes:,} bytes are needed, {free:,} are free")
        return plan

    def listing(self) -> dict[str, File]:
        """Return all files of the source.

        Raises:
            UserError: It cannot be listed.
            StorageError: It could not be listed.
        """
        return self._retry.call(self.source.address, self.source.files)

    def expected(self, found: Mapping[str, File]) -> dict[str, Expected]:
        """Read the manifests and checkpoints among the files of the source.

        They get a digest too: that of what was read, so that no other comes with the files.

        Raises:
            UserError: One of them cannot be read.
            StorageError: One of them could not be read.
        """
        expected: dict[str, Expected] = {}
        for name in filter(is_marker, sorted(found)):
            content = self._content(name, found[name].size)
            expected |= expected_files(name, content)
            expected[name] = Expected(hashlib.sha256(content).hexdigest(), len(content))
        return expected

    def _content(self, name: str, size: int) -> bytes:
        def read() -> bytes:
            content = read_small(self.source, name)
            if len(content) != size:
                raise OSError(errno.EIO, f"{len(content)} bytes arrived, not {size}")
            return content

        return self._retry.call(f"{name} from {self.source.address}", read)

    def compare(
        self, found: Mapping[str, File], expected: Mapping[str, Expected], everything: bool = False
    ) -> Plan:
        """Find out what of the source the target lacks."""
        there = {} if everything else self._retry.call(self.target.address, self.target.files)
        files = {
            name: file
            for name, file in found.items()
            if not self._is_copy(name, there.get(name), file, expected.get(name))
        }
        return Plan(files, len(found) - len(files), dict(found), dict(expected))

    def _is_copy(
        self, name: str, there: File | None, file: File, expected: Expected | None
    ) -> bool:
        if there is None or there.size != file.size:
            return False
        if expected and isinstance(self.target, Folder):
            return self._verified.matches(self.target.path(name), expected.sha256)
        # Whole seconds: that is how exactly object stores keep time.
        return int(there.modified) >= int(file.modified)

    def run(self, plan: Plan) -> Copied:
        """Copy.

        Raises:
            UserError: Something is missing, forbidden or full.
            Damaged: A file is not the one its manifest or checkpoint lists.
            StorageError: A file could not be copied.
        """
        copied = Copied(unchanged=plan.unchanged)
        markers = set(filter(is_marker, plan.files))
        try:
            for names in (plan.files.keys() - markers, markers):
                self._run(sorted(names), plan, copied)
        finally:
            self._verified.save()
        return copied

    def _run(self, names: list[str], plan: Plan, copied: Copied) -> None:
        with ThreadPoolExecutor(8) as pool:
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
        """Copy a file; return its size, or None if it has vanished from the disk."""
        source, target, expected = self.source, self.target, plan.expected.get(name)
        if isinstance(source, Folder) and expected is None:
            path = source.path(name)
            what = f"{path} to {target.address}"
            return self._retry.call(what, lambda: send(target, name, path, self._tick))
        assert isinstance(target, Folder)
        self._receive(name, plan.files[name], expected, target.new_path(name))
        return plan.files[name].size

    def _receive(self, name: str, file: File, expected: Expected | None, final: Path) -> None:
        # What a process that ended has begun is resumed only where a digest will tell whether all
        # of it was still on the disk.
        lasting = bool(self._keep_unfinished and expected and file.tag)
        mark = hashlib.sha256(str(file.tag).encode()).hexdigest()[:12]
        into = final.with_name(f".{final.name}.{f'{mark}.part' if lasting else os.getpid()}")
        if not lasting:
            into.unlink(missing_ok=True)

        def receive() -> None:
            self._complete(name, file, into)
            if expected and sha256_file(into) != expected.sha256:
                into.unlink()
                raise WrongDigest("its SHA-256 is not the one that is listed for it")
            # The store's own time, so that two clocks are never compared the next time.
            os.utime(into, (file.modified, file.modified))
            publish(into, final)
            if expected:
                self._verified.add(final, expected.sha256)

        try:
            self._retry.call(f"{name} from {self.source.address}", receive)
        finally:
            if not lasting:
                into.unlink(missing_ok=True)

    def _complete(self, name: str, file: File, into: Path) -> None:
        """Complete a local file that may hold the beginning of a file of the source."""
        begun = into.stat().st_size if into.exists() else 0
        if begun == 0 or begun != file.size:
            tag = file.tag if 0 < begun < file.size else None
            try:
                self.source.read(name, into, self._tick, tag)
            except OSError as error:
                if error.errno == errno.EINVAL:  # it is another file now, or has no such part
                    into.unlink(missing_ok=True)
                raise
        if (arrived := into.stat().st_size) != file.size:
            raise OSError(errno.EIO, f"{arrived} bytes arrived instead of {file.size}")

    def _tick(self, count: int) -> None:
        if self._retry.stop.is_set():
            raise Stopped
        self._progress(count)


def copy(source: str, target: str, environment: Mapping[str, str] = os.environ) -> Copied:
    """Copy a folder or file between the disk and object storage, see :class:`Copier`.

    Raises:
        UserError: Something is missing, forbidden or full.
        StorageError: A file could not be copied.
    """
    copier = Copier(open_store(source, environment), open_store(target, environment))
    return copier.run(copier.plan())


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
        """Start to count a transfer of ``total`` bytes."""
        self._total = total
        self._moved = 0
        self._next = time.monotonic() + 15.0

    def move(self, count: int) -> None:
        """Count more bytes; may be called from any thread."""
        with self._lock:
            self._alive()
            self._moved += count
            if time.monotonic() < self._next:
                return
            self._next += 15.0
            self._say(f"{self._moved / 1e6:,.0f} of {self._total / 1e6:,.0f} MB")
