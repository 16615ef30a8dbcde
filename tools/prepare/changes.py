"""Tells what has changed in a source since a data set was made of it, without decoding anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tools import listing
from tools.catalogue import Catalogue
from tools.prepare.mask_files import Space
from train.data.manifest import Manifest
from train.errors import UserError
from train.files import sha256_file

_SHOWN = 3

# Files by label space of masks; pictures have the space "". A skipped picture has no split.
_TABLES = """
CREATE TABLE old (key TEXT PRIMARY KEY, class TEXT, split TEXT, grp TEXT) WITHOUT ROWID;
CREATE TABLE old_files (space TEXT, path TEXT, bytes INTEGER, mtime INTEGER, sha256 TEXT,
    PRIMARY KEY (space, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stems (stem TEXT PRIMARY KEY, key TEXT) WITHOUT ROWID;
CREATE TABLE new_files (space TEXT, path TEXT, bytes INTEGER, mtime INTEGER,
    PRIMARY KEY (space, path)) WITHOUT ROWID;
CREATE TABLE changed (path TEXT);
"""
_ALL_NEW = """
INSERT INTO new_files SELECT '', key, bytes, mtime FROM found;
INSERT INTO new_files SELECT space, path, bytes, mtime FROM masks JOIN stems USING (stem)
    WHERE stems.key NOT IN (SELECT key FROM old WHERE split = '');
"""
_QUERIES = {
    "added": (
        "SELECT path FROM new_files AS n WHERE NOT EXISTS "
        "(SELECT 1 FROM old_files AS o WHERE o.space = n.space AND o.path = n.path)"
    ),
    "removed": (
        "SELECT path FROM old_files AS o WHERE NOT EXISTS "
        "(SELECT 1 FROM new_files AS n WHERE n.space = o.space AND n.path = o.path)"
    ),
    "changed": "SELECT DISTINCT path FROM changed",
}


def check_source(
    out: Path,
    manifest: Manifest,
    catalogue: Catalogue,
    src: Path,
    spaces: dict[str, Space],
    has_splits: bool,
) -> None:
    """Compares what was found now with what ``out`` was made of.

    A file of the same size and time of change is taken as unchanged; one of the same size and
    another time is read.

    Args:
        out: The prepared data set.
        manifest: Its manifest.
        catalogue: Holds the pictures and masks found now.
        src: Folder of the pictures.
        spaces: Label spaces of masks.
        has_splits: Whether the source gives the splits.

    Raises:
        UserError: Something was added, removed or changed.
    """
    catalogue.script(_TABLES)
    catalogue.insert("old", _old_records(out, manifest))
    catalogue.insert("old_files", _old_files(out, manifest, spaces))
    catalogue.script(_ALL_NEW)
    catalogue.insert("changed", _changed_files(catalogue, src, spaces))
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
            f"{src}: changed since {out} was made: {'; '.join(changes)} (--overwrite makes it anew)"
        )


def _old_records(out: Path, manifest: Manifest) -> Iterator[tuple[object, ...]]:
    for row in listing.read(out):
        yield row["key"], row["class"], row["split"], row["group"]
    for skipped in manifest.source.get("skipped", []):
        yield skipped["key"], "", "", ""


def _old_files(
    out: Path, manifest: Manifest, spaces: dict[str, Space]
) -> Iterator[tuple[object, ...]]:
    for row in listing.read(out):
        known = [row[f"source_{column}"] for column in ("bytes", "mtime_ns", "sha256")]
        yield "", row["key"], int(known[0]), int(known[1]), known[2]
        for name in spaces:
            path, size, mtime, digest = (
                row[f"mask_{name}_{column}"] for column in listing.MASK_COLUMNS
            )
            yield name, path, int(size), int(mtime), digest
    for skipped in manifest.source.get("skipped", []):
        yield "", skipped["key"], skipped["bytes"], skipped["mtime_ns"], skipped["sha256"]


def _changed_files(
    catalogue: Catalogue, src: Path, spaces: dict[str, Space]
) -> Iterator[tuple[str]]:
    query = (
        "SELECT n.space, n.path, n.bytes = o.bytes, o.sha256 FROM new_files AS n "
        "JOIN old_files AS o ON o.space = n.space AND o.path = n.path "
        "WHERE n.bytes != o.bytes OR n.mtime != o.mtime"
    )
    for space, path, same_size, digest in catalogue.rows(query):
        folder = spaces[space].folder if space else src
        if not same_size or sha256_file(folder / path) != digest:
            yield (path,)
