"""Writing files so that a power cut or a kill leaves the old or the new, never half of one."""

import errno
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Far more than the manifest of the largest data set has.
_MOST_JSON_BYTES = 256 * 2**20
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)


def write_flushed(path: Path, *parts: bytes | memoryview) -> str:
    """Write a file and wait until it is on the disk; return its SHA-256, in hexadecimal."""
    digest = hashlib.sha256()
    with _named(path), path.open("wb") as file:
        for part in parts:
            digest.update(part)
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def replace_file(path: Path, content: bytes) -> None:
    """Write a file beside ``path`` and put it into its place when it is whole and on the disk."""
    with replacement(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; what is written there takes its place in the end.

    If the block raises, an older file stays and the temporary one is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with _named(path):
            yield temporary
            publish(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let an error of the system's that names no file name this one: a full disk names none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def publish(temporary: Path, path: Path) -> None:
    """Put a complete file into its place once it is on the disk."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON, nested too deeply, or larger than any file of ours.
    """
    if (size := path.stat().st_size) > _MOST_JSON_BYTES:
        raise ValueError(f"{size:,} bytes are too many")
    return parse_json(path.read_bytes())


def parse_json(text: str | bytes) -> Any:
    """Read JSON.

    Raises:
        ValueError: It is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def flush_folder(folder: Path) -> None:
    """Wait until a folder's entries (new, renamed or removed files) are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def free_bytes(folder: Path) -> int:
    """Return what is free on the disk of a folder, which need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def disk_of(path: Path, needed: int | None = None) -> str:
    """Return which disk a path is on, what is free there and, if given, what is needed."""
    place = path.absolute()
    try:
        while not os.path.ismount(place):
            place = place.parent
        free = f"{free_bytes(path) / 1e6:,.1f} MB free"
    except OSError as error:  # it does not answer
        free = str(error.strerror)
    return f"disk {place}: {free}" + (f", {needed / 1e6:,.1f} MB needed" if needed else "")


def told(error: OSError) -> str:
    """Return what is wrong with a path and, if that is its disk, which one it is on."""
    path = os.fsdecode(error.filename or "")
    text = f"{path}: {error.strerror or error}"
    return f"{text} ({disk_of(Path(path))})" if error.errno in _OF_THE_DISK else text


def remove_unfinished(folder: Path, names: Iterable[str]) -> None:
    """Remove what processes that were killed have left of replacing files of these names."""
    for name in names:
        for path in folder.glob(f".{glob.escape(name)}.*"):
            if path.suffix[1:].isdecimal():
                path.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
