"""Compiled graphs on disk: compiling one takes seconds, reading it back a fraction of one.

MindSpore can keep the graphs of a process (``MS_COMPILER_CACHE_ENABLE``), but it numbers them in
the order in which they are compiled, in a folder that it remembers, and looks only whether the main
script and what that imports have changed. A run with other settings, or one that begins with
another graph, would get a graph that is not its own. So MindSpore gets a folder that is there only
while a graph is compiled, and finds in it, under the next number, the graph whose key is a digest
of all that it can depend on, or nothing.
"""

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from train.files import replace_file, replacement, sha256_file
from train.temporary import lasting_folder

VARIABLE = "MTLN_GRAPH_CACHE"

# MindSpore's own switch, its folder, and to take what is there without its own comparison.
_ENABLE, _FOLDER = "MS_COMPILER_CACHE_ENABLE", "MS_COMPILER_CACHE_PATH"
_FORCE = "MS_DEV_FORCE_USE_COMPILE_CACHE"

# Variables of MindSpore that say how and where ranks are started, and so differ from job to job.
_OF_A_START = (
    *("MS_ROLE", "MS_NODE", "MS_SCHED", "MS_WORKER", "MS_TOPO", "MS_CPU_COMM", "MS_SUBMODULE_LOG"),
    *(_ENABLE, _FOLDER, _FORCE),
)

# About 1 MB each. Beyond this number, the least recently used are removed.
_MOST_GRAPHS = 200
_MOST_BYTES = 2**30
# Of key and signature. In a folder that the user has named, other files are not touched.
_GRAPH = re.compile(r"[0-9a-f]{32}-[0-9a-f]{32}")

# Name and size of the file with which the graphs in a folder are signed.
_SECRET, _SECRET_BYTES = "secret", 32


def folder_of(environment: Mapping[str, str]) -> Path | None:
    """Return the folder of graphs: the variable's ("0": none), or one in the user's cache."""
    named = environment.get(VARIABLE)
    if named == "0" or _ENABLE in environment:  # or the user has arranged it otherwise
        return None
    if named:
        return Path(named)
    cache = environment.get("XDG_CACHE_HOME")
    return Path(cache or "~/.cache").expanduser() / "mtln" / "graphs"


def settings_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which a user can change what MindSpore makes of a network."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith("MS_") and not name.startswith(_OF_A_START)
    }


class GraphCache:
    """The graphs of one run.

    Args:
        folder: Where graphs are kept; None for nowhere.
        identity: All that a graph can depend on beside its name, as plain values.
        rank: This rank, as MindSpore's own engine counts; 0 where another one connects the ranks.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, Any], rank: int) -> None:
        self._store = None if folder is None else _Store(folder)
        self._identity = dict(identity)
        self._rank = rank

    @contextlib.contextmanager
    def compiling(self, *name: object) -> Iterator[None]:
        """Compile exactly one graph in this context, or read it from the cache.

        Args:
            name: What tells the graphs of the run apart.
        """
        if self._store is None:
            yield
            return
        key = _digest(json.dumps([self._identity, name], default=str).encode())
        known = self._store.read(key)
        with _compiler.next_graph(self._rank) as file:
            if known is not None and file is not None:
                _put(file, known)
            yield
            if file is not None and (made := _compiler.made(file, known is not None)):
                self._store.write(key, made)


class _Compiler:
    """MindSpore's own cache in this process."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._graphs = 0

    @contextlib.contextmanager
    def next_graph(self, rank: int) -> Iterator[Path | None]:
        """Yield the file from which MindSpore reads the next graph, or to which it writes it.

        A graph is a program. So the folder is in one that this process has made and keeps, with
        access for nobody else; where others could put one in its place, there is no cache (None).
        """
        try:
            if self._folder is None:  # MindSpore looks at the variable once
                self._folder = lasting_folder() / "graphs"
            if not _is_safe(self._folder.parent):
                raise OSError
            self._folder.mkdir(mode=0o700)
        except OSError:
            yield None
            return
        os.environ.update({_FOLDER: str(self._folder), _FORCE: "1", _ENABLE: "1"})
        try:
            with _no_search_for_sources():
                role = os.environ.get("MS_ROLE", "")
                name = f"rank_{rank}/graph_cache/{role}compile_cache_{self._graphs}.mindir"
                yield self._folder / name
        finally:
            del os.environ[_ENABLE]
            shutil.rmtree(self._folder, ignore_errors=True)

    def made(self, file: Path, was_known: bool) -> bytes | None:
        """Return the graph that MindSpore has written, unless it was to take the one in ``file``.

        It may have another number than was expected, for MindSpore counts graphs that it failed to
        compile, too. So what it has written tells which number comes next.
        """
        numbered = re.compile(re.escape(file.stem.rpartition("_")[0]) + r"_(\d+)")
        written = {
            int(match[1]): path
            for path in file.parent.glob("*.mindir")
            if (match := numbered.fullmatch(path.stem))
        }
        if was_known and len(written) > 1:  # it was not read, as MindSpore expected another one
            written.pop(self._graphs, None)
        if not written:
            return None
        last = max(written)
        self._graphs = last + 1
        with contextlib.suppress(OSError):
            return None if was_known else _content_of(written[last])
        return None


