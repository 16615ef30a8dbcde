"""All that is known of the pictures while a data set is made, in a temporary SQLite database.

A million pictures as Python objects would take gigabytes; here they take disk. Tables:

found     what lies in the source folder or stands in the table, in any order
masks     masks found, by label space and path without extension
samples   the same as found, numbered in the order of their keys; everything else refers to the id
pictures  the samples that could be decoded: where their bytes are, sums, digests
skipped   the others, with the reason
prints    what looks the same is searched among these (see tools.prepare.duplicates)
pairs     what was found to look the same
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_TABLES = """
CREATE TABLE found (key TEXT PRIMARY KEY, class TEXT, split TEXT, grp TEXT, line INTEGER,
    bytes INTEGER, mtime INTEGER) WITHOUT ROWID;
CREATE TABLE masks (space TEXT, stem TEXT, path TEXT, bytes INTEGER, mtime INTEGER,
    PRIMARY KEY (space, stem)) WITHOUT ROWID;
CREATE TABLE samples (id INTEGER PRIMARY KEY, key TEXT, class TEXT, split TEXT, grp TEXT,
    bytes INTEGER, mtime INTEGER);
CREATE TABLE pictures (id INTEGER PRIMARY KEY, start INTEGER, lengths TEXT, width INTEGER,
    height INTEGER, sums TEXT, counts TEXT, crc INTEGER, sha256 TEXT, pixels TEXT, hash INTEGER);
CREATE TABLE skipped (id INTEGER PRIMARY KEY, reason TEXT, sha256 TEXT);
CREATE TABLE prints (id INTEGER PRIMARY KEY, owner INTEGER, split TEXT, key TEXT, record INTEGER,
    pixels TEXT, hash INTEGER);
CREATE TABLE pairs (one INTEGER, other INTEGER, distance INTEGER);
"""


class Catalogue:
    """The database, and beside it files of what is too large for it.

    Attributes:
        folder: The temporary folder that holds it all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._database = sqlite3.connect(folder / "catalogue.sqlite", isolation_level=None)
        # Lost with the process anyway, so nothing is flushed or journalled.
        for setting in (
            "journal_mode=OFF",
            "synchronous=OFF",
            "temp_store=FILE",
            "cache_size=-8000",
        ):
            self._database.execute(f"PRAGMA {setting}")
        self._database.executescript(_TABLES)

    def close(self) -> None:
        """Closes the database."""
        self._database.close()

    def rows(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, one at a time."""
        return iter(self._database.execute(query, values))

    def run(self, statement: str, *values: object) -> None:
        """Runs a statement that gives no rows."""
        self._database.execute(statement, values)

    def script(self, statements: str) -> None:
        """Runs several statements."""
        self._database.executescript(statements)

    def value(self, query: str, *values: object) -> Any:
        """The only value of a query's only row."""
        return next(self.rows(query, *values))[0]

    def insert(self, table: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Adds rows as they come.

        Raises:
            sqlite3.IntegrityError: A key is there already.
        """
        self._database.execute("BEGIN")
        try:
            for row in rows:
                marks = ",".join("?" * len(row))
                self._database.execute(f"INSERT INTO {table} VALUES ({marks})", row)
        finally:
            self._database.execute("COMMIT")

    def update(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Runs a statement for every row of values."""
        self._database.execute("BEGIN")
        try:
            self._database.executemany(statement, rows)
        finally:
            self._database.execute("COMMIT")
