"""The check that a data set need not be made again: same options, an unchanged source.

Nothing is decoded for that.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tools.common.catalogue import Catalogue
from tools.common.stored_records import MASK_COLUMNS, read_table
from tools.prepare.options import DEFAULT_RATIOS, Options
from tools.prepare.source_masks import Spaces
from train.data.manifest import FORMAT, MANIFEST, Manifest, RecordSet
from train.errors import UserError
from train.files import read_json, sha256_file

_SHOWN = 3

# Files by label space of masks; pictures have the space "". A skipped picture has no split.
_TABLES = """
CREATE TABLE old (key TEXT PRIMARY KEY, class TEXT, split TEXT, grp TEXT) WITHOUT ROWID;
CREATE TABLE old_files (space TEXT, path TEXT, bytes INTEGER, mtime INTEGER, sha256 TEXT,
    PRIMARY KEY (space, path)) WITHOUT ROWID;
CREATE TABLE new_files (space TEXT, path TEXT, bytes INTEGER, mtime INTEGER,
    PRIMARY KEY (space, path)) WITHOUT ROWID;
CREATE TABLE changed (path TEXT);
"""
_ALL_NEW = """
INSERT INTO new_files SELECT '', key, bytes, mtime FROM found;
INSERT INTO new_files SELECT space, path, bytes, mtime FROM masks
    WHERE key NOT IN (SELECT key FROM old WHERE split = '');
"""
_DIFFERENT = "SELECT path FROM (SELECT space, path FROM {} EXCEPT SELECT space, path FROM {})"
_QUERIES = {
    "added": _DIFFERENT.format("new_files", "old_files"),
    "removed": _DIFFERENT.format("old_files", "new_files"),
    "changed": "SELECT DISTINCT path FROM changed",
}


def is_prepared(folder: Path) -> bool:
    """Return whether a folder was made by this command, whole or since damaged."""
    try:
        data = read_json(folder / MANIFEST)
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and data.get("format") == FORMAT


def arguments(options: Options, spaces: Spaces, others: Sequence[RecordSet]) -> dict[str, Any]:
    """Return all that the result depends on besides the pictures, as JSON gives it back."""
    values = {
        "name": options.set_name,
        "table": str(options.table) if options.table else None,
        "ratios": options.ratios or DEFAULT_RATIOS,
        **{name: getattr(options, name) for name in ("layout", "bands", "range")},
        **{n: getattr(options, n) for n in ("seed", "size", "format", "quality", "shards")},
        "masks": spaces_as_json(spaces),
        "duplicates": options.duplicates,
        "against": {str(o.folder): sha256_file(o.folder / MANIFEST) for o in others},
        "skip_unreadable": options.skip_unreadable,
        # As data sets from before the option have it.
        "skip_unmasked": options.skip_unmasked or None,
    }
    result: dict[str, Any] = json.loads(json.dumps(values))
    return result


def spaces_as_json(spaces: Spaces) -> dict[str, Any]:
    """Return what the stored masks depend on besides their files."""
    return {
        name: {
            "classes": space.lookup.classes,
            "values": list(zip(space.lookup.values, space.lookup.positions, strict=True)),
        }
        for name, space in spaces.items()
    }


def check_options(out: Path, manifest: Manifest, options: dict[str, Any]) -> None:
    """Raise a UserError that names the options that are not those that ``out`` was made with."""
    made: dict[str, Any] = manifest.source.get("options", {})
    different = [key for key in options if made.get(key) != options[key]]
    if different:
        shown = ", ".join(
            f"--{key.replace('_', '-')} {_text(options[key])} (was {_text(made.get(key))})"
            for key in different
        )
        raise UserError(
            f"{out}: exists already, made with other options: {shown} "
            "(--overwrite replaces it, or give another --out)"
        )


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def check_source(
    options: Options, manifest: Manifest, catalogue: Catalogue, spaces: Spaces, has_splits: bool
) -> None:
    """Compare what was found now, in the catalogue, with what ``options.out`` was made of.

    A file of the same size and time of change is taken as unchanged; one of the same size and
    another time is read. ``has_splits`` tells whether the source gives the splits.

    Raises:
        UserError: Something was added, removed or changed.
    """
    catalogue.script(_TABLES)
    catalogue.insert("old", _old_records(options.out, manifest))
    catalogue.insert("old_files", _old_files(options.out, manifest, spaces))
    catalogue.script(_ALL_NEW)
    catalogue.insert("changed", _changed_files(catalogue, options.src, spaces))
    splits = "OR old.split != found.split" if has_splits else ""
    catalogue.run(
        "INSERT INTO changed SELECT key FROM old JOIN found USING (key) WHERE old.split != '' "
        f"AND (old.class != found.class OR old.grp != found.grp {splits})"
    )
    changes = []
    for what, query in _QUERIES.items():
        count = catalogue.value(f"SELECT count(*) FROM ({query})")
        if count:
            paths = catalogue.rows(f"{query} ORDER BY path LIMIT {_SHOWN}")
            shown = ", ".join(path for (path,) in paths)
            changes.append(f"{count} {what} ({shown}{', ...' if count > _SHOWN else ''})")
    if changes:
        raise UserError(
            f"{options.src}: changed since {options.out} was made: {'; '.join(changes)} "
            "(--overwrite replaces it)"
        )


def _old_records(out: Path, manifest: Manifest) -> Iterator[tuple[object, ...]]:
    for row in read_table(out):
        yield row["key"], row["class"], row["split"], row["group"]
    for skipped in manifest.source.get("skipped", []):
        yield skipped["key"], "", "", ""


def _old_files(out: Path, manifest: Manifest, spaces: Spaces) -> Iterator[tuple[object, ...]]:
    for row in read_table(out):
        known = [row[f"source_{column}"] for column in ("bytes", "mtime_ns", "sha256")]
        yield "", row["key"], int(known[0]), int(known[1]), known[2]
        for name in spaces:
            path, size, mtime, digest = (row[f"mask_{name}_{c}"] for c in MASK_COLUMNS)
            yield name, path, int(size), int(mtime), digest
    for skipped in manifest.source.get("skipped", []):
        yield "", *(skipped[name] for name in ("key", "bytes", "mtime_ns", "sha256"))


def _changed_files(catalogue: Catalogue, src: Path, spaces: Spaces) -> Iterator[tuple[str]]:
    query = (
        "SELECT n.space, n.path, n.bytes = o.bytes, o.sha256 FROM new_files AS n "
        "JOIN old_files AS o ON o.space = n.space AND o.path = n.path "
        "WHERE n.bytes != o.bytes OR n.mtime != o.mtime"
    )
    for space, path, same_size, digest in catalogue.rows(query):
        folder = spaces[space].folder if space else src
        if not same_size or sha256_file(folder / path) != digest:
            yield (path,)
