"""What is to be predicted: pictures, folders of them, scenes, lists, addresses in object storage.

The list is kept in a temporary database on the disk, so that memory does not grow with it.
"""

import hashlib
import posixpath
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from tools.common.command_line import refused
from tools.common.picture_files import EXTENSIONS, Survey, check_name, kind_of, pictures
from tools.predict.places import location_of, status_of
from train.errors import UserError
from train.storage.address import is_remote
from train.storage.settings import retry_without_config
from train.storage.stores import Store, open_store, read_small

_SHOWN = 5
_TABLES = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-8000;
CREATE TABLE inputs (id INTEGER PRIMARY KEY, file TEXT UNIQUE, stem TEXT UNIQUE, root TEXT,
    name TEXT, scene INTEGER, mark TEXT);
CREATE TABLE found (name TEXT PRIMARY KEY, mark TEXT) WITHOUT ROWID;
"""
_ROWS = "SELECT file, stem, root, name FROM inputs WHERE scene = ? ORDER BY id LIMIT ? OFFSET ?"


class Source(NamedTuple):
    """One picture or scene.

    Attributes:
        file: What outputs call it: its path or address, as the user has given it.
        stem: What files made of it are called: a relative path without an ending, its own.
        root: The folder or address that was given.
        name: Its name there.
    """

    file: str
    stem: str
    root: str
    name: str

    def read(self) -> bytes:
        """Return the content of the file.

        Raises:
            OSError: It cannot be read.
            UserError: It is in object storage, and cannot be read.
            StorageError: The store does not answer.
        """
        if not is_remote(self.root):
            return Path(self.root, self.name).read_bytes()
        store = open_store(self.root)
        if self.file == self.root:
            store.files()  # it learns that the address is that of a file
        return retry_without_config().call(self.file, partial(read_small, store, self.name))

    @contextmanager
    def fetched(self, folder: Path) -> Iterator[Path]:
        """Give the file on this disk: one in object storage is in the folder for a while."""
        if not is_remote(self.root):
            yield Path(self.root, self.name)
            return
        path = folder / posixpath.basename(self.name)
        path.write_bytes(self.read())
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


class Inputs:
    """The pictures and scenes of a command, in their order: as given, in folders by name.

    Args:
        is_scene: Tells of a file whether it is a scene, from its name and, where it is on this
            disk, its path.

    Raises:
        UserError: Something is not there or cannot be read, or a folder holds no picture.
    """

    def __init__(self, is_scene: Callable[[str, Path | None], bool]) -> None:
        self._is_scene = is_scene
        self._others: Counter[str] = Counter()
        # Without a name, it is a file of SQLite's that vanishes with the connection.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_TABLES)

    def __enter__(self) -> "Inputs":
        """Return this."""
        return self

    def __exit__(self, *unused: object) -> None:
        """Remove the list."""
        self._database.close()

    def add(self, places: Iterable[str]) -> None:
        """Add what is at some paths or addresses."""
        for place in map(location_of, places):
            if is_remote(place):
                self._add_remote(place)
            elif Path(place).is_dir():
                self._add_folder(place)
            else:
                self._add_file(Path(place))

    def add_list(self, path: Path) -> None:
        """Add what a text file names, a path or an address in every line."""
        before = self.count(False) + self.count(True)
        with refused(path, "cannot be read"):
            try:
                with path.open(encoding="utf-8-sig") as file:
                    self.add(line for text in file if (line := text.strip()))
            except UnicodeDecodeError:
                raise UserError(
                    f"{path}: is no text in UTF-8: --list takes paths, one a line"
                ) from None
        if self.count(False) + self.count(True) == before:
            raise UserError(f"{path}: names nothing")

    def left_out(self) -> str:
        """Return what folders hold besides, such as "2 txt, 1 gif"; empty if there is nothing."""
        texts = [f"{n:,} {kind}" for kind, n in self._others.most_common(_SHOWN)]
        if rest := self._others.total() - sum(n for _, n in self._others.most_common(_SHOWN)):
            texts.append(f"{rest:,} others")
        return ", ".join(texts)

    def count(self, scenes: bool) -> int:
        """Return the number of scenes, or else of pictures."""
        query = "SELECT count(*) FROM inputs WHERE scene = ?"
        return int(self._database.execute(query, (scenes,)).fetchone()[0])

    def pictures(self, first: int, most: int) -> list[Source]:
        """Return some pictures, by their numbers."""
        return [Source(*row) for row in self._database.execute(_ROWS, (False, most, first))]

    def scenes(self) -> list[Source]:
        """Return all scenes."""
        return [Source(*row) for row in self._database.execute(_ROWS, (True, -1, 0))]

    def digest(self) -> str:
        """Return a digest of names, sizes and times of change of them all."""
        digest = hashlib.sha256()
        for row in self._database.execute("SELECT file, scene, mark FROM inputs ORDER BY id"):
            digest.update(repr(row).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _add_folder(self, place: str) -> None:
        survey = Survey()
        found = (
            (key, f"{s.st_size} {s.st_mtime_ns}")
            for key, s in pictures(Path(place), survey=survey, unreadable_too=True)
        )
        taken = self._take(place, found)
        self._others += survey.others
        if not taken:
            others = ", ".join(f"{n} {kind}" for kind, n in survey.others.most_common(3))
            raise UserError(
                f"{place}: no pictures in this folder ({', '.join(EXTENSIONS)})"
                + (f"; what is there: {others}" if others else "")
            )

    def _add_file(self, path: Path) -> None:
        status = status_of(path)
        check_name(path.parent, path.name)
        self._insert(
            str(path), path.name, str(path.parent), f"{status.st_size} {status.st_mtime_ns}"
        )

    def _add_remote(self, place: str) -> None:
        store: Store = open_store(place)
        files = retry_without_config().call(place, store.files)
        marks = {name: f"{file.size} {file.tag or file.modified}" for name, file in files.items()}
        if len(marks) == 1 and place.endswith(f"/{(name := next(iter(marks)))}"):
            self._insert(place, name, place, marks[name])
            return
        named = {n: mark for n, mark in marks.items() if n.lower().endswith(EXTENSIONS)}
        self._others.update(kind_of(n) for n in marks.keys() - named.keys())
        if not self._take(place, named.items()):
            what = f" ({len(marks)} other files)" if marks else ": nothing is there"
            raise UserError(f"{place}: no pictures at this address{what}")

    def _take(self, place: str, found: Iterable[tuple[str, str]]) -> int:
        """Add what was found in a folder, by name; return how many there are."""
        self._run("DELETE FROM found")
        self._run("BEGIN")
        self._database.executemany("INSERT INTO found VALUES (?, ?)", found)
        self._run("COMMIT")
        total = 0
        with closing(self._run("SELECT name, mark FROM found ORDER BY name")) as rows:
            for name, mark in rows:
                self._insert(f"{place.rstrip('/')}/{name}", name, place, mark)
                total += 1
        return total

    def _insert(self, file: str, name: str, root: str, mark: str) -> None:
        """Add a picture or scene, unless it is there."""
        if self._run("SELECT 1 FROM inputs WHERE file = ?", file).fetchone():
            return
        scene = self._is_scene(name, None if is_remote(root) else Path(file))
        for stem in _stems(name, file):
            if not self._run("SELECT 1 FROM inputs WHERE stem = ?", stem).fetchone():
                self._run(
                    "INSERT INTO inputs VALUES (NULL, ?, ?, ?, ?, ?, ?)",
                    *(file, stem, root, name, scene, mark),
                )
                return

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self._database.execute(statement, values)


def _stems(name: str, file: str) -> Iterator[str]:
    """Yield names for what is made of a file, the plainest first; none leads out of a folder."""
    short, whole = ("/".join(filter(_is_plain, text.split("/"))) for text in (name, file))
    yield posixpath.splitext(short)[0]
    yield short
    yield whole
    yield from (f"{whole}_{number}" for number in count(2))


def _is_plain(part: str) -> bool:
    return part not in ("", ".", "..", "s3:", "obs:")
