"""The masks of a source: which folder, which classes, and which mask belongs to which picture."""

import posixpath
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.common.catalogue import Catalogue
from tools.common.picture_files import pictures
from tools.prepare.masks import Lookup, read_lookup
from tools.prepare.options import Options
from train.errors import UserError

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
    folders = _by_name("--masks", options.masks, "is a folder")
    tables = _by_name("--mask-classes", options.mask_classes, "are classes", folders)
    ignored = _by_name("--ignore", options.ignore, None, folders)
    spaces = {}
    for name, (folder,) in folders.items():
        if not Path(folder).is_dir():
            raise UserError(f"--masks {folder}: no such folder")
        if name not in tables:
            raise UserError(
                f"--masks {folder}: what do the values of {name!r} mean? --mask-classes"
            )
        lookup = read_lookup(name, Path(tables[name][0]), ignored.get(name, []))
        spaces[name] = Space(Path(folder), lookup)
    return spaces


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
        name, value = text.split("=", 1) if "=" in text else ("mask", text)
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


def find_masks(catalogue: Catalogue, root: Path, spaces: Spaces, listed: bool) -> None:
    """Note the masks of all label spaces, and check that they pair with the pictures in ``found``.

    With ``listed`` a table chose the pictures: then masks of others do no harm.

    Raises:
        UserError: A picture has no mask, or two have one; or a mask has no picture.
    """
    if not spaces:
        return
    keys = catalogue.rows("SELECT key FROM found ORDER BY key")
    if twice := catalogue.insert_unique("stems", ((stem(key), key) for (key,) in keys)):
        other = catalogue.value("SELECT key FROM stems WHERE stem = ?", twice[0])
        raise UserError(f"{root}: {other} and {twice[1]} would share one mask: rename one")
    for name, space in spaces.items():
        rows = (
            (name, stem(path), path, file.st_size, file.st_mtime_ns)
            for path, file in pictures(space.folder)
        )
        if twice := catalogue.insert_unique("masks", rows):
            query = "SELECT path FROM masks WHERE space = ? AND stem = ?"
            one, other = sorted((twice[2], catalogue.value(query, name, twice[1])))
            raise UserError(f"{space.folder}: {one} and {other} are masks of one picture")
        without = "key FROM stems WHERE stem NOT IN (SELECT stem FROM masks WHERE space = ?)"
        _refuse(catalogue, without, name, f"{root}: picture(s) without a mask in {space.folder}")
        if not listed:
            orphans = "path FROM masks WHERE space = ? AND stem NOT IN (SELECT stem FROM stems)"
            what = f"{space.folder}: mask(s) without a picture in {root}"
            _refuse(catalogue, orphans, name, what)


def _refuse(catalogue: Catalogue, query: str, name: str, what: str) -> None:
    """Raise a UserError that names some of what a query finds in a label space, if anything."""
    count = catalogue.value(f"SELECT count(*) FROM (SELECT {query})", name)
    if count:
        shown = catalogue.rows(f"SELECT {query} ORDER BY 1 LIMIT {_SHOWN}", name)
        more = " ..." if count > _SHOWN else ""
        raise UserError(f"{what}: {count}: {', '.join(path for (path,) in shown)}{more}")


def stem(path: str) -> str:
    """Return what a picture and its mask have in common: the path without its extension."""
    return posixpath.splitext(path)[0]
