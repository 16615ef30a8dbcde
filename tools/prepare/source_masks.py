"""The masks of a source: which classes, and which mask belongs to which picture.

Three ways to say which: a folder that mirrors that of the pictures, a pattern that makes the path
of a mask out of that of its picture, or a column of the table.
"""

import glob
import os
import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.common.catalogue import Catalogue
from tools.common.picture_files import pictures
from tools.prepare.layout import FIELDS, Layout
from tools.prepare.mask_advice import common_ending, common_names
from tools.prepare.masks import Lookup, read_lookup
from tools.prepare.options import Options
from tools.prepare.source_table import TABLE, Table, masks_of
from train.errors import UserError

_SHOWN = 3
_FIELDS = ("parent", "stem", *FIELDS)
_FIELD = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Space:
    """A label space of masks.

    Attributes:
        folder: What the paths of masks start from: their own folder, or that of the pictures.
        lookup: What their pixels mean.
        pattern: The path of a mask, with fields; empty where a folder or a table tells.
        listed: Whether the table names the masks.
    """

    folder: Path
    lookup: Lookup
    pattern: str = ""
    listed: bool = False

    @property
    def own_folder(self) -> frozenset[Path]:
        """The folder that holds masks alone, resolved, if there is one."""
        mirrors = not (self.pattern or self.listed)
        return frozenset([self.folder.resolve()] if mirrors else [])


# By their names.
Spaces = dict[str, Space]


def read_spaces(options: Options, table: Table | None) -> Spaces:
    """Return by name the label spaces of ``--masks``, ``--mask-classes`` and ``--ignore``.

    Raises:
        UserError: They do not fit together, or a file or a folder is no good.
    """
    places = _by_name("--masks", options.masks, "is a folder")
    columns = table.masks if table else {}
    for name in columns:
        if name in places:
            raise UserError(
                f"--masks {places[name][0]}: {options.table} has a column {columns[name]} too"
            )
        places[name] = [""]
    tables = _by_name("--mask-classes", options.mask_classes, "are classes", places)
    ignored = _by_name("--ignore", options.ignore, None, places)
    spaces = {}
    for name, (place,) in places.items():
        where = f"--masks {place}" if place else f"{options.table}: column {columns[name]}"
        pattern = place if "{" in place and not Path(place).is_dir() else ""
        if place and not pattern and not Path(place).is_dir():
            raise UserError(f"{where}: no such folder")
        if name not in tables:
            named = "" if name == "mask" else f"{name}="
            raise UserError(
                f"{where}: what do the values of {name!r} mean? --mask-classes {named}FILE, "
                'a JSON file such as {"water": "#0000ff"} or {"water": 1}'
            )
        lookup = read_lookup(name, Path(tables[name][0]), ignored.get(name, []))
        _check_pattern(pattern)
        folder = Path(place) if place and not pattern else options.src
        spaces[name] = Space(folder, lookup, pattern, listed=not place)
    return spaces


def _check_pattern(pattern: str) -> None:
    for name in _FIELD.findall(pattern):
        if name not in _FIELDS:
            known = ", ".join(f"{{{known}}}" for known in _FIELDS)
            raise UserError(f"--masks {pattern}: {{{name}}} is none of {known}")


def _by_name(
    option: str, given: Sequence[str], once: str | None, known: Collection[str] | None = None
) -> dict[str, list[str]]:
    """Return the values of an option, given as ``NAME=VALUE`` or, for the name "mask", ``VALUE``.

    Args:
        option: The option.
        given: What was given for it.
        once: What there is already if a name comes twice; None if it may.
        known: The names that there are; None if any will do.
    """
    found: dict[str, list[str]] = {}
    for text in given:
        # A pattern may hold such a sign too.
        named = re.fullmatch(r"(\w*)=(.*)", text)
        name, value = named.groups() if named else ("mask", text)
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise UserError(
                f"{option} {text}: the name {name!r} must be small letters, digits and '_', "
                "a letter first"
            )
        if not value:
            raise UserError(f"{option} {text}: nothing behind '='")
        if known is not None and name not in known:
            there = ", ".join(known) or "none"
            raise UserError(f"{option}: no --masks for {name!r} (there are: {there})")
        if once and name in found:
            raise UserError(f"{option} {value}: there {once} for {name!r} already")
        found.setdefault(name, []).append(value)
    return found


