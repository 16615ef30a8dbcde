"""Finds pictures in folders, and reads class and split from where they lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.common.catalogue import Catalogue
from train.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
SPLIT_NAMES = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}

# Folders of splits and classes may be links; following deeper ones could go round in circles.
_LINKED_DEPTH = 2


@dataclass(frozen=True)
class Found:
    """What a source is like; its pictures are in the catalogue's table ``found``.

    Attributes:
        layout: How class and split were known, for people.
        has_classes: Whether every picture has a class; otherwise none has.
        has_splits: Whether every picture has a split; otherwise none has.
        ignored: Pictures under the source folder that were left alone.
    """

    layout: str
    has_classes: bool
    has_splits: bool
    ignored: int


def pictures(
    root: Path, below: str = "", without: frozenset[Path] = frozenset()
) -> Iterator[tuple[str, os.stat_result]]:
    """Pictures in ``root/below`` and deeper: paths relative to ``root``, and the files' status.

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


def from_folders(catalogue: Catalogue, root: Path, mask_folders: frozenset[Path]) -> Found:
    """Takes pictures from ``class/file``, ``split/class/file`` or, with masks, without classes.

    Args:
        catalogue: Where to note them.
        root: The source folder; pictures may lie deeper inside class folders.
        mask_folders: Folders of masks, resolved; without them every picture needs a class.

    Raises:
        UserError: The folders hold no pictures in one of these ways.
    """
    tops = _folders(root, "", mask_folders)
    loose = _loose(root, "")
    if tops and {top.lower() for top in tops} <= set(SPLIT_NAMES):
        return _from_splits(catalogue, root, tops, mask_folders, loose)
    if len(tops) == 1:
        raise UserError(
            f"{root}: pictures in one folder only ({tops[0]}): "
            "SRC must be the folder that holds the class folders, two or more"
        )
    if tops:
        catalogue.insert(
            "found",
            (
                (key, key.split("/")[0], "", "", 0, file.st_size, file.st_mtime_ns)
                for top in tops
                for key, file in pictures(root, top, mask_folders)
            ),
        )
        return Found("class/file", True, False, loose)
    if loose and mask_folders:
        _insert_flat(catalogue, root, {"": ""})
        return Found("file", False, False, 0)
    kinds = " ".join(extension[1:] for extension in EXTENSIONS)
    hint = f"; {loose} lie in no class folder" if loose else ""
    raise UserError(f"{root}: no pictures in class folders (looked for {kinds}){hint}")


def _from_splits(
    catalogue: Catalogue, root: Path, tops: list[str], mask_folders: frozenset[Path], loose: int
) -> Found:
    splits: dict[str, str] = {}
    for top in tops:
        split = SPLIT_NAMES[top.lower()]
        if split in splits.values():
            raise UserError(f"{root}: two folders for split {split}: {', '.join(tops)}")
        splits[top] = split
    names = {name for top in tops for name in _folders(root, top, mask_folders)}
    if not names:
        if not mask_folders:
            raise UserError(
                f"{root}: its folders are splits ({', '.join(tops)}), but there are no class "
                "folders in them: sort the pictures into split/class/, or give a --table"
            )
        _insert_flat(catalogue, root, splits)
        return Found("split/file", False, True, loose)
    if len(names) < 2:
        raise UserError(f"{root}: one class folder only ({', '.join(names)}): two or more needed")
    catalogue.insert(
        "found",
        (
            (key, key.split("/")[1], split, "", 0, file.st_size, file.st_mtime_ns)
            for top, split in splits.items()
            for name in _folders(root, top, mask_folders)
            for key, file in pictures(root, f"{top}/{name}", mask_folders)
        ),
    )
    ignored = loose + sum(_loose(root, top) for top in tops)
    return Found("split/class/file", True, True, ignored)


def _insert_flat(catalogue: Catalogue, root: Path, splits: dict[str, str]) -> None:
    catalogue.insert(
        "found",
        (
            (key, "", split, "", 0, file.st_size, file.st_mtime_ns)
            for folder, split in splits.items()
            for key, file in pictures(root, folder)
            if key.count("/") == (1 if folder else 0)
        ),
    )


def _folders(root: Path, below: str, without: frozenset[Path]) -> list[str]:
    """Sorted names of the folders in ``root/below`` that hold a picture."""
    names = []
    with os.scandir(root / below) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not entry.is_dir():
                continue
            folder = f"{below}/{entry.name}" if below else entry.name
            if any(True for _ in pictures(root, folder, without)):
                names.append(entry.name)
    return sorted(names)


def _loose(root: Path, below: str) -> int:
    """Number of pictures in the folder itself."""
    with os.scandir(root / below) as entries:
        return sum(
            entry.name.lower().endswith(EXTENSIONS) and not entry.name.startswith(".")
            for entry in entries
            if not entry.is_dir()
        )
