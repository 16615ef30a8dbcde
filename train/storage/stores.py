"""Trees of files: what is the same for the disk and for object storage, and those on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from train.errors import UserError
from train.storage.address import SCHEMES, is_remote, is_visible


@dataclass(frozen=True)
class File:
    """A file in a store.

    Attributes:
        size: in bytes.
        modified: time of the last change in seconds since 1970, by the store's clock.
        tag: of object storage, what changes with the content (ETag).
    """

    size: int
    modified: float
    tag: str | None = field(default=None, compare=False)


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

    def read(self, name: str, into: Path, tick: Tick, tag: str | None = None) -> None:
        """Writes the content of a file into a local file.

        With a tag, what the local file holds already is the beginning of the file of this tag:
        only the rest is asked for, if there still is that file.
        """

    def write(self, name: str, source: Path, tick: Tick) -> None:
        """Stores a local file under a name, which it gets only when it is whole."""

    def remove(self, name: str) -> None:
        """Removes a file; it is no error if there is none."""


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

    def read(self, name: str, into: Path, tick: Tick, tag: str | None = None) -> None:
        """Copies the content of a file."""
        _copy_file(self.path(name), into, tick)

    def write(self, name: str, source: Path, tick: Tick) -> None:
        """Copies a file into the folder."""
        temporary = self.temporary(name, str(os.getpid()))
        try:
            _copy_file(source, temporary, tick)
            self.publish(temporary, name)
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Removes a file."""
        self.path(name).unlink(missing_ok=True)

    def temporary(self, name: str, mark: str) -> Path:
        """Where a file can be written that does not count yet; in a folder that is made."""
        final = self.path(name)
        final.parent.mkdir(parents=True, exist_ok=True)
        return final.with_name(f".{final.name}.{mark}")

    def publish(self, temporary: Path, name: str) -> None:
        """Gives such a file its name, when it is on the disk."""
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(self.path(name))


def open_store(address: str, environment: Mapping[str, str] = os.environ) -> Store:
    """Opens a store; of a bucket nothing is asked yet.

    Args:
        address: ``s3://BUCKET/KEY``, ``obs://BUCKET/KEY`` or a path.
        environment: endpoint and keys, see :mod:`train.storage.access`.

    Raises:
        UserError: the address, or what the environment says, cannot be right.
    """
    if is_remote(address):
        from train.storage.bucket import Bucket

        return Bucket(address, environment)
    if "://" in address:
        raise UserError(f"{address}: must be a path or begin with {' or '.join(SCHEMES)}")
    return Folder(Path(address))


def _copy_file(source: Path, into: Path, tick: Tick) -> None:
    shutil.copyfile(source, into)
    tick(into.stat().st_size)


def _file(path: Path) -> File:
    status = path.stat()
    return File(status.st_size, status.st_mtime)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
