"""The check of what was fetched: digests of the archive, content of the unpacked folder."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tools.common.picture_files import count_directly_in, pictures
from tools.download.registry import Archive, DataSet
from train.errors import UserError


class Mismatch(Exception):
    """A file or folder is not what the registry says."""


def digests(path: Path, names: Iterable[str] = ("md5", "sha256")) -> dict[str, str]:
    """Return digests of a file, in hexadecimal, in one pass over it."""
    # Against accidents only, so md5 will do where a record has nothing better.
    running = {name: hashlib.new(name, usedforsecurity=False) for name in names}
    with path.open("rb") as file:
        while block := file.read(2**20):
            for digest in running.values():
                digest.update(block)
    return {name: digest.hexdigest() for name, digest in running.items()}


def check_archive(path: Path, archive: Archive) -> None:
    """Compare a file with the registry.

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
    """Find out which archive of a data set a file that the user fetched is.

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
    for archive in archives:
        if not archive.checksums:
            return archive
    raise UserError(f"{path}: {'; '.join(reasons)}")


def find_class_folders(folder: Path, classes: int) -> Path:
    """Find the folder, at ``folder`` or below, that holds as many folders of images as classes.

    Raises:
        Mismatch: There is none.
    """
    waiting = [folder]
    while waiting:
        here = waiting.pop(0)
        below = sorted(path for path in here.iterdir() if path.is_dir())
        if sum(count_directly_in(path) > 0 for path in below) == classes:
            return here
        waiting += below
    raise Mismatch(f"no folder in it holds {classes} folders of images")


def check_content(folder: Path, about: DataSet) -> None:
    """Compare the numbers of class folders with images, and of images, with the registry.

    Raises:
        Mismatch: They differ.
    """
    root = folder / about.images_in
    below = root.iterdir() if root.is_dir() else ()
    counts = [sum(1 for _ in pictures(path)) for path in below if path.is_dir()]
    classes, images = sum(n > 0 for n in counts), sum(counts)
    if (classes, images) != (about.classes, about.images):
        raise Mismatch(
            f"{classes} class folders with {images} images "
            f"instead of {about.classes} with {about.images}"
        )


def git_tree(folder: Path) -> str:
    """Return git's id of a folder of plain files: a digest over all names and contents in it."""
    entries = []
    for path in folder.iterdir():
        if path.is_dir():
            # Git sorts a folder as if its name ended in a slash.
            entries.append((f"{path.name}/", b"40000 " + path.name.encode(), git_tree(path)))
        else:
            blob = _git_id(b"blob", path.read_bytes())
            entries.append((path.name, b"100644 " + path.name.encode(), blob))
    body = b"".join(head + b"\0" + bytes.fromhex(own) for _, head, own in sorted(entries))
    return _git_id(b"tree", body)


def _git_id(kind: bytes, body: bytes) -> str:
    head = kind + b" %d\0" % len(body)
    return hashlib.sha1(head + body, usedforsecurity=False).hexdigest()
