"""What there is to prepare: pictures with what is known of them, and masks; none is opened."""

from dataclasses import replace
from pathlib import Path

from tools.common.catalogue import Catalogue
from tools.common.picture_files import Survey, pictures
from tools.prepare.layout import plain_name
from tools.prepare.options import Options
from tools.prepare.source_folders import Found, from_folders, shown
from tools.prepare.source_masks import Spaces, find_masks
from tools.prepare.source_table import Table, from_table
from train.errors import UserError


def find(catalogue: Catalogue, options: Options, spaces: Spaces, table: Table | None) -> Found:
    """Find pictures and masks, without opening any.

    Raises:
        UserError: What is there does not fit together.
    """
    survey = Survey()
    known = [options.table] if options.table else []
    known += [Path(text.split("=", 1)[-1]) for text in options.mask_classes]
    own = (space.own_folder for space in spaces.values())
    elsewhere = frozenset(path.resolve() for path in known).union(*own)
    rows = pictures(options.src, elsewhere, survey)
    catalogue.insert("files", ((key, file.st_size, file.st_mtime_ns) for key, file in rows))
    if table is None:
        found = from_folders(catalogue, survey, options, bool(spaces))
    else:
        found = from_table(catalogue, survey, options.src, table, bool(spaces))
    found.warnings.extend(find_masks(catalogue, options, spaces, table, found.layout))
    _check_classes(catalogue, options)
    found = _say_ignored(catalogue, found, options)
    if found.has_splits:
        _check_split_options(options)
    return found


def _say_ignored(catalogue: Catalogue, found: Found, options: Options) -> Found:
    """Say which pictures were left alone, other than masks and those without one."""
    query = "SELECT key FROM files WHERE key NOT IN (SELECT key FROM found) ORDER BY key"
    ignored = [key for (key,) in catalogue.rows(query)]
    if not ignored:
        return found
    why = f"not in {options.table}" if options.table else f"as their paths are not {found.layout}"
    text = f"left out, {why}: {shown(ignored, 'picture')}"
    return replace(found, warnings=[*found.warnings, text], ignored=len(ignored))


def _check_classes(catalogue: Catalogue, options: Options) -> None:
    """Refuse classes whose names differ in nothing that anyone would mean."""
    seen: dict[str, tuple[str, int]] = {}
    for name, line in catalogue.rows("SELECT class, min(line) FROM found GROUP BY class"):
        plain = plain_name(name)
        if plain in seen:
            other, other_line = seen[plain]
            lines = f" (lines {other_line} and {line})" if line else ""
            raise UserError(
                f"{options.table or options.src}: classes {other!r} and {name!r}{lines} differ "
                "in case, blanks or signs alone: give both the same name"
            )
        seen[plain] = name, line


def _check_split_options(options: Options) -> None:
    where = options.table or options.src
    if options.ratios is not None:
        text = ",".join(f"{ratio:g}" for ratio in options.ratios)
        raise UserError(f"--ratios {text}: {where} gives every picture's split already")
    if options.duplicates == "together":
        raise UserError(
            f"--duplicates together: {where} gives every picture's split already, so none "
            "can be moved: correct it there, or pass --duplicates allow"
        )
