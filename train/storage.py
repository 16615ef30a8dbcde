"""Folders on the disk and in object storage (``s3://``, ``obs://``) behind one interface.

A :class:`Store` is a tree of files below an address. :func:`open_store` opens one, :func:`copy`
makes one like another: that is how data sets come to a node and how results leave it. Nothing here
is imported from s3fs before a bucket is really used.

Files and folders whose name begins with a dot do not count: this project names what is not whole
yet like that, and :func:`copy` does so too.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from train.errors import UserError

SCHEMES = ("s3://", "obs://")

# What a file of this name says of the files beside it is true only once they are there: the
# manifest of a data set, the digests of a checkpoint, the end of a run. So they are copied last.
_VOUCHERS = frozenset({"manifest.json", "state.json", "summary.json"})
_WORKERS = 8
_LONGEST_PAUSE = 30.0
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

T = TypeVar("T")


class StorageError(Exception):
    """A store did not do what it should, although it was asked several times."""


class Stopped(Exception):
    """A transfer was told to stop."""


@dataclass(frozen=True)
class File:
    """A file in a store.

    Attributes:
        size: in bytes.
        modified: time of the last change in seconds since 1970, by the store's clock.
    """

    size: int
    modified: float


Tick = Callable[[int], None]
"""Told how many more bytes have moved; may raise :class:`Stopped` to end the transfer."""


class Store(Protocol):
    """A tree of files; their names are relative to its address.

    The address of a file stands for a tree that holds nothing else.

    What a store cannot do it says with an OSError, FileNotFoundError and PermissionError among
    them, or with an error of its client library.
    """

    address: str

    def files(self) -> dict[str, File]:
        """All files by name; none if there is nothing at the address."""

    def size(self, name: str) -> int:
        """The size of one file in bytes."""

    def read(self, name: str, into: Path, tick: Tick) -> None:
        """Writes the content of a file into a local file."""

    def write(self, name: str, source: Path, tick: Tick) -> None:
        """Stores a local file under a name, which it gets only when it is whole."""


class Folder:
    """A store on the disk.

    Args:
        path: a folder that is there or is to be made, or a file.
    """

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._only = path.name if path.is_file() else None
        self.root = path.parent if self._only else path

    def path(self, name: str) -> Path:
        """Where a file is.

        Raises:
            UserError: the name leads out of the folder.
        """
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "/".join(parts) != name:
            raise UserError(f"{name!r} cannot be the name of a file in {self.address}")
        return self.root / name

    def files(self) -> dict[str, File]:
        """All files by name."""
        if self._only:
            return {self._only: _file(self.root / self._only)}
        found = {}
        for folder, folders, names in os.walk(self.root, onerror=_raise):
            folders[:] = [name for name in folders if is_visible(name)]
            for name in filter(is_visible, names):
                path = Path(folder, name)
                try:
                    found[path.relative_to(self.root).as_posix()] = _file(path)
                except FileNotFoundError:  # removed meanwhile, or a link to nowhere
                    continue
        return found

    def size(self, name: str) -> int:
        """The size of one file in bytes."""
        return self.path(name).stat().st_size

    def read(self, name: str, into: Path, tick: Tick) -> None:
        """Copies the content of a file."""
        _copy_file(self.path(name), into, tick)

    def write(self, name: str, source: Path, tick: Tick) -> None:
        """Copies a file into the folder."""
        self.fill(name, lambda into: _copy_file(source, into, tick))

    def fill(self, name: str, fill: Callable[[Path], None]) -> None:
        """Lets ``fill`` write a file of another name beside the final one, which it then gets."""
        final = self.path(name)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.with_name(f".{final.name}.{os.getpid()}")
        try:
            fill(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)


def is_remote(address: str) -> bool:
    """Whether an address is one of object storage."""
    return address.startswith(SCHEMES)


def is_visible(name: str) -> bool:
    """Whether a file of this name counts."""
    return not any(part.startswith(".") for part in name.split("/"))


def open_store(address: str, environment: Mapping[str, str] = os.environ) -> Store:
    """Opens a store; of a bucket nothing is asked yet.

    Args:
        address: ``s3://BUCKET/KEY``, ``obs://BUCKET/KEY`` or a path.
        environment: endpoint and keys, see :mod:`train.storage_s3`.

    Raises:
        UserError: the address, or what the environment says, cannot be right.
    """
    if is_remote(address):
        from train.storage_s3 import Bucket

        return Bucket(address, environment)
    if "://" in address:
        raise UserError(f"{address}: must be a path or begin with {' or '.join(SCHEMES)}")
    return Folder(Path(address))


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
    """What is to be copied: names and the files in the source."""

    files: dict[str, File]
    unchanged: int

    @property
    def bytes(self) -> int:
        """The size of all."""
        return sum(file.size for file in self.files.values())


class Copier:
    """Makes a store hold what another one holds, and leaves what else it holds alone.

    One of the two must be on the disk. Every file appears under its name only when it is whole,
    with the size that it has in the source. A file is not copied again if the target's has the same
    size and is not older.

    Args:
        source: what to copy.
        target: where to.
        tries: how often anything is tried; the pauses between grow from half a second.
        progress: told how many more bytes have moved, from any thread.

    Raises:
        UserError: both are in object storage.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        tries: int = 6,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        if not isinstance(source, Folder) and not isinstance(target, Folder):
            raise UserError(
                f"{source.address} and {target.address}: one of both must be on this machine"
            )
        if isinstance(target, Folder) and Path(target.address).is_file():
            raise UserError(f"{target.address}: is a file, where a folder is needed")
        self.source, self.target = source, target
        self._tries = tries
        self._progress = progress
        self._stop = threading.Event()

    def plan(self, everything: bool = False, missing_ok: bool = False) -> Plan:
        """Compares the two.

        Args:
            everything: copy also what is there already.
            missing_ok: it is fine if there is nothing to copy.

        Raises:
            UserError: one of them cannot be read, there is nothing to copy, or no room for it.
            StorageError: one of them could not be listed.
        """
        found = self._persistently(self.source.address, self.source.files)
        if not found and not missing_ok:
            raise UserError(f"{self.source.address}: there is nothing")
        there = {} if everything else self._persistently(self.target.address, self.target.files)
        files = {name: file for name, file in found.items() if not _is_copy(there.get(name), file)}
        plan = Plan(files, len(found) - len(files))
        if isinstance(self.target, Folder):
            _require_room(self.target.root, plan.bytes)
        return plan

    def run(self, plan: Plan) -> Copied:
        """Copies.

        Raises:
            UserError: something is missing, forbidden or full.
            StorageError: a file could not be copied.
        """
        copied = Copied(unchanged=plan.unchanged)
        vouchers = {name for name in plan.files if name.rsplit("/", 1)[-1] in _VOUCHERS}
        for names in (plan.files.keys() - vouchers, vouchers):
            self._run(sorted(names), plan, copied)
        return copied

    def _run(self, names: list[str], plan: Plan, copied: Copied) -> None:
        with ThreadPoolExecutor(_WORKERS) as pool:
            futures = {pool.submit(self._copy, name, plan.files[name]): name for name in names}
            try:
                for future in as_completed(futures):
                    if (size := future.result()) is None:
                        copied.vanished += (futures[future],)
                    else:
                        copied.files += 1
                        copied.bytes += size
            except BaseException:  # a signal too: what is under way must not go on to its end
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _copy(self, name: str, file: File) -> int | None:
        """Copies a file; its size, or None if it has vanished from the disk."""
        source = self.source
        if isinstance(source, Folder):
            path = source.path(name)
            what = f"{path} to {self.target.address}"
            return self._persistently(what, lambda: self._send(name, path))
        what = f"{name} from {source.address}"
        return self._persistently(what, lambda: self._fetch(name, file))

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

    def _fetch(self, name: str, file: File) -> int:
        assert isinstance(self.target, Folder)

        def fill(into: Path) -> None:
            self.source.read(name, into, self._tick)
            arrived = into.stat().st_size
            if arrived != file.size:
                raise OSError(errno.EIO, f"{arrived} bytes arrived instead of {file.size}")
            # The store's own time, so that two clocks are never compared the next time.
            os.utime(into, (file.modified, file.modified))

        self.target.fill(name, fill)
        return file.size

    def _tick(self, count: int) -> None:
        if self._stop.is_set():
            raise Stopped
        self._progress(count)

    def _persistently(self, what: str, action: Callable[[], T]) -> T:
        """Does something, again and again if need be."""
        pause = 0.5
        for attempt in range(1, self._tries + 1):
            try:
                return action()
            except (Stopped, UserError):
                raise
            except Exception as error:
                if permanent := _permanent(error):
                    raise UserError(f"{what}: {permanent}") from None
                if attempt == self._tries:
                    raise StorageError(f"{what}: {reason(error)} ({attempt} tries)") from error
            # Not all at once again, those whom the same trouble has met.
            if self._stop.wait(pause * random.uniform(0.7, 1.3)):
                raise Stopped
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise AssertionError("unreachable")


