"""Small made-up data sets in a bucket: bytes with a manifest, no images."""

import hashlib
import json
import random
from pathlib import Path

from tests.object_store import ObjectStore


def data_set(seed: int, shards: int = 2, size: int = 20_000) -> dict[str, bytes]:
    """The files of a data set by name."""
    rng = random.Random(seed)
    files: dict[str, bytes] = {"records.csv": rng.randbytes(100)}
    entries = []
    for number in range(shards):
        name = f"train.mindrecord{number}"
        files[name], files[f"{name}.db"] = rng.randbytes(size), rng.randbytes(size // 10)
        entries.append(
            {
                "file": name,
                "bytes": size,
                "sha256": sha256(files[name]),
                "index_bytes": size // 10,
                "index_sha256": sha256(files[f"{name}.db"]),
            }
        )
    listing = {"bytes": 100, "sha256": sha256(files["records.csv"])}
    manifest = {"splits": {"train": {"shards": entries}}, "listing": listing}
    files["manifest.json"] = json.dumps(manifest).encode()
    return files


def put(store: ObjectStore, key: str, files: dict[str, bytes]) -> str:
    """Puts them into a bucket; their address."""
    for name, content in files.items():
        store.put(f"{key}/{name}", content)
    return store.url(key)


def files_in(folder: Path) -> dict[str, bytes]:
    """All files of a folder by name, hidden ones too: nothing unfinished may be left."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
