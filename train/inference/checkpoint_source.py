"""From what a user names (a run folder, a checkpoint, an address) to a checkpoint on this disk."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from train.errors import UserError
from train.run.checkpoint import read_state, why_not_whole
from train.run.checkpoint_folder import best_of, checkpoints_in, whole_in
from train.storage.address import check_location, is_remote
from train.storage.digests import STATE
from train.storage.run_download import CHECKPOINTS, fetch_checkpoint, fetch_run, step_of
from train.storage.settings import retry_without_config
from train.storage.stores import open_store
from train.temporary import temporary_folder

NEWEST, BEST = "newest", "best"


@contextmanager
def on_this_disk(place: str, say: Callable[[str], None]) -> Iterator[Path]:
    """Yield the folder of a run or of a checkpoint; one in object storage is fetched, for a while.

    Args:
        place: A folder, or an address in object storage.
        say: Called with a line on what is fetched.

    Raises:
        UserError: There is no such folder, or the address or the store cannot be used.
        StorageError: The store does not answer.
    """
    try:
        place = check_location(place)
    except ValueError as error:
        raise UserError(str(error)) from None
    if not is_remote(place):
        folder = Path(place).expanduser()
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "no such folder"
            raise UserError(f"{place}: {what} (a run folder or a checkpoint is needed)")
        yield folder
        return
    with temporary_folder() as folder:
        store, retry = open_store(place), retry_without_config()
        if STATE not in retry.call(place, store.files):
            fetch_run(place, folder, os.environ, retry.tries, say, _is_whole, with_config=True)
            yield folder
            return
        checkpoint = folder / "checkpoint"
        if not fetch_checkpoint(store, checkpoint, retry.tries, _is_whole):
            raise UserError(f"{place}: damaged, or not a whole checkpoint")
        yield checkpoint


def choose_checkpoint(folder: Path, which: str, place: str) -> Path:
    """Return a whole checkpoint; warn if it is the newest one, but newer ones are not whole.

    Args:
        folder: A run folder, or the checkpoint itself.
        which: Of a run folder: ``newest``, ``best`` on val, or a step.
        place: What the user has called the folder.

    Raises:
        UserError: There is no such checkpoint, or it is not whole.
    """
    if (folder / STATE).exists():
        if problem := why_not_whole(folder):
            raise UserError(f"{place}: not a whole checkpoint: {problem}")
        return folder
    all_of_it, whole = checkpoints_in(folder / CHECKPOINTS), whole_in(folder / CHECKPOINTS)
    if not whole:
        raise UserError(f"{place}: {_why_none(folder, all_of_it)}")
    if which == NEWEST:
        for path in all_of_it[all_of_it.index(whole[-1]) + 1 :]:
            what = f"warning: {place}: {path.name} is not used"
            print(f"{what}: {why_not_whole(path) or 'a link or a copy'}", file=sys.stderr)
        return whole[-1]
    if which == BEST:
        if (best := best_of(whole)) is None:
            raise UserError(
                f"--checkpoint best: no evaluation of a checkpoint in {place} is known "
                "(evaluate.every brings them, and the end of the run)"
            )
        return best[0]
    steps = {step_of(path.name): path for path in whole}
    if not which.isdecimal() or int(which) not in steps:
        known = ", ".join(map(str, steps))
        raise UserError(
            f"--checkpoint: must be newest, best or one of the steps of {place} ({known}), "
            f"not {which!r:.40}"
        )
    return steps[int(which)]


def _why_none(folder: Path, found: Sequence[Path]) -> str:
    if found:
        newest = f"{found[-1].name}: {why_not_whole(found[-1]) or 'a link or a copy'}"
        return f"no whole checkpoint in {CHECKPOINTS}/ ({newest})"
    if checkpoints_in(folder):
        return "a folder of checkpoints: name its run folder, or one of them"
    return f"no checkpoint in {CHECKPOINTS}/ (is it a run folder?)"


def _is_whole(path: Path) -> bool:
    return read_state(path) is not None
