"""Pictures that a table names: path, class, split, group and masks."""

import csv
import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.common.catalogue import Catalogue
from tools.common.command_line import refused
from tools.common.picture_files import Survey, check_name
from tools.prepare.layout import SPLIT_NAMES, split_of
from tools.prepare.source_folders import Found, not_read
from train.errors import UserError

# The layout of pictures that a table names.
TABLE = "table"

# What is taken from the table, and what its column may be called.
COLUMNS = {
    "file": ("file", "path"),
    "class": ("class", "label"),
    "split": ("split",),
    "group": ("group",),
}
_MASK_COLUMN = re.compile(r"mask(?:_([a-z][a-z0-9_]*))?")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "'|'"}

Row = dict[str, str]


class Table:
    """A CSV of pictures; its first line names the columns.

    Args:
        path: The file.

    Attributes:
        columns: Name in the table of each of ``COLUMNS`` that is there.
        masks: Name in the table of the column of each label space: ``mask``, ``mask_NAME``.

    Raises:
        UserError: It is missing, or its first line is no good.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names = next(self._lines(), (0, []))[1]
        lowered = [name.strip().lower() for name in self._names]
        if twice := [name for name in lowered if name and lowered.count(name) > 1]:
            raise UserError(f"{path}: two columns are called {twice[0]!r}: keep one")
        self.columns = self._find(lowered)
        matches = {name: _MASK_COLUMN.fullmatch(name) for name in lowered}
        self.masks = {m[1] or "mask": name for name, m in matches.items() if m is not None}
        self._lowered = lowered

    def _find(self, header: list[str]) -> dict[str, str]:
        found = {}
        for column, names in COLUMNS.items():
            given = [name for name in header if name in names]
            if len(given) > 1:
                raise UserError(
                    f"{self.path}: columns {' and '.join(given)} mean the same: keep one"
                )
            if given:
                found[column] = given[0]
        if "file" not in found:
            self.refuse_without("file")
        return found

    def refuse_without(self, column: str) -> None:
        """Raise a UserError that says that a column is missing."""
        line = ",".join(self._names)
        for sign, what in _SEPARATORS.items():
            if sign in line and "," not in line:
                raise UserError(f"{self.path}: its values are separated by {what}: commas are read")
        there = f"; there are: {', '.join(self._names)}" if self._names else ""
        raise UserError(
            f"{self.path}: no column {' or '.join(COLUMNS[column])} (its first line must name "
            f"path, label and, if there are any, split, group and mask{there})"
        )

    @property
    def unused(self) -> list[str]:
        """The names of the columns that are not read."""
        known = {*self.columns.values(), *self.masks.values()}
        named = zip(self._names, self._lowered, strict=True)
        return [name for name, low in named if low and low not in known]

    def rows(self) -> Iterator[tuple[int, Row]]:
        """Yield the lines behind the first as number of the line and values by column.

        Raises:
            UserError: A line has more or fewer values than the first one.
        """
        lines = self._lines()
        next(lines, None)
        for number, values in lines:
            if len(values) != len(self._names):
                raise UserError(
                    f"{self.path}, line {number} has {len(values)} values, the first line "
                    f"{len(self._names)} names (a value with a comma must stand in quotes)"
                )
            yield number, dict(zip(self._lowered, map(str.strip, values), strict=True))

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        try:
            # "utf-8-sig": Excel puts a mark before the first name.
            with (
                refused(self.path),
                self.path.open(newline="", encoding="utf-8-sig") as file,
            ):
                reader = csv.reader(file)
                last = 0
                for values in reader:
                    # Where a quoted value holds line breaks, the first of its lines.
                    first, last = last + 1, reader.line_num
                    if values:
                        yield first, values
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(
                f"{self.path}: not a CSV in UTF-8 (Excel: save as 'CSV UTF-8'): {error}"
            ) from None


def from_table(
    catalogue: Catalogue, survey: Survey, root: Path, table: Table, has_masks: bool
) -> Found:
    """Take the pictures that a table names, with class, split, group and masks as given.

    Paths start from ``root``. Without masks, every picture needs a class.

    Raises:
        UserError: A value is missing; a file is missing or named twice; a split is unknown; a file
            lies in another class's folder; or a group is in several splits.
    """
    if "class" not in table.columns and not has_masks:
        table.refuse_without("class")
    rows = (_row(root, row, table, line) for line, row in table.rows())
    twice = catalogue.insert_unique("found", rows)
    if twice is not None:
        key, line = twice[0], twice[4]
        earlier = catalogue.value("SELECT line FROM found WHERE key = ?", key)
        raise UserError(f"{table.path}, line {line}: {key} was given on line {earlier}")
    if not catalogue.value("SELECT count(*) FROM found"):
        raise UserError(f"{table.path}: no rows")
    if "class" in table.columns:
        _check_classes(catalogue, table.path)
    _check_groups(catalogue, table.path)
    warnings = not_read(survey)
    if table.unused:
        warnings.append(f"columns of {table.path} that are not read: {', '.join(table.unused)}")
    return Found(TABLE, "split" in table.columns, warnings)


def _row(root: Path, row: Row, table: Table, line: int) -> tuple[str, str, str, str, int, int, int]:
    where = f"{table.path}, line {line}"
    values = {column: row[name] for column, name in table.columns.items()}
    for column, value in values.items():
        # Without a group a picture is a group of its own.
        if not value and column != "group":
            raise UserError(f"{where}: {table.columns[column]} is empty")
    split = values.get("split", "")
    if split and split_of(split) is None:
        raise UserError(f"{where}: split {split!r} is none of {', '.join(SPLIT_NAMES)}")
    key = posixpath.normpath(values["file"])
    if key.startswith(("/", "../")) or key in (".", ".."):
        raise UserError(f"{where}: {values['file']}: must be a path relative to SRC, inside it")
    check_name(root, key)
    file = _status(root, key, where)
    known = key, values.get("class", ""), split_of(split) or "", values.get("group", "")
    return *known, line, file[0], file[1]


def _status(root: Path, key: str, where: str) -> tuple[int, int]:
    """Return size and time of change of a file that a table names."""
    try:
        path = root / key
        # A pipe, a device or a folder cannot be read either.
        if path.is_file():
            file = path.stat()
            return file.st_size, file.st_mtime_ns
        what = "is no file" if path.exists() else f"no such file in {root}"
    except (OSError, ValueError) as error:
        what = str(getattr(error, "strerror", None) or error)
    hint = " (paths are written with /)" if "\\" in key else ""
    raise UserError(f"{where}: {key}: {what}{hint}")


def masks_of(table: Table, root: Path, space: str) -> Iterator[tuple[str, str, str, int, int]]:
    """Yield the masks that a table names: label space, key of the picture, path, size, time.

    Raises:
        UserError: One is not given, or not there.
    """
    for line, row in table.rows():
        where = f"{table.path}, line {line}"
        path = posixpath.normpath(row[table.masks[space]])
        if not row[table.masks[space]]:
            raise UserError(f"{where}: {table.masks[space]} is empty")
        yield (
            space,
            posixpath.normpath(row[table.columns["file"]]),
            path,
            *_status(root, path, where),
        )


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


def columns_of_masks(table: Path | None) -> Sequence[str]:
    """Return the label spaces that a table has columns for."""
    return () if table is None else tuple(Table(table).masks)
