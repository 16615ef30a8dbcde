"""The checkpoints of a run: written atomically, found again by looking, the old ones removed.

A pointer to "the newest" is never stored, since it could lie, and the best one is found by looking
too: every checkpoint knows its validation. ``best.json``, for other programs, follows from that.

A folder of another name, and one that does not count, may be someone's: neither is ever removed.
"""

import contextlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train.files import flush_folder, read_json, remove_unfinished, replace_file
from train.run.checkpoint import (
    AVERAGE,
    VALIDATION,
    Checkpoint,
    is_whole,
    load_checkpoint,
    remember_whole,
    write_checkpoint,
)
from train.storage.digests import STATE
from train.storage.run_download import BEST, step_of

# Written, removed or fetched (train/storage/run_download.py) by half.
_LEFTOVER = re.compile(r"\.step_\d{8,}\.(\d+|removed|fetched)")

# A checkpoint, and what its validation has given.
Best = tuple[Path, dict[str, Any]]


def save_checkpoint(
    folder: Path, checkpoint: Checkpoint, keep: int, keep_best: bool = False
) -> Path:
    """Write ``folder/step_XXXXXXXX`` and remove all whole ones but those to keep.

    Later ones are removed too: a run that is at this step now did not go on from them.

    Args:
        folder: Where the checkpoints are.
        checkpoint: What to write.
        keep: How many to keep: this one, and those before it.
        keep_best: Whether to keep the one with the best validation beside them.

    Raises:
        OSError: It could not be written; nothing of it is left where it could be removed.
    """
    final = folder / f"step_{checkpoint.step:08d}"
    temporary = folder / f".{final.name}.{os.getpid()}"
    try:
        write_checkpoint(temporary, checkpoint)
        if is_whole(final) and not final.is_symlink():
            _remove(final)
        elif os.path.lexists(final):
            _put_aside(final)
        temporary.rename(final)
        flush_folder(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    remember_whole(final)
    # It is saved: what cannot be removed now is removed after the next one.
    with contextlib.suppress(OSError):
        remove_leftovers(folder)
        remove_others(folder, final, keep, keep_best)
    return final


def checkpoints_in(folder: Path) -> list[Path]:
    """Return what has a checkpoint's name in a folder, whole or not, the newest last."""
    found = (path for path in folder.glob("step_*") if step_of(path.name) >= 0)
    return sorted(found, key=lambda path: step_of(path.name))


def load_newest(folder: Path) -> tuple[Path, Checkpoint] | None:
    """Find the newest whole checkpoint in a folder and read it, all of its files once.

    Damaged or unfinished ones do not count.
    """
    for path in reversed(checkpoints_in(folder)):
        with contextlib.suppress(ValueError):
            if (checkpoint := load_checkpoint(path)).step == step_of(path.name):
                remember_whole(path)
                return path, checkpoint
    return None


def whole_in(folder: Path) -> list[Path]:
    """Return the whole checkpoints in a folder, the newest last; a link is somebody's own."""
    return [p for p in checkpoints_in(folder) if is_whole(p) and not p.is_symlink()]


def best_of(paths: Sequence[Path]) -> Best | None:
    """Return the one with the best validation of some whole checkpoints; of equal ones the first.

    Returns:
        None if no validation of theirs is known.
    """
    found = []
    for path in paths:
        state = read_json(path / STATE)
        if isinstance(validation := state.get(VALIDATION), dict):
            found.append((path, validation))
    return max(found, key=lambda best: float(best[1]["mean"]), default=None)


def name_best(folder: Path, best: Best | None) -> None:
    """Write into ``best.json`` which checkpoint is the best, for programs that want to know.

    Raises:
        OSError: It cannot be written.
    """
    if best is None:
        return (folder / BEST).unlink(missing_ok=True)
    path, validation = best
    average = AVERAGE if (path / AVERAGE).exists() else "model.safetensors"
    values = {"step": step_of(path.name), "checkpoint": path.name, "weights": average}
    content = json.dumps({**values, VALIDATION: validation}, indent=1) + "\n"
    if not (folder / BEST).exists() or (folder / BEST).read_text(encoding="utf-8") != content:
        replace_file(folder / BEST, content.encode())


def remove_others(folder: Path, newest: Path, keep: int, keep_best: bool) -> None:
    """Remove all whole checkpoints but the newest, ``keep - 1`` before it and, if wanted, the best.

    Raises:
        OSError: The disk refuses.
    """
    others = [path for path in whole_in(folder) if path != newest]
    earlier = [path for path in others if step_of(path.name) < step_of(newest.name)]
    kept = earlier[-(keep - 1) :] if keep > 1 else []
    if keep_best:
        best = best_of([*earlier, newest])
        name_best(folder, best)  # before another one goes, which it names
        kept += [] if best is None else [best[0]]
    for path in others:
        if path not in kept:
            _remove(path)


def remove_leftovers(folder: Path) -> None:
    """Remove what is left of writing, removing or fetching checkpoints that came to no end."""
    for leftover in folder.glob(".step_*"):
        if _LEFTOVER.fullmatch(leftover.name):
            shutil.rmtree(leftover, ignore_errors=True)
    remove_unfinished(folder, [BEST])
    for path in checkpoints_in(folder):
        remove_unfinished(path, [STATE])


def _remove(path: Path) -> None:
    # Under another name first: a removal that is interrupted leaves nothing that looks damaged.
    leftover = path.with_name(f".{path.name}.removed")
    shutil.rmtree(leftover, ignore_errors=True)
    path.rename(leftover)
    shutil.rmtree(leftover, ignore_errors=True)


def _put_aside(path: Path) -> None:
    """Give what is no whole checkpoint a name that is none of a checkpoint."""
    numbers = itertools.count()
    names = (path.with_name(f"{path.name}.not_whole_{number}") for number in numbers)
    path.rename(next(name for name in names if not name.exists()))