def find_masks(
    catalogue: Catalogue, options: Options, spaces: Spaces, table: Table | None, layout: str
) -> list[str]:
    """Note the masks of all label spaces, and check that each picture in ``found`` has its own.

    With a table, which chooses the pictures, masks of others do no harm. Where a pattern names a
    mask, that file is no picture, whatever the layout.

    Returns:
        Lines on the pictures that were left out with ``--skip-unmasked``.

    Raises:
        UserError: A picture has no mask, or two have one; or a mask has no picture.
    """
    root = options.src
    for name, space in spaces.items():
        if space.listed and table is not None:
            _insert(catalogue, root, name, masks_of(table, root, name))
        elif space.pattern:
            _insert(catalogue, root, name, _by_pattern(catalogue, root, name, space, layout))
        if not space.own_folder:
            # In the folder of the pictures, these are none.
            for table_name in ("files", "found"):
                masks = "SELECT path FROM masks WHERE space = ?"
                catalogue.run(f"DELETE FROM {table_name} WHERE key IN ({masks})", name)
    catalogue.run("DELETE FROM masks WHERE key NOT IN (SELECT key FROM found)")
    warnings: list[str] = []
    for name, space in spaces.items():
        if space.own_folder:
            _match_folder(catalogue, root, name, space, layout)
        warnings += _check_unmasked(catalogue, options, name, space, layout)
    return warnings


def _check_unmasked(
    catalogue: Catalogue, options: Options, name: str, space: Space, layout: str
) -> Iterator[str]:
    """Refuse or leave out the pictures without a mask, and say so."""
    query = "SELECT key FROM found WHERE key NOT IN (SELECT key FROM masks WHERE space = ?)"
    keys = [key for (key,) in catalogue.rows(f"{query} ORDER BY key", name)]
    if not keys:
        return
    more = ", ..." if len(keys) > _SHOWN else ""
    text = f"{len(keys)} picture(s) without a mask: {', '.join(keys[:_SHOWN])}{more}"
    some = catalogue.value("SELECT count(*) FROM masks WHERE space = ?", name)
    if options.skip_unmasked and some:
        catalogue.run(f"DELETE FROM files WHERE key IN ({query})", name)
        catalogue.run(f"DELETE FROM found WHERE key IN ({query})", name)
        yield f"left out, {text}"
        return
    where = _looked_for(options.src, keys[0], space, layout)
    if space.own_folder and not some:
        where += _advice(catalogue, space, layout)
    skip = "; leave them out with --skip-unmasked" if some else ""
    raise UserError(f"{options.src}: {text} ({where}{skip})")


def _looked_for(root: Path, key: str, space: Space, layout: str) -> str:
    """Say where the mask of a picture was looked for, and what is there in its place."""
    if not space.pattern:
        path = space.folder / f"{stem(key)}.*"
    else:
        path = _formatted(space.pattern, root, key, _compiled(layout))
        if (root / path).is_file():
            right = f"--masks '{root}/{space.pattern}'"
            return f"looked for {path}: patterns start from the current folder: {right}"
        if path.exists():
            return f"{path} is no file"
    others = sorted(path.parent.glob(f"{glob.escape(path.stem)}.*"))
    there = f"; there is {others[0].name}" if others else ""
    return f"looked for {path}{there}{', no file' if others and not others[0].is_file() else ''}"


def _insert(
    catalogue: Catalogue, root: Path, name: str, rows: Iterator[tuple[str, str, str, int, int]]
) -> None:
    if twice := catalogue.insert_unique("masks", rows):
        query = "SELECT key FROM masks WHERE space = ? AND path = ?"
        other = catalogue.value(query, name, twice[2])
        raise UserError(f"{root}: {other} and {twice[1]} would share one mask, {twice[2]}")