def copy(source: str, target: str, environment: Mapping[str, str] = os.environ) -> Copied:
    """Copies a folder or file between the disk and object storage, see :class:`Copier`.

    Raises:
        UserError: something is missing, forbidden or full.
        StorageError: a file could not be copied.
    """
    copier = Copier(open_store(source, environment), open_store(target, environment))
    return copier.run(copier.plan())


def reason(error: BaseException) -> str:
    """One line that says what an error is about."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def _permanent(error: Exception) -> str | None:
    """Why it is no use to try again, or None."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return "the disk is full"
    local = getattr(error, "filename", None)
    if local is not None:
        return f"{local}: {reason(error)}"
    if isinstance(error, FileNotFoundError):
        return f"does not exist ({reason(error)})"
    if isinstance(error, PermissionError):
        return f"access denied ({reason(error)})"
    # botocore's, told by name since it need not be imported: no keys, half a key, a bad value.
    if type(error).__name__ in {
        "NoCredentialsError",
        "PartialCredentialsError",
        "ParamValidationError",
        "ProfileNotFound",
    }:
        return reason(error)
    return None


def _is_copy(there: File | None, file: File) -> bool:
    # Whole seconds: that is how exactly object stores keep time.
    return (
        there is not None and there.size == file.size and int(there.modified) >= int(file.modified)
    )


def _require_room(folder: Path, size: int) -> None:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(f"{folder}: {size:,} bytes are needed, {free:,} are free")


def _copy_file(source: Path, into: Path, tick: Tick) -> None:
    shutil.copyfile(source, into)
    tick(into.stat().st_size)


def _file(path: Path) -> File:
    status = path.stat()
    return File(status.st_size, status.st_mtime)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
