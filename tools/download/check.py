"""Checks what was fetched: digests of the archive, and what is in the unpacked folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tools.download.registry import Archive, DataSet
from tools.prepare.source_folders import EXTENSIONS
from train.errors import UserError

_BLOCK = 2**20


class Mismatch(Exception):
    """A file or folder is not what the registry says."""


def digests(path: Path, names: Iterable[str] = ("md5", "sha256")) -> dict[str, str]:
    """Digests of a file, in hexadecimal, in one pass over it."""
    # Against accidents only, so md5 will do where a record has nothing better.
    running = {name: hashlib.new(name, usedforsecurity=False) for name in names}
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            for digest in running.values():
                digest.update(block)
    return {name: digest.hexdigest() for name, digest in running.items()}


def check_archive(path: Path, archive: Archive) -> None:
    """Compares a file with the registry.

    Raises:
        Mismatch: Its size or a digest differs.
    """
    size = path.stat().st_size
    if archive.bytes not in (None, size):
        raise Mismatch(f"{size} bytes instead of {archive.bytes}")
    found = digests(path, archive.checksums)
    for name, expected in archive.checksums.items():
        if found[name] != expected:
            raise Mismatch(f"its {name} is {found[name]} instead of {expected}")


def recognise(path: Path, archives: list[Archive]) -> Archive:
    """Finds out which archive of a data set a file that the user fetched is.

    Raises:
        UserError: Its digests fit none, and a digest is known for each.
    """
    reasons = []
    for archive in sorted(archives, key=lambda a: a.file != path.name):
        if archive.checksums:
            try:
                check_archive(path, archive)
                return archive
            except Mismatch as error:
                reasons.append(f"not {archive.file}: {error}")
    unchecked = [archive for archive in archives if not archive.checksums]
    if unchecked:
        return unchecked[0]
    raise UserError(f"{path}: {'; '.join(reasons)}")


def find_class_folders(folder: Path, classes: int) -> Path:
    """The folder, at ``folder`` or below, that holds as many folders of images as classes.

    Raises:
        Mismatch: There is none.
    """
    waiting = [folder]
    while waiting:
        here = waiting.pop(0)
        below = sorted(path for path in here.iterdir() if path.is_dir())
        if sum(_has_images(path) for path in below) == classes:
            return here
        waiting += below
    raise Mismatch(f"no folder in it holds {classes} folders of images")


def check_content(folder: Path, about: DataSet) -> None:
    """Counts class folders and images.

    Raises:
        Mismatch: They are not as many as the registry says.
    """
    classes, images = count(folder / about.images_in)
    if (classes, images) != (about.classes, about.images):
        raise Mismatch(
            f"{classes} class folders with {images} images "
            f"instead of {about.classes} with {about.images}"
        )


def count(folder: Path) -> tuple[int, int]:
    """Class folders with images in them, and images."""
    if not folder.is_dir():
        return 0, 0
    counts = [_images(path) for path in folder.iterdir() if path.is_dir()]
    return sum(n > 0 for n in counts), sum(counts)


def _images(folder: Path) -> int:
    return sum(_is_image(path) for path in folder.rglob("*"))


def _has_images(folder: Path) -> bool:
    return any(_is_image(path) for path in folder.iterdir())


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()


def git_tree(folder: Path) -> str:
    """Git's id of a folder of plain files: a digest over all names and contents in it."""
    return _tree(folder).hex()


def _tree(folder: Path) -> bytes:
    entries = []
    for path in folder.iterdir():
        if path.is_dir():
            # Git sorts a folder as if its name ended in a slash.
            entries.append((f"{path.name}/", b"40000 " + path.name.encode(), _tree(path)))
        else:
            entries.append((path.name, b"100644 " + path.name.encode(), _blob(path)))
    body = b"".join(head + b"\0" + digest for _, head, digest in sorted(entries))
    return _object(b"tree", body)


def _blob(path: Path) -> bytes:
    return _object(b"blob", path.read_bytes())


def _object(kind: bytes, body: bytes) -> bytes:
    head = kind + b" %d\0" % len(body)
    return hashlib.sha1(head + body, usedforsecurity=False).digest()
