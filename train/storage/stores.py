"""Trees of files behind one interface: folders on the disk, and buckets through the S3 protocol."""

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from train.errors import UserError
from train.files import replacement
from train.storage.address import check_location, is_remote, is_visible, split_address
from train.storage.connection import Connection
from train.temporary import temporary_folder

_READ_SECONDS = 60


@dataclass(frozen=True)
class File:
    """A file in a store.

    Attributes:
        size: In bytes.
        modified: Time of the last change in seconds since 1970, by the store's clock.
        tag: Of object storage, what changes with the content (ETag).
    """

    size: int
    modified: float
    tag: str | None = field(default=None, compare=False)


Tick = Callable[[int], None]
"""Called with the number of bytes that have just moved; may raise ``Stopped`` to end a transfer."""


class Store(Protocol):
    """A tree of files; their names are relative to its address.

    The address of a file stands for a tree that holds nothing else.

    What a store cannot do it says with an OSError, FileNotFoundError and PermissionError among
    them, or with an error of its client library.
    """

    address: str

    def files(self) -> dict[str, File]:
        """Return all files by name; none if there is nothing at the address."""

    def size(self, name: str) -> int:
        """Return the size of one file in bytes."""

    def read(self, name: str, into: Path, tick: Tick, tag: str | None = None) -> None:
        """Write the content of a file into a local file.

        With a tag, what the local file holds already is the beginning of the file of this tag:
        only the rest is asked for, if that file is still there.
        """

    def write(self, name: str, source: Path, tick: Tick) -> None:
        """Store a local file under a name, which it gets only when it is whole."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""


def open_store(address: str, environment: Mapping[str, str] = os.environ) -> Store:
    """Open a store; no request is made to a bucket yet.

    Args:
        address: ``s3://BUCKET/KEY``, ``obs://BUCKET/KEY`` or a path.
        environment: Endpoint and keys, see :mod:`train.storage.connection`.

    Raises:
        UserError: The address, or what the environment says, cannot be right.
    """
    if is_remote(address):
        return Bucket(address, environment)
    try:
        return Folder(Path(check_location(address)))
    except ValueError as error:
        told = str(error)
        raise UserError(told if told.startswith(address) else f"{address}: {told}") from None


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
    with temporary_folder() as folder:
        into = folder / "content"
        store.read(name, into, lambda _: None)
        return into.read_bytes()


class Folder:
    """A store on the disk.

    Args:
        path: A folder, which need not exist yet, or a file.
    """

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._only = path.name if path.is_file() else None
        self.root = path.parent if self._only else path

    def path(self, name: str) -> Path:
        """Return where a file is.

        Raises:
            UserError: The name leads out of the folder.
        """
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "/".join(parts) != name:
            raise UserError(f"{name!r} cannot be the name of a file in {self.address}")
        return self.root / name

    def new_path(self, name: str) -> Path:
        """Return where a file is or will be, in a folder that exists."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def files(self) -> dict[str, File]:
        """See :class:`Store`."""
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
        """See :class:`Store`."""
        return self.path(name).stat().st_size

    def read(self, name: str, into: Path, tick: Tick, tag: str | None = None) -> None:
        """See :class:`Store`; copies the whole file whatever the tag."""
        _copy_file(self.path(name), into, tick)

    def write(self, name: str, source: Path, tick: Tick) -> None:
        """See :class:`Store`."""
        with replacement(self.new_path(name)) as temporary:
            _copy_file(source, temporary, tick)

    def remove(self, name: str) -> None:
        """See :class:`Store`."""
        self.path(name).unlink(missing_ok=True)


class Bucket:
    """A store in object storage: Amazon S3, Huawei Cloud OBS, MinIO, ...

    Args:
        address: ``s3://BUCKET[/KEY]`` or ``obs://BUCKET[/KEY]``.
        environment: Variables, see :mod:`train.storage.connection`.

    Raises:
        UserError: The address or a variable cannot be right.
    """

    def __init__(self, address: str, environment: Mapping[str, str]) -> None:
        try:
            scheme, name, key = split_address(address)
        except ValueError as error:
            raise UserError(str(error)) from None
        self.address = address.rstrip("/")
        self._root = f"{name}/{key}".rstrip("/")
        self._file: str | None = None
        self._connection = Connection.read(scheme, environment)

    def files(self) -> dict[str, File]:
        """See :class:`Store`; names are the part of the key after the address."""
        found = {}
        for path, info in self._system.find(self._root, detail=True, refresh=True).items():
            # What consoles show as an empty folder is an empty object whose key ends in "/".
            if info["type"] != "file" or info["Key"].endswith("/"):
                continue
            file = File(info["size"], info["LastModified"].timestamp(), info.get("ETag"))
            if path == self._root:  # the address is that of a file
                self._file = path
                return {path.rpartition("/")[2]: file}
            name = path.removeprefix(f"{self._root}/")
            if is_visible(name):
                found[name] = file
        return found

    def size(self, name: str) -> int:
        """See :class:`Store`."""
        return int(self._system.info(self._path(name), refresh=True)["size"])

    def read(self, name: str, into: Path, tick: Tick, tag: str | None = None) -> None:
        """See :class:`Store`."""
        from fsspec.asyn import sync

        path = self._file or self._path(name)
        begun = into.stat().st_size if tag and into.exists() else 0
        sync(self._system.loop, self._download, path, into, tick, begun, tag)

    async def _download(
        self, path: str, into: Path, tick: Tick, begun: int, tag: str | None
    ) -> None:
        bucket, key, _ = self._system.split_path(path)
        # In one stream: parts that are asked for one by one may be of two versions of the file.
        wanted = {"Range": f"bytes={begun}-", "IfMatch": tag} if begun else {}
        answer = await self._system._call_s3("get_object", Bucket=bucket, Key=key, **wanted)
        # A server may send everything although it was asked for the rest.
        goes_on = begun and str(answer.get("ContentRange")).startswith(f"bytes {begun}-")
        async with answer["Body"] as body:
            with into.open("ab" if goes_on else "wb") as file:
                while piece := await body.read(2**18):
                    file.write(piece)
                    tick(len(piece))

    def write(self, name: str, source: Path, tick: Tick) -> None:
        """See :class:`Store`; the object appears when all of it has arrived."""
        from fsspec.callbacks import Callback

        callback = Callback()
        callback.relative_update = tick
        self._system.put_file(str(source), self._path(name), callback=callback)

    def remove(self, name: str) -> None:
        """See :class:`Store`; one by one, since OBS may refuse S3's request for many."""
        self._system.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @cached_property
    def _system(self) -> Any:
        import s3fs  # takes half a second

        connection = self._connection
        system = s3fs.S3FileSystem(
            key=connection.key,
            secret=connection.secret,
            token=connection.token,
            endpoint_url=connection.endpoint,
            client_kwargs={"region_name": connection.region} if connection.region else {},
            config_kwargs={
                "signature_version": "s3v4",
                "s3": {"addressing_style": connection.style},
                # OBS takes neither checksums that come after the body nor those of botocore.
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
                "connect_timeout": 15,
                "read_timeout": _READ_SECONDS,
                # Whoever uses a store tries again; three layers that do are slow to give up.
                "retries": {"total_max_attempts": 1},
            },
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        system.retries = 1
        return system


def _copy_file(source: Path, into: Path, tick: Tick) -> None:
    shutil.copyfile(source, into)
    tick(into.stat().st_size)


def _file(path: Path) -> File:
    status = path.stat()
    return File(status.st_size, status.st_mtime)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
