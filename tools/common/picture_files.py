"""Which files are pictures, and where they lie."""

import os
from collections.abc import Iterator
from pathlib import Path

from train.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")

# Folders of splits and classes may be links; following deeper ones could go round in circles.
_LINKED_DEPTH = 2


def pictures(
    root: Path, below: str = "", without: frozenset[Path] = frozenset()
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the pictures in ``root/below`` and deeper: path relative to ``root``, file status.

    They come in no particular order. Hidden ones, and the folders in ``without``, are left out.

    Raises:
        UserError: A folder or file cannot be read, or a name is not UTF-8.
    """
    waiting = [(below, 0)]
    while waiting:
        folder, depth = waiting.pop()
        if (root / folder).resolve() in without:
            continue
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    key = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=depth < _LINKED_DEPTH):
                        waiting.append((key, depth + 1))
                    elif entry.name.lower().endswith(EXTENSIONS):
                        _check_name(root, key)
                        yield key, entry.stat()
        except OSError as error:
            raise UserError(f"{error.filename or root / folder}: {error.strerror}") from None


def _check_name(root: Path, key: str) -> None:
    # MindRecord stores text as UTF-8; Linux file names can be any bytes.
    if any(0xDC80 <= ord(letter) <= 0xDCFF for letter in key):
        raise UserError(f"{root}: {key!r}: the file's name is not UTF-8: rename it")


def count_directly_in(folder: Path) -> int:
    """Return the number of pictures in a folder itself."""
    with os.scandir(folder) as entries:
        return sum(
            entry.name.lower().endswith(EXTENSIONS) and not entry.name.startswith(".")
            for entry in entries
            if not entry.is_dir()
        )
