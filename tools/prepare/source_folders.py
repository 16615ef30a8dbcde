"""Pictures taken from folders: class and split are read from where they lie."""

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path

from tools.common.catalogue import Catalogue
from tools.common.picture_files import EXTENSIONS, count_directly_in, pictures
from train.errors import UserError

SPLIT_NAMES = {
    "train": "train",
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    "test": "test",
}


@dataclass(frozen=True)
class Found:
    """What a source is like; its pictures are in the catalogue's table ``found``.

    Attributes:
        layout: How class and split were known, for people.
        has_splits: Whether every picture has a split; otherwise none has.
        ignored: Pictures under the source folder that were left alone.
    """

    layout: str
    has_splits: bool
    ignored: int


def from_folders(catalogue: Catalogue, root: Path, mask_folders: frozenset[Path]) -> Found:
    """Take pictures from ``class/file``, ``split/class/file`` or, with masks, without classes.

    Args:
        catalogue: Where to note them.
        root: The source folder; pictures may lie deeper inside class folders.
        mask_folders: Folders of masks, resolved; without them every picture needs a class.

    Raises:
        UserError: The folders hold no pictures in one of these ways.
    """
    tops = _folders(root, "", mask_folders)
    loose = count_directly_in(root)
    if tops and {top.lower() for top in tops} <= set(SPLIT_NAMES):
        return _from_splits(catalogue, root, tops, mask_folders, loose)
    if len(tops) == 1:
        raise UserError(
            f"{root}: pictures in one folder only ({tops[0]}): "
            "SRC must be the folder that holds the class folders, two or more"
        )
    if tops:
        _insert(catalogue, root, [(top, top, "") for top in tops], mask_folders)
        return Found("class/file", False, loose)
    if loose and mask_folders:
        _insert(catalogue, root, [("", "", "")])
        return Found("file", False, 0)
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
    names = {top: _folders(root, top, mask_folders) for top in tops}
    classes = set().union(*names.values())
    if not classes:
        if not mask_folders:
            raise UserError(
                f"{root}: its folders are splits ({', '.join(tops)}), but there are no class "
                "folders in them: sort the pictures into split/class/, or give a --table"
            )
        _insert(catalogue, root, [(top, "", split) for top, split in splits.items()])
        return Found("split/file", True, loose)
    if len(classes) < 2:
        raise UserError(f"{root}: one class folder only ({', '.join(classes)}): two or more needed")
    folders = [(f"{top}/{name}", name, splits[top]) for top in tops for name in names[top]]
    _insert(catalogue, root, folders, mask_folders)
    ignored = loose + sum(count_directly_in(root / top) for top in tops)
    return Found("split/class/file", True, ignored)


def _insert(
    catalogue: Catalogue,
    root: Path,
    folders: list[tuple[str, str, str]],
    without: frozenset[Path] = frozenset(),
) -> None:
    """Note the pictures of folders, each given with its class and split.

    Those without a class lie directly in their folder; of a class also deeper.
    """
    rows = (
        (key, name, split, "", 0, file.st_size, file.st_mtime_ns)
        for folder, name, split in folders
        for key, file in pictures(root, folder, without)
        if name or posixpath.dirname(key) == folder
    )
    catalogue.insert("found", rows)


def _folders(root: Path, below: str, without: frozenset[Path]) -> list[str]:
    """Return the sorted names of the folders in ``root/below`` that hold a picture."""
    with os.scandir(root / below) as entries:
        names = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
    return [n for n in sorted(names) if any(pictures(root, posixpath.join(below, n), without))]
