"""Digests of files: those that are known before a copy, and those that were found right before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.files import replace_file

# What a file of this name says of the files beside it is true only once they are there: the
# manifest of a data set, the digests of a checkpoint, the end of a run. So they are copied last.
MANIFEST, STATE, SUMMARY = "manifest.json", "state.json", "summary.json"
VOUCHERS = frozenset({MANIFEST, STATE, SUMMARY})

_PIECE = 2**20


@dataclass(frozen=True)
class Known:
    """What is known of a file before it is there.

    Attributes:
        sha256: digest in hexadecimal.
        bytes: its size, None if that is not known.
    """

    sha256: str
    bytes: int | None = None


def digest_of(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def vouched_for(name: str, content: bytes) -> dict[str, Known]:
    """What a manifest.json or state.json says of other files; empty if it is none of ours.

    Args:
        name: its name, whose folder the other names get.
        content: what it holds.
    """
    folder, _, kind = name.rpartition("/")
    try:
        data = json.loads(content)
        found = dict(_shards(data) if kind == MANIFEST else _checkpoint(data))
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {f"{folder}/{file}" if folder else file: known for file, known in found.items()}


def _shards(manifest: dict[str, Any]) -> Iterator[tuple[str, Known]]:
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            yield shard["file"], Known(shard["sha256"], shard["bytes"])
            yield f"{shard['file']}.db", Known(shard["index_sha256"], shard["index_bytes"])
    if listing := manifest.get("listing"):
        yield "records.csv", Known(listing["sha256"], listing["bytes"])


def _checkpoint(state: dict[str, Any]) -> Iterator[tuple[str, Known]]:
    for file, sha256 in state["files"].items():
        yield file, Known(sha256)


class Verified:
    """Remembers which files had which digest, so that they need not be read again.

    A file counts as the one remembered only while size, time of change and inode are the same.

    Args:
        path: where to keep it beyond this process, None for nowhere.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._found: dict[str, list[Any]] = {}
        if path is not None:
            try:
                self._found = dict(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):  # then every file is read again
                self._found = {}

    def is_right(self, path: Path, sha256: str) -> bool:
        """Whether a file is there and has the digest."""
        try:
            stamp = _stamp(path)
            if self._found.get(str(path)) != [*stamp, sha256]:
                if digest_of(path) != sha256 or _stamp(path) != stamp:
                    return False
                self._found[str(path)] = [*stamp, sha256]
            return True
        except OSError:
            return False

    def add(self, path: Path, sha256: str) -> None:
        """Remembers a file that was found right."""
        self._found[str(path)] = [*_stamp(path), sha256]

    def save(self) -> None:
        """Keeps what was found."""
        if self._path is not None:
            replace_file(self._path, json.dumps(self._found).encode())


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino
