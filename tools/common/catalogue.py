"""All that is known of the pictures while a data set is made, in a temporary SQLite database.

A million pictures as Python objects would take gigabytes; here they take disk. Tables:

files     the pictures in the source folder, in any order
found     those of them that are taken, or what stands in the table
masks     the masks of those, by label space
stems     while masks are sought in a folder: the pictures, by path without extension
mask_files  the masks there, likewise
samples   the same as found, numbered in the order of their keys; everything else refers to the id
pictures  the samples that could be decoded: where their bytes are, sums, digests
skipped   the others, with the reason
owners    names of the data sets by number; 0 is the one that is being made
prints    what looks the same is searched among these (see duplicates/pairs.py)
thumbs    thumbnails of prints
pairs     what was found to look the same; the view named_pairs has owners, splits and keys too
"""

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What SQLite says of the disk.
_DISK_ERRORS = {"database or disk is full": errno.ENOSPC, "disk I/O error": errno.EIO}
# Lost with the process anyway, so nothing is flushed or journalled.
_SETTINGS = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=FILE; PRAGMA cache_size=-8000;
"""
_TABLES = """
CREATE TABLE found (key TEXT PRIMARY KEY, class TEXT, split TEXT, grp TEXT, line INTEGER,
    bytes INTEGER, mtime INTEGER) WITHOUT ROWID;
CREATE TABLE files (key TEXT PRIMARY KEY, bytes INTEGER, mtime INTEGER) WITHOUT ROWID;
CREATE TABLE masks (space TEXT, key TEXT, path TEXT, bytes INTEGER, mtime INTEGER,
    PRIMARY KEY (space, key), UNIQUE (space, path)) WITHOUT ROWID;
CREATE TABLE samples (id INTEGER PRIMARY KEY, key TEXT, class TEXT, split TEXT, grp TEXT,
    bytes INTEGER, mtime INTEGER);
CREATE TABLE pictures (id INTEGER PRIMARY KEY, start INTEGER, lengths TEXT, width INTEGER,
    height INTEGER, sums TEXT, counts TEXT, sha256 TEXT, pixels TEXT, hash INTEGER,
    spread TEXT, remarks TEXT);
CREATE TABLE stems (stem TEXT PRIMARY KEY, key TEXT) WITHOUT ROWID;
CREATE TABLE mask_files (stem TEXT PRIMARY KEY, path TEXT, bytes INTEGER, mtime INTEGER)
    WITHOUT ROWID;
CREATE TABLE skipped (id INTEGER PRIMARY KEY, reason TEXT, sha256 TEXT);
CREATE TABLE owners (owner INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE prints (id INTEGER PRIMARY KEY, owner INTEGER, split TEXT, key TEXT, record INTEGER,
    pixels TEXT, hash INTEGER);
CREATE TABLE thumbs (id INTEGER PRIMARY KEY, thumb BLOB);
CREATE TABLE pairs (one INTEGER, other INTEGER, distance INTEGER);
"""
# A print of the data set that is being made has its split in "samples".
_VIEWS = """
CREATE VIEW looks AS SELECT prints.id AS id, owner, name, prints.key AS key,
    coalesce(samples.split, prints.split) AS split FROM prints JOIN owners USING (owner)
    LEFT JOIN samples ON owner = 0 AND samples.id = prints.id;
CREATE VIEW named_pairs AS SELECT distance, a.owner != b.owner AS elsewhere,
    a.split != b.split AS across, a.name AS name, a.split AS split, a.key AS key,
    b.name AS other_name, b.split AS other_split, b.key AS other_key
    FROM pairs JOIN looks AS a ON a.id = one JOIN looks AS b ON b.id = other;
"""


class Catalogue:
    """The database, and beside it files of what is too large for it.

    Attributes:
        folder: The temporary folder that holds it all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._database = sqlite3.connect(folder / "catalogue.sqlite", isolation_level=None)
        self.script(_SETTINGS + _TABLES + _VIEWS)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """Return the rows of a query, one at a time."""
        with self._without_room():
            return iter(self._database.execute(query, values))

    def run(self, statement: str, *values: object) -> None:
        """Run a statement that gives no rows."""
        with self._without_room():
            self._database.execute(statement, values)

    def script(self, statements: str) -> None:
        """Run several statements."""
        with self._without_room():
            self._database.executescript(statements)

    def value(self, query: str, *values: object) -> Any:
        """Return the only value of a query's only row."""
        return next(self.rows(query, *values))[0]

    def insert(self, table: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Add rows to a table as they come."""
        columns = self.value("SELECT count(*) FROM pragma_table_info(?)", table)
        self.update(f"INSERT INTO {table} VALUES ({','.join('?' * columns)})", rows)

    def insert_unique(self, table: str, rows: Iterable[tuple[Any, ...]]) -> tuple[Any, ...] | None:
        """Add rows as they come, up to the first whose key is there already; return that one."""
        latest: tuple[Any, ...] | None = None

        def noted() -> Iterator[tuple[Any, ...]]:
            nonlocal latest
            for row in rows:
                latest = row
                yield row

        try:
            self.insert(table, noted())
        except sqlite3.IntegrityError:
            return latest
        return None

    def update(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Run a statement for every row of values."""
        self._database.execute("BEGIN")
        with self._without_room():
            try:
                self._database.executemany(statement, rows)
            finally:
                # SQLite itself ends one for which there is no room.
                if self._database.in_transaction:
                    self._database.execute("COMMIT")

    @contextmanager
    def _without_room(self) -> Iterator[None]:
        """Raise what a full disk raises elsewhere, too."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if str(error) not in _DISK_ERRORS:
                raise
            number = _DISK_ERRORS[str(error)]
            raise OSError(number, os.strerror(number), str(self.folder)) from None
