"""Digests of files: those expected of a copy, and those that were verified before."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.files import parse_json, read_json, replace_file, sha256_file

MANIFEST, STATE, SUMMARY = "manifest.json", "state.json", "summary.json"
# Files that declare those beside them complete: the manifest of a data set, the digests of a
# checkpoint, the end of a run. They are true only once the others are there, so they come last.
MARKERS = frozenset({MANIFEST, STATE, SUMMARY})

Stamp = tuple[int, int, int]
"""Size, time of the last change and inode of a file: while they are the same, so is the file."""


@dataclass(frozen=True)
class Expected:
    """What a file must be.

    Attributes:
        sha256: Digest in hexadecimal.
        bytes: Its size, None if that is not known.
    """

    sha256: str
    bytes: int | None = None


def is_marker(name: str) -> bool:
    """Return whether a file declares those beside it complete."""
    return name.rsplit("/", 1)[-1] in MARKERS


def expected_files(name: str, content: bytes) -> dict[str, Expected]:
    """Return what a manifest.json or state.json says of other files; empty if it is none of ours.

    Args:
        name: Its name, whose folder the other names get.
        content: What it holds.
    """
    folder, _, kind = name.rpartition("/")
    try:
        data = parse_json(content)
        if kind == MANIFEST:
            found = dict(_shards(data))
        else:
            found = {file: Expected(sha256) for file, sha256 in data["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {f"{folder}/{file}" if folder else file: known for file, known in found.items()}


def _shards(manifest: dict[str, Any]) -> Iterator[tuple[str, Expected]]:
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            yield shard["file"], Expected(shard["sha256"], shard["bytes"])
            yield f"{shard['file']}.db", Expected(shard["index_sha256"], shard["index_bytes"])
    if listing := manifest.get("listing"):
        yield "records.csv", Expected(listing["sha256"], listing["bytes"])


def stamp_of(path: Path) -> Stamp:
    """Return the stamp of a file."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


class Verified:
    """A record of the digests of files, so that unchanged ones need not be read again.

    Args:
        path: Where to keep it beyond this process, None for nowhere.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._found: dict[str, list[Any]] = {}
        if path is not None:
            # Without a readable record, every file is read again.
            with contextlib.suppress(OSError, ValueError, TypeError):
                self._found = dict(read_json(path))

    def matches(self, path: Path, sha256: str) -> bool:
        """Return whether a file is there and has the digest."""
        try:
            stamp = stamp_of(path)
            if self._found.get(str(path)) != [*stamp, sha256]:
                if sha256_file(path) != sha256 or stamp_of(path) != stamp:
                    return False
                self._found[str(path)] = [*stamp, sha256]
            return True
        except OSError:
            return False

    def add(self, path: Path, sha256: str) -> None:
        """Record a file that has just been verified."""
        self._found[str(path)] = [*stamp_of(path), sha256]

    def save(self) -> None:
        """Write the record for the next process."""
        if self._path is not None:
            replace_file(self._path, json.dumps(self._found).encode())
