"""Checkpoints: written atomically, found again by looking, checked before they are used.

A checkpoint is a folder ``step_XXXXXXXX`` with ``model.safetensors``, ``optimizer.safetensors``,
``ema.safetensors`` if the run averages its model, and ``state.json``. The last holds the digests of
the others and of itself; without it, or if a digest differs, the folder does not count. A pointer
to "the newest" is never stored, since it could lie.

A folder of another name, and one that does not count, may be someone's: neither is ever removed.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from train.files import flush_folder, write_flushed
from train.storage.run_download import step_of

# By name.
Arrays = dict[str, npt.NDArray[np.float32]]

FORMAT = "mtln-checkpoint"
# Before 2, state.json had no digest of itself.
VERSION = 2
_MODEL = "model.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_AVERAGE = "ema.safetensors"
_STATE = "state.json"
# Written, removed or fetched (train/storage/run_download.py) by half.
_LEFTOVER = re.compile(r"\.step_\d{8,}\.(\d+|removed|fetched)")


@dataclass(frozen=True)
class Checkpoint:
    """One model with what it takes to go on training it.

    Attributes:
        step: Steps done.
        model: Parameters and batch-norm statistics by name.
        optimizer: State of the optimizer, ``<slot>.<parameter>`` -> array of its shape, of the loss
            balance, ``balance.<slot>``, and of the loss scale, ``loss_scale.<slot>``.
        state: All else, as plain values: what the run is, what the network is for, times.
        average: Moving average of the model, by name like it; empty if there is none.
    """

    step: int
    model: Arrays
    optimizer: Arrays
    state: dict[str, Any]
    average: Arrays = field(default_factory=dict)


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write ``folder/step_XXXXXXXX`` and remove all whole ones but it and ``keep - 1`` before it.

    Later ones are removed too: a run that is at this step now did not go on from them.
    """
    final = folder / f"step_{checkpoint.step:08d}"
    temporary = folder / f".{final.name}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    files = {_MODEL: _packed(checkpoint.model), _OPTIMIZER: _packed(checkpoint.optimizer)}
    if checkpoint.average:
        files[_AVERAGE] = _packed(checkpoint.average)
    for name, content in files.items():
        write_flushed(temporary / name, content)
    plain = {
        **checkpoint.state,
        "format": FORMAT,
        "version": VERSION,
        "step": checkpoint.step,
        "files": {name: _sha256(content) for name, content in files.items()},
    }
    state = json.loads(json.dumps(plain))  # as it will be read: keys are texts
    state["digest"] = _digest_of(state)
    write_flushed(temporary / _STATE, json.dumps(state, indent=1).encode())
    if _is_whole(final) and not final.is_symlink():
        _remove(final)
    elif os.path.lexists(final):
        _put_aside(final)
    temporary.rename(final)
    flush_folder(folder)
    _seen_whole.add(_stamp(final))
    for leftover in folder.glob(".step_*"):  # of a run that was killed while writing or removing
        if _LEFTOVER.fullmatch(leftover.name):
            shutil.rmtree(leftover, ignore_errors=True)
    others = [path for path in checkpoints_in(folder) if path != final and _is_whole(path)]
    others = [path for path in others if not path.is_symlink()]
    earlier = [path for path in others if step_of(path.name) < checkpoint.step]
    kept = earlier[-(keep - 1) :] if keep > 1 else []
    for path in others:
        if path not in kept:
            _remove(path)
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
                return path, checkpoint
    return None


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a whole checkpoint, all of its files once.

    Raises:
        ValueError: It is not whole.
    """
    state, files = _read_whole(path)
    try:
        arrays = {name: load(content) for name, content in files.items()}
        model, optimizer = arrays[_MODEL], arrays[_OPTIMIZER]
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} is not a whole checkpoint: {error}") from None
    return Checkpoint(state["step"], model, optimizer, state, arrays.get(_AVERAGE, {}))


def read_state(path: Path) -> dict[str, Any] | None:
    """Return the state of a checkpoint; None unless all its files are there and not damaged."""
    with contextlib.suppress(ValueError):
        return _read_whole(path)[0]
    return None


def _read_whole(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read state and files of a checkpoint; raise a ValueError unless all digests are right."""
    unreadable = OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError
    with contextlib.suppress(*unreadable):
        state = dict(json.loads((path / _STATE).read_text(encoding="utf-8")))
        digest = _digest_of({key: value for key, value in state.items() if key != "digest"})
        vouched = state["version"] == 1 or (state["version"], state["digest"]) == (VERSION, digest)
        if state["format"] == FORMAT and vouched and isinstance(state["step"], int):
            files = {name: (path / name).read_bytes() for name in state["files"]}
            complete = {_MODEL, _OPTIMIZER} <= files.keys()
            if complete and state["files"] == {
                name: _sha256(content) for name, content in files.items()
            }:
                return state, files
    raise ValueError(f"{path} is not a whole checkpoint")


# Checkpoints that were whole when this process wrote or read them: until a file of theirs changes
# they need not be read again whenever one is saved.
_seen_whole: set[tuple[object, ...]] = set()


def _is_whole(path: Path) -> bool:
    stamp = _stamp(path)
    if stamp not in _seen_whole:
        state = read_state(path)
        # As load_newest counts: a copy under the name of another step does not.
        if state is not None and state["step"] == step_of(path.name):
            _seen_whole.add(stamp)
    return stamp in _seen_whole


def _stamp(path: Path) -> tuple[object, ...]:
    if not path.is_dir():
        return ()
    files = [(file.name, file.stat()) for file in sorted(path.iterdir())]
    return path, *((name, status.st_mtime_ns, status.st_size) for name, status in files)


def _packed(arrays: Arrays) -> bytes:
    # The format takes the bytes as they lie: those of a transposed array are in another order.
    return save({name: np.ascontiguousarray(values) for name, values in arrays.items()})


def _digest_of(state: Mapping[str, Any]) -> str:
    """Return the digest of a state, as it is read again from JSON, whatever its layout there."""
    return _sha256(json.dumps(state, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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
