"""Brings the data sets of a run to this node before training: one process copies, the others wait.

Whoever comes first copies. The others take what it made, or fail as it failed; if it dies, the
next one takes over and goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from train.errors import UserError
from train.storage.cache import Entry, Note, Room
from train.storage.copier import Copier, Plan
from train.storage.digests import MANIFEST, Verified
from train.storage.locks import Lock, waiting
from train.storage.progress import Progress
from train.storage.retry import StorageError
from train.storage.settings import Limits
from train.storage.stores import Folder, open_store


class Staging:
    """Stages data sets for this process, and keeps them in the cache until it releases them.

    Args:
        variables: how buckets are reached, see :mod:`train.storage.access`.
        limits: of the cache and of waiting.
        say: told a line now and then.
        alive: called often, so that a watch sees that this process does something.
    """

    def __init__(
        self,
        variables: Mapping[str, str],
        limits: Limits,
        say: Callable[[str], None],
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._variables = variables
        self._limits = limits
        self._say = say
        self._alive = alive
        self._held: list[Lock] = []

    def stage(self, address: str, folder: Path) -> None:
        """Makes a folder of the cache hold the data set at an address, whole and verified.

        Raises:
            UserError: the data set, the store or the cache is not as it has to be.
            StorageError: it could not be copied, or another process took too long.
        """
        asked = time.time()
        entry = Entry(folder)
        try:
            with waiting(entry.lock(), self._patience(address, asked)):
                note = entry.read()
                # A copy that was finished before this process asked does not count: the data set
                # may have changed. To make sure costs a listing and its manifest.
                if note is None or note.address != address or note.finished < asked:
                    note = self._copy(address, entry)
                if note.error is not None:
                    raise UserError(note.error) if note.mistake else StorageError(note.error)
                self._hold(entry)
        except OSError as error:
            raise UserError(
                f"storage.cache: {error.filename or folder}: {error.strerror}"
            ) from None

    def release(self) -> None:
        """Lets others remove the data sets."""
        while self._held:
            self._held.pop().free()

    def _patience(self, address: str, asked: float) -> Callable[[float], None]:
        told = False

        def wait(seconds: float) -> None:
            nonlocal told
            if not told:
                self._say(f"waiting for another process of this node, which copies {address}")
                told = True
            if time.time() > asked + self._limits.wait_seconds:
                raise StorageError(
                    f"{address}: another process of this node was still copying it after "
                    f"{self._limits.wait_seconds:g} s (storage.wait_seconds)"
                )
            self._alive()
            time.sleep(seconds)

        return wait

    def _hold(self, entry: Entry) -> None:
        """Keeps others from removing or changing the files while this process lives."""
        use = entry.use()
        use.take(shared=True)  # who holds it alone holds the other lock as well
        use.touch()
        self._held.append(use)

    def _copy(self, address: str, entry: Entry) -> Note:
        """Copies, and notes for the processes that wait how it ended."""
        note = Note(address, (entry.read() or Note(address)).bytes)
        try:
            note = Note(address, self._bring(address, entry))
        except (UserError, StorageError) as error:
            mistake = isinstance(error, UserError)
            note = replace(note, error=str(error), mistake=mistake)
        note = replace(note, finished=time.time())
        entry.write(note)
        return note

    def _bring(self, address: str, entry: Entry) -> int:
        """Copies what is missing; the size of the data set in bytes."""
        progress = Progress(self._say, self._alive)
        store, target = open_store(address, self._variables), Folder(entry.folder)
        copier = Copier(
            store, target, self._limits.tries, progress.move, Verified(entry.verified), True
        )
        plan = _plan(copier)
        size = sum(plan.found[name].size for name in plan.known)
        if not plan.files:
            self._remove_others(entry.folder, plan)
            self._say(f"{address} is in the cache: {entry.folder}")
            copier.remember()
            return size
        use = entry.use()
        try:
            if not use.take():
                raise UserError(
                    f"{address}: has changed, while another job of this node uses the copy in "
                    f"{entry.folder}: wait for its end, or choose another storage.cache"
                )
            room = Room(entry.folder.parent, self._limits.cache_size)
            for removed in room.make(entry, Note(address, size), plan.bytes):
                self._say(f"{removed} was removed from the cache to make room")
            self._say(f"copying {address} to {entry.folder}: {plan.bytes / 1e6:,.1f} MB")
            progress.begin(plan.bytes)
            # From here to its end the folder holds no whole data set.
            target.remove(MANIFEST)
            self._remove_others(entry.folder, plan)
            plan.files.setdefault(MANIFEST, plan.found[MANIFEST])
            copier.run(plan)
        finally:
            use.free()
        return size

    def _remove_others(self, folder: Path, plan: Plan) -> None:
        """Removes what is no part of the data set any more, but not what was begun of it."""
        if not folder.is_dir():
            return
        for path in folder.iterdir():
            begun = any(path.name.startswith(f".{name}.") for name in plan.files)
            if path.name not in plan.known and not begun:
                path.unlink()


def _plan(copier: Copier) -> Plan:
    """What is to be copied of a data set: the files that its manifest lists, and the manifest."""
    address = copier.source.address
    found = copier.listing()
    if MANIFEST not in found:
        what = f"no {MANIFEST} in it, so not a prepared data set" if found else "there is nothing"
        raise UserError(f"{address}: {what}")
    known = copier.known({MANIFEST: found[MANIFEST]})
    if len(known) == 1:
        raise UserError(f"{address}/{MANIFEST}: is not the manifest of a prepared data set")
    for name, expected in known.items():
        if name not in found:
            raise UserError(f"{address}/{name}: missing, but listed in {MANIFEST}")
        if expected.bytes not in (None, found[name].size):
            raise UserError(
                f"{address}/{name}: damaged: {found[name].size} bytes, {MANIFEST} says "
                f"{expected.bytes}"
            )
    return copier.compare({name: found[name] for name in known}, known)
