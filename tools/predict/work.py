"""The folder in which processes work together, and how it becomes the output folder.

It lies beside the output folder and is named after the job, all that the answers depend on:

DIR/../.DIR.JOB.parts/
    chunks/000012     what was found out about the pictures of chunk 12, whole or not there
    shares/00000_of_00003   this process has done its share of the scenes
    unreadable/2_00000_of_00003   why scene 2 cannot be read, as this process has found out
    out/              what becomes DIR: masks, annotated pictures, scenes, tables

Whatever is there is whole and right for this job, whoever has made it: so a job that was killed
goes on, with any number of processes, and one that runs again gives the same bytes. Processes need
not talk: who finds after its share that all is there puts it together, under a lock.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.common.command_line import refused
from tools.common.output_folder import put_in_place
from tools.predict.share import Share
from train.files import publish, read_json, replace_file

ABOUT = "predict.json"
FORMAT = "mtln-predictions"


def about(out: Path) -> dict[str, Any] | None:
    """Return what an output folder says of itself; None if it is none of this tool's."""
    with contextlib.suppress(OSError, ValueError):
        found = read_json(out / ABOUT)
        if isinstance(found, dict) and found.get("format") == FORMAT:
            return found
    return None


class Work:
    """The folder of a job.

    Args:
        out: The output folder.
        job: Digest of all that the answers depend on.
        share: This process's part.
        chunks: Number of chunks.
        has_scenes: Whether there are scenes too.
    """

    def __init__(self, out: Path, job: str, share: Share, chunks: int, has_scenes: bool) -> None:
        self._target, self.job, self._share = out, job, share
        self.chunks, self._has_scenes = chunks, has_scenes
        self.folder = out.with_name(f".{out.name}.{job[:16]}.parts")
        self.out = self.folder / "out"

    def open(self) -> int:
        """Make the folder; return how many chunks are done already."""
        with refused(self._target, "cannot be made"):
            for name in ("chunks", "shares", "unreadable", "out"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        return sum(map(self.has, range(self.chunks)))

    def has(self, chunk: int) -> bool:
        """Return whether a chunk is done."""
        return self.chunk(chunk).exists()

    def chunk(self, number: int) -> Path:
        """Return the file of a chunk."""
        return self.folder / "chunks" / f"{number:06d}"

    def finish_chunk(self, number: int, lines: list[str]) -> None:
        """Note a chunk as done."""
        replace_file(self.chunk(number), "".join(lines).encode())

    def scene(self, stem: str) -> Path:
        """Return the folder of a scene's files, made or not."""
        return self.out / "scenes" / stem

    def leave_scene_out(self, number: int, reason: str) -> None:
        """Note that a scene cannot be read."""
        path = self.folder / "unreadable" / f"{number}_{self._share.name}"
        replace_file(path, reason.encode("utf-8", "backslashreplace"))

    def unreadable_scenes(self) -> dict[int, str]:
        """Return by number why scenes cannot be read, whichever process has found out."""
        found = sorted((self.folder / "unreadable").glob("[0-9]*"))
        return {int(path.name.split("_")[0]): path.read_text("utf-8") for path in found}

    def remove_scene(self, stem: str) -> None:
        """Remove the folder of a scene, and those around it, that hold nothing."""
        path = self.scene(stem)
        while path != self.out and not any(path.iterdir() if path.exists() else ()):
            with contextlib.suppress(FileNotFoundError):
                path.rmdir()
            path = path.parent

    def finish_share(self) -> None:
        """Note that this process has done its share of the scenes."""
        replace_file(self._share_file(self._share), b"")

    def save(self, name: str, write: Callable[[Path], None]) -> None:
        """Write a file of the output, whole or not at all.

        Its temporary name is always the same: what a killed process has left is overwritten.
        """
        path = self.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            write(temporary)
            publish(temporary, path)
        except OSError as error:
            error.filename = error.filename or str(self._target)
            raise

    def missing(self) -> int:
        """Return how many chunks and shares are still to come."""
        count = sum(not self.has(number) for number in range(self.chunks))
        if self._has_scenes:
            shares = [Share(rank, self._share.size) for rank in range(self._share.size)]
            count += sum(not self._share_file(share).exists() for share in shares)
        return count

    def is_published(self, with_skipped: bool) -> bool:
        """Return whether the output folder is there, and is that of this job.

        Args:
            with_skipped: Whether it may lack pictures that could not be read.
        """
        found = about(self._target) or {}
        return found.get("job") == self.job and (with_skipped or not found.get("skipped"))

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Hold the folder alone; False if another process has put it in place meanwhile."""
        try:
            handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield False
            return
        try:
            # Where there are no locks, the last step, one renaming, still tells who has done it.
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield self.out.exists()
        finally:
            os.close(handle)

    def publish(self) -> None:
        """Put the finished output folder in place, and remove the rest."""
        os.sync()
        with refused(self._target, "cannot be made"):
            old = self._target.with_name(f".{self._target.name}.{self.job[:16]}.old")
            put_in_place(self.out, self._target, old)
        self.forget()

    def forget(self) -> None:
        """Remove this folder, and those that killed jobs with other inputs have left."""
        for folder in self._target.parent.glob(f".{self._target.name}.*.parts"):
            shutil.rmtree(folder, ignore_errors=True)

    def _share_file(self, share: Share) -> Path:
        return self.folder / "shares" / share.name