def _by_pattern(
    catalogue: Catalogue, root: Path, name: str, space: Space, layout: str
) -> Iterator[tuple[str, str, str, int, int]]:
    pattern = _compiled(layout)
    for (key,) in catalogue.rows("SELECT key FROM found ORDER BY key"):
        path = _formatted(space.pattern, root, key, pattern)
        # In the same terms as the paths of pictures; none is its own mask.
        relative = os.path.relpath(path, root)
        if relative != key and path.is_file():
            status = path.stat()
            yield name, key, relative, status.st_size, status.st_mtime_ns


def _compiled(layout: str) -> "re.Pattern[str] | None":
    return None if layout == TABLE else Layout(layout).compiled()


def _formatted(pattern: str, root: Path, key: str, layout: "re.Pattern[str] | None") -> Path:
    parent, file = posixpath.split(key)
    match = layout.fullmatch(key) if layout else None
    said = match.groupdict() if match else {}
    values = {**said, "parent": str(root / parent), "stem": stem(file)}
    for field in _FIELD.findall(pattern):
        if field not in values:
            raise UserError(f"--masks {pattern}: --layout does not say what {{{field}}} is")
    return Path(os.path.normpath(_FIELD.sub(lambda found: str(values[found[1]]), pattern)))


def _match_folder(catalogue: Catalogue, root: Path, name: str, space: Space, layout: str) -> None:
    """Pair pictures and masks of the same path, but for the ending."""
    catalogue.script("DELETE FROM stems; DELETE FROM mask_files;")
    keys = catalogue.rows("SELECT key FROM found ORDER BY key")
    if twice := catalogue.insert_unique("stems", ((stem(key), key) for (key,) in keys)):
        other = catalogue.value("SELECT key FROM stems WHERE stem = ?", twice[0])
        raise UserError(f"{root}: {other} and {twice[1]} would share one mask: rename one")
    found = pictures(space.folder)
    rows = ((stem(path), path, file.st_size, file.st_mtime_ns) for path, file in found)
    if twice := catalogue.insert_unique("mask_files", rows):
        other = catalogue.value("SELECT path FROM mask_files WHERE stem = ?", twice[0])
        one, other = sorted((twice[1], other))
        raise UserError(f"{space.folder}: {one} and {other} are masks of one picture")
    catalogue.run(
        "INSERT INTO masks SELECT ?, key, path, bytes, mtime FROM stems JOIN mask_files "
        "USING (stem)",
        name,
    )
    if layout != TABLE:
        query = (
            "SELECT path FROM mask_files WHERE stem NOT IN (SELECT stem FROM stems) ORDER BY path"
        )
        paths = [path for (path,) in catalogue.rows(query)]
        if paths and catalogue.value("SELECT count(*) FROM masks WHERE space = ?", name):
            more = " ..." if len(paths) > _SHOWN else ""
            raise UserError(
                f"{space.folder}: mask(s) without a picture in {root}: {len(paths)}: "
                f"{', '.join(paths[:_SHOWN])}{more}"
            )


def _advice(catalogue: Catalogue, space: Space, layout: str) -> str:
    """Return the options for a folder that does not mirror that of the pictures, if any do."""
    images = [key for (key,) in catalogue.rows("SELECT key FROM found ORDER BY key")]
    masks = [path for (path,) in catalogue.rows("SELECT path FROM mask_files ORDER BY path")]
    folder, file = posixpath.split(layout)
    names, below = common_names(images, masks), folder
    if names is None:
        # All masks in one folder, whatever the folders of the pictures.
        names, below = common_names([posixpath.basename(key) for key in images], masks), ""
    if names is None or file != "*" or "*" in folder:
        return ""
    picture = posixpath.join(folder, names[0] + common_ending(images))
    mask = space.folder / below / (names[1] + common_ending(masks))
    return f"; by their names, give in its place: --layout '{picture}' --masks '{mask}'"


def stem(path: str) -> str:
    """Return what a picture and its mask have in common: the path without its extension."""
    return posixpath.splitext(path)[0]