_compiler = _Compiler()


@contextlib.contextmanager
def _no_search_for_sources() -> Iterator[None]:
    """Keep MindSpore from reading the main script and all that it imports, of which it needs none.

    There is no script with ``python -c``. And in its search it makes modules anew: with ``import
    sys`` in the script, the standard streams are those of the first moment of the process again.
    """
    from mindspore.graph import api  # not before a network is compiled: it takes seconds

    own = api._get_compile_cache_dep_files
    api._get_compile_cache_dep_files = lambda: [__file__]
    try:
        yield
    finally:
        api._get_compile_cache_dep_files = own


def _put(file: Path, graph: bytes) -> None:
    """Write a graph for MindSpore to read; where there is no room for it, it compiles one."""
    try:
        file.parent.mkdir(parents=True)
        file.write_bytes(graph)
    except OSError:
        with contextlib.suppress(OSError):
            file.unlink()


def _is_safe(folder: Path) -> bool:
    """Return whether nobody else can put something in the place of what this user has in a folder.

    Whoever may write to a folder can rename what is in it, and its owner in any case; where it is
    sticky, as ``/tmp`` is, only owners can. What lists of access allow shows in the group's bits.
    """
    folder = folder.resolve()
    for status in (place.stat() for place in (folder, *folder.parents)):
        others_write = status.st_mode & (stat.S_IWOTH | stat.S_IWGRP)
        if status.st_uid not in (0, os.getuid()) or (
            others_write and not status.st_mode & stat.S_ISVTX
        ):
            return False
    return True


class _Store:
    """A folder of graphs: files ``<key>-<signature of key and content>``.

    What is in a folder that others can write to is not trusted: graphs are signed with a secret of
    this user's, which is kept beside them.

    It only saves time. So it never fails: what cannot be read or written is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str) -> bytes | None:
        """Return a graph; None if it is not there, damaged, or not of this user's making."""
        with contextlib.suppress(OSError):
            secret = _secret_in(self._folder)
            for path in self._folder.glob(f"{key}-*"):
                content = _content_of(path)
                if secret and hmac.compare_digest(path.name, _signed(key, content, secret)):
                    os.utime(path, follow_symlinks=False)
                    return content
                path.unlink()
        return None

    def write(self, key: str, content: bytes) -> None:
        """Keep a graph."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            secret = _secret_in(self._folder) or _new_secret_in(self._folder)
            replace_file(self._folder / _signed(key, content, secret), content)
            graphs = [path for path in self._folder.iterdir() if _GRAPH.fullmatch(path.name)]
            graphs.sort(key=lambda path: path.lstat().st_mtime)
            for path in graphs[:-_MOST_GRAPHS]:
                path.unlink()


def _signed(key: str, content: bytes, secret: bytes) -> str:
    signature = hmac.new(secret, f"{key}\0".encode() + content, "sha256")
    return f"{key}-{signature.hexdigest()[:32]}"


def _content_of(path: Path) -> bytes:
    """Return what is in a plain file; of a pipe, or through a link, nothing is read."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            return b""
        return file.read(_MOST_BYTES)


def _secret_in(folder: Path) -> bytes | None:
    """Return the secret in a folder, if it is there, this user's, and nobody else's to read."""
    try:
        handle = os.open(folder / _SECRET, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        own = status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) == 0o600
        # A hard link could be to another file of this user's, whose content is known.
        if not own or status.st_nlink != 1 or status.st_size != _SECRET_BYTES:
            return None
        return file.read()


def _new_secret_in(folder: Path) -> bytes:
    """Make a secret in the place of one that is none; of two made at once the last one counts."""
    secret = secrets.token_bytes(_SECRET_BYTES)
    with replacement(folder / _SECRET) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secret)
    return secret


def digest_of_sources(package: Path) -> str:
    """Return the digest of all source files of a package."""
    files = sorted(package.rglob("*.py"))
    return _digest("".join(f"{f.relative_to(package)} {sha256_file(f)}\n" for f in files).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
