"""Pictures found: in folders, which tell class and split, or in a table that names them."""

import csv
import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.common.catalogue import Catalogue
from tools.common.command_line import refused
from tools.common.picture_files import EXTENSIONS, count_directly_in, pictures
from train.errors import UserError

SPLIT_NAMES = {
    "train": "train",
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    "test": "test",
}

# What is taken from the table, and what its column may be called.
COLUMNS = {
    "file": ("file", "path"),
    "class": ("class", "label"),
    "split": ("split",),
    "group": ("group",),
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

    Pictures may lie deeper inside class folders. The folders of masks are given resolved; without
    any, every picture needs a class.

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


def from_table(
    catalogue: Catalogue, root: Path, table: Path, mask_folders: frozenset[Path]
) -> Found:
    """Take the pictures that a CSV names: path or file, label or class; split and group as given.

    Its first line names the columns, and paths start from ``root``. The folders of masks are given
    resolved; without any, a class is needed.

    Raises:
        UserError: The table or a column is missing; a value is missing; a file is missing or
            named twice; a split is unknown; a file lies in another class's folder; or a group is
            in several splits.
    """
    try:
        with refused(table), table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = _columns(table, reader.fieldnames or [], bool(mask_folders))
            rows = (_row(root, row, names, table, reader.line_num) for row in reader)
            twice = catalogue.insert_unique("found", rows)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table}: not a CSV in UTF-8: {error}") from None
    if twice is not None:
        key, line = twice[0], twice[4]
        earlier = catalogue.value("SELECT line FROM found WHERE key = ?", key)
        raise UserError(f"{table}, line {line}: {key} was given on line {earlier}")
    if not catalogue.value("SELECT count(*) FROM found"):
        raise UserError(f"{table}: no rows")
    if "class" in names:
        _check_classes(catalogue, table)
    _check_groups(catalogue, table)
    present = sum(1 for _ in pictures(root, without=mask_folders))
    endings = " OR ".join(f"key LIKE '%{extension}'" for extension in EXTENSIONS)
    listed = catalogue.value(f"SELECT count(*) FROM found WHERE {endings}")
    return Found("table", "split" in names, max(0, present - listed))


def _columns(table: Path, header: Sequence[str], has_masks: bool) -> dict[str, str]:
    """Return the name in the table of every column that is there."""
    found = {}
    for column, names in COLUMNS.items():
        given = [name for name in header if name in names]
        if len(given) > 1:
            raise UserError(f"{table}: columns {' and '.join(given)} mean the same: keep one")
        if given:
            found[column] = given[0]
        elif column == "file" or (column == "class" and not has_masks):
            raise UserError(
                f"{table}: no column {' or '.join(names)} (its first line must name "
                "path, label and, if there are any, split and group)"
            )
    return found


def _row(
    root: Path, row: dict[str, str | None], names: dict[str, str], table: Path, line: int
) -> tuple[str, str, str, str, int, int, int]:
    where = f"{table}, line {line}"
    values = {column: (row[name] or "").strip() for column, name in names.items()}
    for column, value in values.items():
        # Without a group a picture is a group of its own.
        if not value and column != "group":
            raise UserError(f"{where}: {names[column]} is empty")
    split = values.get("split", "")
    if split and split not in SPLIT_NAMES:
        raise UserError(f"{where}: split {split!r} is none of {', '.join(SPLIT_NAMES)}")
    key = posixpath.normpath(values["file"])
    if key.startswith(("/", "../")) or key in (".", ".."):
        raise UserError(f"{where}: {values['file']}: must be a path relative to SRC, inside it")
    if not (root / key).is_file():
        raise UserError(f"{where}: {key}: no such file in {root}")
    file = (root / key).stat()
    class_name, group = values.get("class", ""), values.get("group", "")
    known = key, class_name, SPLIT_NAMES.get(split, ""), group
    return *known, line, file.st_size, file.st_mtime_ns


def _check_classes(catalogue: Catalogue, table: Path) -> None:
    classes = {name for (name,) in catalogue.rows("SELECT DISTINCT class FROM found")}
    if len(classes) < 2:
        raise UserError(f"{table}: one class only ({', '.join(classes)}): two or more are needed")
    for line, key, name in catalogue.rows("SELECT line, key, class FROM found ORDER BY line"):
        folder = posixpath.basename(posixpath.dirname(key))
        if folder in classes and folder != name:
            raise UserError(
                f"{table}, line {line}: {key} lies in the folder of class {folder!r}, "
                f"but its class is given as {name!r}"
            )


def _check_groups(catalogue: Catalogue, table: Path) -> None:
    query = (
        "SELECT grp, min(split), max(split) FROM found WHERE grp != '' "
        "GROUP BY grp HAVING min(split) != max(split) ORDER BY grp"
    )
    for group, one, other in catalogue.rows(query):
        raise UserError(
            f"{table}: group {group!r} is in splits {one} and {other}: a group must stay in one "
            "(or leave the column split out, and the splits are made by group)"
        )
