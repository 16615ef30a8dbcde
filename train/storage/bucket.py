"""A store in object storage, through the S3 protocol: Amazon S3, Huawei Cloud OBS, MinIO, ..."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from train.errors import UserError
from train.storage.access import Access
from train.storage.address import is_visible, split_address
from train.storage.stores import File, Tick

_CONNECT_SECONDS = 15
_READ_SECONDS = 60
_PIECE = 2**18


class Bucket:
    """A store in a bucket.

    Args:
        address: ``s3://BUCKET[/KEY]`` or ``obs://BUCKET[/KEY]``.
        environment: variables, see :mod:`train.storage.access`.

    Raises:
        UserError: the address or a variable cannot be right.
    """

    def __init__(self, address: str, environment: Mapping[str, str]) -> None:
        try:
            scheme, name, key = split_address(address)
        except ValueError as error:
            raise UserError(str(error)) from None
        self.address = address.rstrip("/")
        self._root = f"{name}/{key}".rstrip("/")
        self._file: str | None = None
        self._access = Access.read(scheme, environment)

    def files(self) -> dict[str, File]:
        """All files by their part of the key after the address."""
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
        """The size of one file in bytes."""
        return int(self._system.info(self._path(name), refresh=True)["size"])

    def read(self, name: str, into: Path, tick: Tick, tag: str | None = None) -> None:
        """Downloads a file, or with a tag the rest of it."""
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
                while piece := await body.read(_PIECE):
                    file.write(piece)
                    tick(len(piece))

    def write(self, name: str, source: Path, tick: Tick) -> None:
        """Uploads a file; the object appears when all of it has arrived."""
        self._system.put_file(str(source), self._path(name), callback=_callback(tick))

    def remove(self, name: str) -> None:
        """Removes an object: one by one, since OBS may refuse S3's request for many."""
        self._system.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @cached_property
    def _system(self) -> Any:
        import s3fs  # takes half a second

        access = self._access
        system = s3fs.S3FileSystem(
            key=access.key,
            secret=access.secret,
            token=access.token,
            endpoint_url=access.endpoint,
            client_kwargs={"region_name": access.region} if access.region else {},
            config_kwargs={
                "signature_version": "s3v4",
                "s3": {"addressing_style": access.style},
                # OBS takes neither checksums that come after the body nor those of botocore.
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
                "connect_timeout": _CONNECT_SECONDS,
                "read_timeout": _READ_SECONDS,
                # Whoever uses a store tries again; three layers that do are slow to give up.
                "retries": {"total_max_attempts": 1},
            },
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        system.retries = 1
        return system


def _callback(tick: Tick) -> Any:
    from fsspec.callbacks import Callback

    class _Ticking(Callback):  # type: ignore[misc, unused-ignore]
        def relative_update(self, inc: int = 1) -> None:
            tick(inc)

    return _Ticking()
