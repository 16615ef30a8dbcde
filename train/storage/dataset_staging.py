"""Staging: the data sets of a run are copied to this node before training, by one process.

The process that comes first copies. The others wait and take what it made, or fail as it failed;
if it dies, the next one takes over and resumes the copy.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from train.errors import UserError
from train.storage.copier import Copier, Plan, Progress
from train.storage.dataset_cache import Entry, Note, make_room
from train.storage.digests import MANIFEST, Verified
from train.storage.locks import Lock, waiting
from train.storage.retry import StorageError
from train.storage.settings import Limits
from train.storage.stores import Folder, open_store


@dataclass(repr=False)  # there may be keys among the variables
class Staging:
    """The data sets of this process: copied to the cache, and kept there until it releases them.

    Attributes:
        variables: How buckets are reached, see :mod:`train.storage.connection`.
        limits: Of the cache and of waiting.
        say: Called with a line now and then.
        alive: Called often, so that a watchdog sees that this process does something.
        held: Locks that keep the data sets in the cache.
    """

    variables: Mapping[str, str]
    limits: Limits
    say: Callable[[str], None]
    alive: Callable[[], None] = lambda: None
    held: list[Lock] = field(default_factory=list)

    def stage(self, address: str, folder: Path) -> None:
        """Make a folder of the cache hold the data set at an address, whole and verified.

        Raises:
            UserError: The data set, the store or the cache is not as it has to be.
            StorageError: It could not be copied, or another process took too long.
        """
        asked = time.time()
        entry = Entry(folder)
        try:
            with waiting(entry.lock(), self._waiter(address, asked)):
                note = entry.read()
                # A copy that was finished before this process asked does not count: the data set
                # may have changed. To make sure costs a listing and its manifest.
                if note is None or note.address != address or note.finished < asked:
                    note = self._copy(address, entry)
                if note.error is not None:
                    raise UserError(note.error) if note.mistake else StorageError(note.error)
                # Keeps others from removing or changing the files while this process lives. Whoever
                # holds it alone holds the other lock as well.
                use = entry.use()
                use.take(shared=True)
                use.touch()
                self.held.append(use)
        except OSError as error:
            where = error.filename or folder
            raise UserError(f"storage.cache: {where}: {error.strerror}") from None

    def release(self) -> None:
        """Let other processes remove the data sets."""
        while self.held:
            self.held.pop().free()

    def _waiter(self, address: str, asked: float) -> Callable[[float], None]:
        """Return a function that waits for the process that copies, but not for ever."""
        told = False

        def wait(seconds: float) -> None:
            nonlocal told
            if not told:
                self.say(f"waiting for another process of this node, which copies {address}")
                told = True
            if time.time() > asked + self.limits.wait_seconds:
                raise StorageError(
                    f"{address}: another process of this node was still copying it after "
                    f"{self.limits.wait_seconds:g} s (storage.wait_seconds)"
                )
            self.alive()
            time.sleep(seconds)

        return wait

    def _copy(self, address: str, entry: Entry) -> Note:
        """Copy, and note for the processes that wait how it ended."""
        size = (entry.read() or Note(address)).bytes
        try:
            note = Note(address, self._copy_missing(address, entry), time.time())
        except (UserError, StorageError) as error:
            note = Note(address, size, time.time(), str(error), isinstance(error, UserError))
        entry.write(note)
        return note

    def _copy_missing(self, address: str, entry: Entry) -> int:
        """Copy what is missing; return the size of the data set in bytes."""
        progress = Progress(self.say, self.alive)
        store, target = open_store(address, self.variables), Folder(entry.folder)
        verified = Verified(entry.verified)
        copier = Copier(store, target, self.limits.tries, progress.move, verified, True)
        plan = _plan(copier)
        size = sum(plan.found[name].size for name in plan.expected)
        if not plan.files:
            self._remove_others(entry.folder, plan)
            self.say(f"{address} is in the cache: {entry.folder}")
            verified.save()
            return size
        use = entry.use()
        try:
            if not use.take():
                raise UserError(
                    f"{address}: has changed, while another job of this node uses the copy in "
                    f"{entry.folder}: wait for its end, or choose another storage.cache"
                )
            note = Note(address, size)
            for removed in make_room(entry, note, plan.bytes, self.limits.cache_size):
                self.say(f"{removed} was removed from the cache to make room")
            self.say(f"copying {address} to {entry.folder}: {plan.bytes / 1e6:,.1f} MB")
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
        """Remove what is no part of the data set any more, but not what was begun of it."""
        if not folder.is_dir():
            return
        for path in folder.iterdir():
            begun = any(path.name.startswith(f".{name}.") for name in plan.files)
            if path.name not in plan.expected and not begun:
                path.unlink()


def _plan(copier: Copier) -> Plan:
    """Plan the copy of a data set: the files that its manifest lists, and the manifest."""
    address = copier.source.address
    found = copier.listing()
    if MANIFEST not in found:
        what = f"no {MANIFEST} in it, so not a prepared data set" if found else "there is nothing"
        raise UserError(f"{address}: {what}")
    expected = copier.expected({MANIFEST: found[MANIFEST]})
    if len(expected) == 1:
        raise UserError(f"{address}/{MANIFEST}: is not the manifest of a prepared data set")
    for name, file in expected.items():
        if name not in found:
            raise UserError(f"{address}/{name}: missing, but listed in {MANIFEST}")
        if file.bytes not in (None, found[name].size):
            raise UserError(
                f"{address}/{name}: damaged: {found[name].size} bytes, {MANIFEST} says {file.bytes}"
            )
    return copier.compare({name: found[name] for name in expected}, expected)
