"""Zip and tar archives whose headers and lists of files are read within bounds.

A few megabytes can hold a header that takes gigabytes, or the names of millions of empty files.
"""

import bz2
import gzip
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

Infos = Iterator[tarfile.TarInfo]

# The largest set of pictures that is known here has thirty thousand.
MOST_FILES = 500_000
# Of one file in a tar archive: name, owner, times and the like.
_MOST_HEADER_BYTES = 256 * 2**10
# Of all files in a zip archive, about 100 bytes for each.
_MOST_LIST_BYTES = 64 * 2**20
_ENTRY = b"PK\x01\x02"
# An archive's own limit is for the files that are wanted; this is for what is skipped between them.
_SKIPPED_BYTES = 2**30

_OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"]\0\0": lzma.open,
}


class Unbounded(Exception):
    """More than any archive of pictures has; the text says of what."""


class _Bounded:
    """A file, possibly compressed, of whose headers and length only so much is read.

    Attributes:
        left: Bytes of headers that may be read yet; None while content is read.
    """

    def __init__(self, file: IO[bytes], left: int, end: int | None = None) -> None:
        self._file, self._end = file, end
        self.left: int | None = left

    def read(self, size: int = -1) -> bytes:
        """Read as ``file.read`` does."""
        if self.left is None:
            return self._file.read(size)
        if size > self.left:
            raise Unbounded("headers that are too large")
        data = self._file.read(size)
        self.left -= len(data)
        if data.count(_ENTRY) > MOST_FILES:
            raise Unbounded(f"more than {MOST_FILES:,} files")
        return data

    def seek(self, place: int, whence: int = 0) -> int:
        """Seek as ``file.seek`` does."""
        if self._end is not None and place > self._end:
            raise Unbounded(f"more than {self._end / 1e6:.0f} MB")
        return self._file.seek(place, whence)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def open_zip(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive for reading."""
    with archive.open("rb") as file:
        bounded = _Bounded(file, _MOST_LIST_BYTES)
        with zipfile.ZipFile(cast(IO[bytes], bounded)) as zipped:
            bounded.left = None
            yield zipped


@contextmanager
def open_tar(archive: Path, limit: int) -> Iterator[tuple[tarfile.TarFile, Infos]]:
    """Open a tar archive, also compressed, of which ``limit`` bytes are wanted.

    Yields:
        It, and what is in it, for one pass.

    Raises:
        tarfile.ReadError: It is none.
    """
    with archive.open("rb") as file:
        start = file.read(max(map(len, _OPENERS)))
    opener = next((_OPENERS[magic] for magic in _OPENERS if start.startswith(magic)), None)
    with opener(archive) if opener else archive.open("rb") as file:
        bounded = _Bounded(file, _MOST_HEADER_BYTES, limit + _SKIPPED_BYTES)
        try:
            tar = tarfile.open(  # noqa: SIM115  closed below
                fileobj=cast(IO[bytes], bounded),
                mode="r:",
                encoding="utf-8",
                errors="surrogateescape",
            )
        except tarfile.ReadError:
            raise tarfile.ReadError("not a zip, tar or rar archive") from None
        with tar:
            yield tar, _members(tar, bounded)


def _members(tar: tarfile.TarFile, bounded: _Bounded) -> Infos:
    place = -1
    while True:
        bounded.left = _MOST_HEADER_BYTES
        info = tar.next()
        if info is None:
            bounded.left = None
            return
        # A size below zero would lead back, for ever.
        if info.size < 0 or info.offset_data <= place:
            raise tarfile.ReadError("a size that cannot be")
        place = info.offset_data
        if sum(map(len, tar.pax_headers.values())) > _MOST_HEADER_BYTES:
            raise Unbounded("headers that are too large")
        tar.members = []  # type: ignore[attr-defined]  # it would keep them all
        yield info
