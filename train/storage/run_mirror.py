"""Keeping the run folder in object storage a mirror of the one here: what is sent, and when.

No log overwrites another's there. Every machine that a run goes on upon counts its attempts from 0;
the number of an attempt in the store is noted beside its logs, for later starts and for the other
nodes of the job.
"""

import itertools
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from train.storage.digests import STATE, SUMMARY, Stamp, stamp_of
from train.storage.run_download import BEST, CHECKPOINTS, CONFIG, METRICS, best_named, steps_in
from train.storage.stores import File, Folder, Store, read_small, send

LOGS = "logs"
_EVENTS = "tensorboard/"
_BEST = f"{CHECKPOINTS}/{BEST}"
_LOG = re.compile(rf"{LOGS}/attempt_([0-9]+)/(.+)", re.DOTALL)
# Begins with a dot, so it counts as no log.
_NOTE = ".number_there"


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
        self._there: dict[str, File | None] = {}  # complete once it was listed
        self._listed = False
        self._numbers: dict[int, int] = {}
        self._last_used: str | None = None

    def missing(self, summary: bool = False) -> list[str]:
        """Return the names of the files that are not in the store as they are here."""
        sent = dict(self._sent)
        return [name for name in self._names(summary) if sent.get(name) != self._stamp(name)]

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
        first = not self._listed
        names = self._look()
        if first:
            self._recognise(names)
        if not (self._folder / SUMMARY).exists():
            self._remove(SUMMARY)  # of an earlier time; this run is not completed
        for name in (CONFIG, METRICS):
            if name in names:
                self._send_if_changed(name)
        for step in steps_in(names, whole=True):
            self._send_checkpoint(step, names)
        # Between the checkpoint that it names and the removal of the one that it named before.
        if _BEST in names:
            self._send_if_changed(_BEST)
        else:
            self._remove(_BEST)
            self._sent.pop(_BEST, None)
        self._prune()
        for name in names:
            if not name.startswith(f"{CHECKPOINTS}/"):
                self._send_if_changed(name)
        for remote in sorted(self._there):
            # A step in event files of two starts would be there twice.
            if remote.startswith(_EVENTS) and remote not in names:
                self._remove(remote)
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
        names = self._names(summary=False)
        if not self._listed:
            self._there = dict(self._store.files())
            self._listed = True
        self._numbers = choose_numbers(self._folder, names, self._there)
        return names

    def _names(self, summary: bool) -> list[str]:
        return sorted(Folder(self._folder).files().keys() - (set() if summary else {SUMMARY}))

    def _stamp(self, name: str) -> Stamp | None:
        try:
            return stamp_of(self._folder / name)
        except OSError:
            return None

    def _send_checkpoint(self, step: str, names: list[str]) -> None:
        files, state = _files_of(step, names), _state_of(step)
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
        self._there[remote] = None
        return True

    def _remove(self, remote: str) -> None:
        if remote in self._there:
            self._store.remove(remote)
            del self._there[remote]

    def _prune(self) -> None:
        """Remove the checkpoints that a run here would have removed."""
        sent = [(step, _state_of(step)) for step in steps_in(self._sent, whole=True)]
        ours = [step for step, state in sent if self._sent[state] == self._stamp(state)]
        if not ours:
            return
        # Those after the one that the run resumed from were damaged: they push out no whole ones.
        last = self._last_used or ours[0]
        kept = [s for s in steps_in(self._there) if s <= last or s in ours][: self._keep]
        if _BEST in self._sent:
            kept.append(best_named((self._folder / _BEST).read_bytes()))
        for step in steps_in(self._there):
            if step not in kept:
                names = _files_of(step, self._there)
                for name in sorted(names, key=lambda name: name != _state_of(step)):
                    self._remove(name)

    # --- what an earlier process has sent --------------------------------------------------------

    def _recognise(self, names: list[str]) -> None:
        """Take note of the checkpoints that need not be sent, by their state.json."""
        for step in steps_in(names, whole=True):
            files, state = _files_of(step, names), _state_of(step)
            if not all(name in self._there for name in files):
                continue
            if read_small(self._store, state) == (self._folder / state).read_bytes():
                self._sent |= {name: stamp for name in files if (stamp := self._stamp(name))}

    def _looks_sent(self, name: str, stamp: Stamp) -> bool:
        """Return whether an earlier process has sent a file; state.json tells it of checkpoints."""
        if name.startswith(f"{CHECKPOINTS}/"):
            return False
        there = self._there.get(name_there(name, self._numbers))
        return bool(there and there.size == stamp[0] and int(there.modified) >= stamp[1] // 10**9)


def _files_of(step: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(f"{CHECKPOINTS}/{step}/")]


def _state_of(step: str) -> str:
    return f"{CHECKPOINTS}/{step}/{STATE}"


def noted_numbers(run_dir: Path) -> dict[int, int]:
    """Return the numbers in the store, by those here, that are noted in a run folder."""
    numbers = {}
    for path in (run_dir / LOGS).glob(f"attempt_*/{_NOTE}"):
        here, there = path.parent.name.removeprefix("attempt_"), path.read_text(encoding="utf-8")
        if here.isdecimal() and there.isdecimal():
            numbers[int(here)] = int(there)
    return numbers


def note_number(run_dir: Path, here: int, there: int) -> None:
    """Note the number of an attempt in the store."""
    (run_dir / LOGS / f"attempt_{here}" / _NOTE).write_text(str(there), encoding="utf-8")


def choose_numbers(run_dir: Path, here: Collection[str], there: Collection[str]) -> dict[int, int]:
    """Return the numbers in the store, by those here; new ones are chosen and noted.

    An attempt keeps its number unless a log of the same name has it there already. The names are
    those of all files of the run folder here and in the store.
    """
    numbers = noted_numbers(run_dir)
    logs: dict[int, list[str]] = {}
    for name in here:
        if found := _LOG.fullmatch(name):
            logs.setdefault(int(found[1]), []).append(found[2])
    for attempt in sorted(logs.keys() - numbers.keys()):
        numbers[attempt] = next(
            number
            for number in itertools.count(attempt)
            if number not in numbers.values()
            and not any(f"{LOGS}/attempt_{number}/{log}" in there for log in logs[attempt])
        )
        note_number(run_dir, attempt, numbers[attempt])
    return numbers


def name_there(name: str, numbers: dict[int, int]) -> str:
    """Return the name in the store of a file of the run folder."""
    found = _LOG.fullmatch(name)
    number = numbers.get(int(found[1])) if found else None
    return name if found is None or number is None else f"{LOGS}/attempt_{number}/{found[2]}"
