"""Keeping the run folder in object storage a mirror of the one here: what is sent, and when."""

from __future__ import annotations

from pathlib import Path

from train.storage.attempt_numbers import LOGS, choose_numbers, name_there
from train.storage.digests import STATE, SUMMARY, Stamp, stamp_of
from train.storage.run_download import CHECKPOINTS, METRICS, steps_in
from train.storage.stores import File, Folder, Store
from train.storage.transfer import read_small, send

CONFIG = "config.yaml"


class Mirror:
    """The run folder in object storage, brought up to date a pass at a time.

    In the store, too, a checkpoint is whole from the moment its state.json is there to the moment
    it is removed: that file is sent last and removed first.

    Args:
        folder: The run folder here.
        store: The run folder in object storage.
        keep: Number of checkpoints that are kept.
    """

    def __init__(self, folder: Path, store: Store, keep: int) -> None:
        self._folder = folder
        self._store = store
        self._keep = keep
        self._sent: dict[str, Stamp] = {}
        self._there: dict[str, File | None] | None = None
        self._numbers: dict[int, int] = {}
        self._last_used: str | None = None

    def missing(self, summary: bool = False) -> list[str]:
        """Return the names of the files that are not in the store as they are here."""
        sent = dict(self._sent)
        return sorted(name for name in self._local(summary) if sent.get(name) != self._stamp(name))

    def begin(self, step: int | None) -> None:
        """Send the first file: what is wrong with the store shows here.

        Args:
            step: The step that the run resumes from, None for one that is completed.
        """
        self._last_used = None if step is None else f"step_{step:08d}"
        self._send(CONFIG)

    def update(self, summary: bool) -> None:
        """Send everything that has changed before this call.

        Args:
            summary: Whether to send the summary too, after all else.

        Raises:
            OSError: The store failed; so may other errors of its client library.
        """
        first = self._there is None
        names = self._look()
        if first:
            self._recognise(names)
        if not (self._folder / SUMMARY).exists():
            self._remove(SUMMARY)  # of an earlier time; this run is not completed
        for name in (CONFIG, METRICS):
            if name in names:
                self._send_if_changed(name)
        for step in steps_in(dict.fromkeys(names), whole=True):
            self._send_checkpoint(step, names)
        self._prune()
        for name in names:
            if not name.startswith(f"{CHECKPOINTS}/"):
                self._send_if_changed(name)
        if summary:
            self._send_if_changed(SUMMARY)

    def update_logs(self) -> None:
        """Send the logs alone: of a node that has none of the results, or of a run never begun.

        Raises:
            OSError: The store failed; so may other errors of its client library.
        """
        for name in self._look():
            if name.startswith(f"{LOGS}/"):
                self._send_if_changed(name)

    def _look(self) -> list[str]:
        """Look what is there, at first, and return the names of all files here but the summary."""
        names = self._local(summary=False)
        if self._there is None:
            self._there = dict(self._store.files())
        self._numbers = choose_numbers(self._folder, names, self._there)
        return names

    def _local(self, summary: bool) -> list[str]:
        names = sorted(Folder(self._folder).files())
        return [name for name in names if summary or name != SUMMARY]

    def _stamp(self, name: str) -> Stamp | None:
        try:
            return stamp_of(self._folder / name)
        except OSError:
            return None

    def _send_checkpoint(self, step: str, names: list[str]) -> None:
        files = [name for name in names if name.startswith(f"{CHECKPOINTS}/{step}/")]
        state = f"{CHECKPOINTS}/{step}/{STATE}"
        if any(self._sent.get(name) != self._stamp(name) for name in files):
            if self._sent.get(state) != self._stamp(state):
                self._remove(state)  # it vouches for files that are going to change
            parts = [name for name in files if name != state]
            # One that is removed meanwhile must not get its state.json.
            if all(self._send_if_changed(name) for name in parts):
                self._send_if_changed(state)

    def _send_if_changed(self, name: str) -> bool:
        """Send a file unless it was; False if it has vanished here."""
        stamp = self._stamp(name)
        if stamp is None:
            return False
        if self._sent.get(name) != stamp and self._looks_sent(name, stamp):
            self._sent[name] = stamp
        return self._sent.get(name) == stamp or self._send(name)

    def _send(self, name: str) -> bool:
        path, remote = self._folder / name, name_there(name, self._numbers)
        before = self._stamp(name)
        stored = send(self._store, remote, path, lambda _: None, message=f"{name}: ")
        if before is None or stored is None:
            return False
        self._sent[name] = before
        if self._there is not None:
            self._there[remote] = None
        return True

    def _remove(self, remote: str) -> None:
        if self._there is not None and remote in self._there:
            self._store.remove(remote)
            del self._there[remote]

    def _prune(self) -> None:
        """Remove the checkpoints that a run here would have removed."""
        ours = [s for s in steps_in(self._sent, whole=True) if self._is_sent(s)]
        if not ours or self._there is None:
            return
        # Those after the one that the run resumed from were damaged: they push out no whole ones.
        last = self._last_used or ours[0]
        kept = [s for s in steps_in(self._there) if s <= last or s in ours][: self._keep]
        for step in steps_in(self._there):
            if step not in kept:
                names = [n for n in self._there if n.startswith(f"{CHECKPOINTS}/{step}/")]
                for name in sorted(names, key=lambda name: not name.endswith(f"/{STATE}")):
                    self._remove(name)

    def _is_sent(self, step: str) -> bool:
        state = f"{CHECKPOINTS}/{step}/{STATE}"
        return self._sent[state] == self._stamp(state)

    # --- what an earlier process has sent --------------------------------------------------------

    def _recognise(self, names: list[str]) -> None:
        """Take note of the checkpoints that need not be sent, by their state.json."""
        assert self._there is not None
        for step in steps_in(dict.fromkeys(names), whole=True):
            files = [name for name in names if name.startswith(f"{CHECKPOINTS}/{step}/")]
            if all(name in self._there for name in files) and self._same_state(step):
                self._sent |= {name: stamp for name in files if (stamp := self._stamp(name))}

    def _same_state(self, step: str) -> bool:
        name = f"{CHECKPOINTS}/{step}/{STATE}"
        return read_small(self._store, name) == (self._folder / name).read_bytes()

    def _looks_sent(self, name: str, stamp: Stamp) -> bool:
        """Whether an earlier process has sent a file; of checkpoints their state.json tells it."""
        if name.startswith(f"{CHECKPOINTS}/"):
            return False
        there = (self._there or {}).get(name_there(name, self._numbers))
        return bool(there and there.size == stamp[0] and int(there.modified) >= stamp[1] // 10**9)
