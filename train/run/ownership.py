"""One owner per run folder: a second run in the same folder is refused as long as the first lives.

Rank 0 holds a lock of the kernel's, which ends with its process, and notes in the folder who it is.
Locks reach other machines over most shared file systems, but not over all (Lustre without the mount
option ``flock``). So the owner also touches its note every few seconds, and whoever comes from
another machine watches for a while whether it is still touched.

The launcher asks before it starts a rank; nothing here is slow to import.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from train.errors import UserError
from train.files import read_json, replace_file, told
from train.storage.locks import Lock
from train.storage.run_download import CONFIG

_LOCK, _NOTE = ".lock", ".owner"
_TOUCH_SECONDS = 5.0
# Another machine's clock is not compared with ours. Compiling may hold the owner's threads for a
# while, so this is many touches.
_WATCH_SECONDS = 60.0
# So long may somebody else look whether a lock is free.
_PROBE_SECONDS = 1.0

Note = dict[str, Any]


class Ownership:
    """A run folder that is this process's own until it is released.

    Args:
        folder: The run folder, made if need be.
        say: Told when this takes a while.
        watch_seconds: How long to watch for the owner on another machine.

    Raises:
        UserError: It is somebody else's, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        say: Callable[[str], None] = lambda text: None,
        watch_seconds: float = _WATCH_SECONDS,
    ) -> None:
        self._folder = folder
        self._released = threading.Event()
        # What this makes, the innermost first.
        self._made = [path for path in (folder, *folder.parents) if not path.exists()]
        self._is_new = not (folder / _LOCK).exists()
        try:
            self._lock = Lock(folder / _LOCK)
        except OSError as error:
            raise UserError(f"run_dir: {told(error)}") from None
        try:
            self._take(say, watch_seconds)
        except BaseException:
            self._lock.free()
            raise
        threading.Thread(target=self._touch, daemon=True, name="run folder").start()

    def require(self) -> None:
        """Check that the folder is not somebody else's by now.

        Who removes a folder removes its lock as well, and another run can begin in a new one.

        Raises:
            UserError: One has.
        """
        note = _read(self._folder / _NOTE)
        if note and note.get("token") != self._note["token"]:
            raise UserError(
                f"run_dir: {self._folder} was removed or its lock was, and {_who(note)}, has taken "
                "it: this run writes nothing there any more"
            )

    def release(self) -> None:
        """Give the folder to others; of a run that has not begun nothing is left."""
        if self._released.is_set():
            return
        self._released.set()
        note = self._folder / _NOTE
        is_ours = _read(note).get("token") == self._note["token"]
        if is_ours:
            with contextlib.suppress(OSError):  # the disk has become read-only
                note.unlink(missing_ok=True)
        if is_ours and self._is_new and not (self._folder / CONFIG).exists():
            with contextlib.suppress(OSError):  # not empty
                (self._folder / _LOCK).unlink(missing_ok=True)
                for path in self._made:
                    path.rmdir()
        self._lock.free()

    def _take(self, say: Callable[[str], None], watch_seconds: float) -> None:
        held = _try(self._lock)
        path = self._folder / _NOTE
        note = _read(path)
        if held is False:
            raise _in_use(self._folder, note)
        # A lock that is free on the machine of the owner says that it has ended.
        if note and (held is None or _machine() != note.get("machine")):
            say(f"{path} names {note.get('host')}: looking whether the run there still goes on")
            if _is_touched(path, watch_seconds):
                raise _in_use(self._folder, note)
        self._note = {
            "token": secrets.token_hex(8),
            "host": socket.gethostname(),
            "machine": _machine(),
            "pid": os.getpid(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        try:
            replace_file(path, (json.dumps(self._note) + "\n").encode())
        except OSError as error:
            raise UserError(f"run_dir: {told(error)}") from None
        if held is None:  # two that came at once: the last to write has it
            time.sleep(_PROBE_SECONDS)
            if (note := _read(path)).get("token") != self._note["token"]:
                raise _in_use(self._folder, note)

    def _touch(self) -> None:
        while not self._released.wait(_TOUCH_SECONDS):
            with contextlib.suppress(OSError):  # removed, or the disk has gone, for a while perhaps
                os.utime(self._folder / _NOTE)


def require_free(folder: Path) -> None:
    """Check that no process holds a run folder, as far as the kernel's lock tells.

    Raises:
        UserError: One does.
    """
    if not (folder / _LOCK).exists():
        return
    try:
        lock = Lock(folder / _LOCK)
    except OSError:
        return  # who writes the folder says what is wrong with it
    try:
        if lock.take(shared=True):
            return
    except OSError:  # no locks on this file system
        return
    finally:
        lock.free()
    raise _in_use(folder, _read(folder / _NOTE))


def _try(lock: Lock) -> bool | None:
    """Take a lock; False if another process holds it, None if the file system has no locks."""
    deadline = time.monotonic() + _PROBE_SECONDS
    while True:
        try:
            if lock.take():
                return True
        except OSError:
            return None
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)


def _is_touched(path: Path, seconds: float) -> bool:
    """Watch whether a note is touched, or replaced."""
    before, deadline = _stamp(path), time.monotonic() + seconds
    while before is not None and time.monotonic() < deadline:
        time.sleep(min(0.5, seconds / 10))
        if (now := _stamp(path)) != before:
            return now is not None
    return False


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        # Opened, because a network file system may answer from its memory otherwise.
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _read(path: Path) -> Note:
    try:
        note = read_json(path)
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _machine() -> str:
    """Return what tells this machine, as it was started last, from every other."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()} {boot}"


def _in_use(folder: Path, note: Note) -> UserError:
    return UserError(
        f"run_dir: {folder} is in use by {_who(note)}: wait for its end, stop it, or choose "
        "another run_dir=..."
    )


def _who(note: Note) -> str:
    if not note:
        return "another run"
    return f"process {note.get('pid')} on {note.get('host')}, since {note.get('since')}"
