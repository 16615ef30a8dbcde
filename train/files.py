"""Writing files so that a power cut or a kill leaves the old or the new, never half of one."""

import hashlib
import os
from pathlib import Path


def write_flushed(path: Path, content: bytes) -> None:
    """Writes a file and waits until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file beside ``path`` first and puts it into its place when it is whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    write_flushed(temporary, content)
    temporary.replace(path)


def flush_folder(folder: Path) -> None:
    """Waits until a folder's entries (new, renamed or removed files) are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
