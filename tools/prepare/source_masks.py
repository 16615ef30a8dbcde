"""The masks of a source: which folder, which classes, and which mask belongs to which picture."""

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.common.catalogue import Catalogue
from tools.common.picture_files import pictures
from tools.prepare.masks import Lookup, read_lookup
from tools.prepare.options import Options
from train.errors import UserError

DEFAULT_NAME = "mask"

_SHOWN = 3


@dataclass(frozen=True)
class Space:
    """A label space of masks: the folder they lie in, and what their pixels mean."""

    folder: Path
    lookup: Lookup


# By their names.
Spaces = dict[str, Space]


def read_spaces(options: Options) -> Spaces:
    """Return by name the label spaces of ``--masks``, ``--mask-classes`` and ``--ignore``.

    Raises:
        UserError: They do not fit together, or a file or a folder is no good.
    """
    folders: dict[str, str] = {}
    for name, value in _named("--masks", options.masks):
        if name in folders:
            raise UserError(f"--masks {value}: there is a folder for {name!r} already")
        folders[name] = value
    tables: dict[str, str] = {}
    for name, value in _named("--mask-classes", options.mask_classes):
        _check_known("--mask-classes", name, folders)
        if name in tables:
            raise UserError(f"--mask-classes {value}: there are classes for {name!r} already")
        tables[name] = value
    ignored: dict[str, list[str]] = {name: [] for name in folders}
    for name, value in _named("--ignore", options.ignore):
        _check_known("--ignore", name, folders)
        ignored[name].append(value)
    spaces = {}
    for name, folder in folders.items():
        if not Path(folder).is_dir():
            raise UserError(f"--masks {folder}: no such folder")
        if name not in tables:
            raise UserError(
                f"--masks {folder}: what do the values of {name!r} mean? --mask-classes"
            )
        spaces[name] = Space(Path(folder), read_lookup(name, Path(tables[name]), ignored[name]))
    return spaces


def _named(option: str, values: Sequence[str]) -> list[tuple[str, str]]:
    """Split ``NAME=VALUE``; a value alone is that of the default name."""
    pairs = []
    for given in values:
        name, equals, value = given.partition("=")
        if not equals:
            name, value = DEFAULT_NAME, given
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise UserError(
                f"{option} {given}: the name {name!r} must be small letters, digits and '_', "
                "a letter first"
            )
        if not value:
            raise UserError(f"{option} {given}: nothing behind '='")
        pairs.append((name, value))
    return pairs


def _check_known(option: str, name: str, folders: dict[str, str]) -> None:
    if name not in folders:
        known = ", ".join(folders) or "none"
        raise UserError(f"{option}: no --masks for {name!r} (there are: {known})")


def find_masks(catalogue: Catalogue, root: Path, spaces: Spaces, listed: bool) -> None:
    """Note the masks of all label spaces, and check that pictures and masks are pairs.

    Args:
        catalogue: Holds the pictures in ``found``.
        root: Folder of the pictures.
        spaces: The label spaces.
        listed: Whether a table chose the pictures; then masks of others do no harm.

    Raises:
        UserError: A picture has no mask, or two have one; or a mask has no picture.
    """
    if not spaces:
        return
    catalogue.run("CREATE TABLE stems (stem TEXT PRIMARY KEY, key TEXT) WITHOUT ROWID")
    keys = catalogue.rows("SELECT key FROM found ORDER BY key")
    if twice := catalogue.insert_unique("stems", ((stem(key), key) for (key,) in keys)):
        other = catalogue.value("SELECT key FROM stems WHERE stem = ?", twice[0])
        raise UserError(f"{root}: {other} and {twice[1]} would share one mask: rename one")
    for name, space in spaces.items():
        _find(catalogue, name, space)
        _check_pairs(catalogue, root, name, space, listed)


def stem(path: str) -> str:
    """Return what a picture and its mask have in common: the path without its extension."""
    return posixpath.splitext(path)[0]


def _find(catalogue: Catalogue, name: str, space: Space) -> None:
    rows = (
        (name, stem(path), path, file.st_size, file.st_mtime_ns)
        for path, file in pictures(space.folder)
    )
    if twice := catalogue.insert_unique("masks", rows):
        query = "SELECT path FROM masks WHERE space = ? AND stem = ?"
        one, other = sorted((twice[2], catalogue.value(query, name, twice[1])))
        raise UserError(f"{space.folder}: {one} and {other} are masks of one picture")


def _check_pairs(catalogue: Catalogue, root: Path, name: str, space: Space, listed: bool) -> None:
    alone = (
        "SELECT key FROM stems WHERE stem NOT IN (SELECT stem FROM masks WHERE space = ?) "
        "ORDER BY key"
    )
    _refuse(catalogue, alone, name, f"{root}: picture(s) without a mask in {space.folder}")
    if not listed:
        orphans = (
            "SELECT path FROM masks WHERE space = ? AND stem NOT IN (SELECT stem FROM stems) "
            "ORDER BY path"
        )
        _refuse(catalogue, orphans, name, f"{space.folder}: mask(s) without a picture in {root}")


def _refuse(catalogue: Catalogue, query: str, name: str, what: str) -> None:
    count = catalogue.value(f"SELECT count(*) FROM ({query})", name)
    if count:
        shown = [row[0] for row in catalogue.rows(f"{query} LIMIT {_SHOWN}", name)]
        more = " ..." if count > _SHOWN else ""
        raise UserError(f"{what}: {count}: {', '.join(shown)}{more}")
