"""Which files are pictures, where they lie, and what else lies there."""

import os
import posixpath
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from train.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")

# What is neither a picture nor a file of another format.
NO_FILE = "pipes, sockets or devices"
CIRCLE = "links that lead back"
HIDDEN = "hidden pictures"
# Of what cannot be asked.
_NO_STATUS = os.stat_result((0,) * 10)


@dataclass
class Survey:
    """What a walk met.

    Attributes:
        folders: Every folder ("" is the root), with the number of pictures directly in it.
        others: What was left out, by ending or kind: how many there are.
        examples: The first by name of each of these.
        unread: The folders that hold such files, with the ending of one of them.
    """

    folders: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)

    def left_out(self, kind: str, key: str) -> None:
        """Note something that is no picture."""
        self.others[kind] += 1
        self.examples[kind] = min(key, self.examples.get(kind, key))
        self.unread[posixpath.dirname(key)] = kind


def pictures(
    root: Path,
    without: frozenset[Path] = frozenset(),
    survey: Survey | None = None,
    unreadable_too: bool = False,
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the pictures in ``root`` and deeper: path relative to ``root``, file status.

    They come in no particular order. Links are followed, but not to a folder that they lie in.
    Hidden ones, and the folders in ``without``, are left out. What else there is, other than files
    in ``without``, goes into ``survey``, if one is given. With ``unreadable_too``, links that lead
    nowhere and folders that cannot be read are among the pictures: who reads them is told why.

    Raises:
        UserError: A folder or file cannot be read, or a name is not UTF-8.
    """
    survey = survey or Survey()
    # Each folder with those that it lies in, as device and number of the file.
    outside = frozenset(map(_identity, root.resolve().parents))
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", outside)]
    while waiting:
        folder, above = waiting.pop()
        if without and (root / folder).resolve() in without:
            continue
        try:
            here = above | {_identity(root / folder)}
            if here == above:
                survey.left_out(CIRCLE, folder)
                continue
            survey.folders[folder] += 0
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    key = f"{folder}/{entry.name}" if folder else entry.name
                    if _is_hidden(entry, key, survey):
                        continue
                    if entry.is_dir():
                        waiting.append((key, here))
                    elif (status := _status_of_picture(entry, unreadable_too)) is None:
                        if (root / key).resolve() not in without:
                            survey.left_out(kind_of(entry.name), key)
                    else:
                        check_name(root, key)
                        survey.folders[folder] += 1
                        yield key, status
        except OSError as error:
            if not (unreadable_too and folder):
                raise UserError(f"{error.filename or root / folder}: {error.strerror}") from None
            yield folder, _NO_STATUS


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _is_hidden(entry: os.DirEntry[str], key: str, survey: Survey) -> bool:
    if not entry.name.startswith("."):
        return False
    # "._x.jpg" is what macOS keeps beside x.jpg, and no picture.
    if entry.name.lower().endswith(EXTENSIONS) and not entry.name.startswith("._"):
        survey.left_out(HIDDEN, key)
    return True


def _status_of_picture(entry: os.DirEntry[str], unreadable_too: bool) -> os.stat_result | None:
    """Return the status of what may be a picture; of a link that leads nowhere, its own."""
    if not entry.name.lower().endswith(EXTENSIONS):
        return None
    try:
        status = entry.stat()
    except OSError:
        if not unreadable_too:
            raise
        return entry.stat(follow_symlinks=False)
    # To open a named pipe is to wait for ever.
    return status if stat.S_ISREG(status.st_mode) else None


def kind_of(name: str) -> str:
    """Return as what a file that is no picture is counted: its ending, without the dot."""
    ending = posixpath.splitext(name)[1].lower()
    return NO_FILE if ending in EXTENSIONS else ending[1:] or "without an ending"


def check_name(root: Path, key: str) -> None:
    """Raise a UserError if a file's name is not UTF-8, as which MindRecord stores it."""
    if any(0xDC80 <= ord(letter) <= 0xDCFF for letter in key):
        raise UserError(f"{root}: {key!r}: the file's name is not UTF-8: rename it")


def count_directly_in(folder: Path) -> int:
    """Return the number of pictures in a folder itself."""
    with os.scandir(folder) as entries:
        return sum(
            entry.name.lower().endswith(EXTENSIONS) and not entry.name.startswith(".")
            for entry in entries
            if entry.is_file()
        )
