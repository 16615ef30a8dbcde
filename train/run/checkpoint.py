"""Checkpoints: written atomically, found again by looking, checked before they are used.

A checkpoint is a folder ``step_XXXXXXXX`` with ``model.safetensors``, ``optimizer.safetensors``,
``ema.safetensors`` if the run averages its model, and ``state.json``. The last holds the digests of
the others; without it, or if a digest differs, the folder does not count. A pointer to "the newest"
is never stored, since it could lie.
"""

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from train.files import flush_folder, write_flushed

# By name.
Arrays = dict[str, npt.NDArray[np.float32]]

FORMAT = "mtln-checkpoint"
VERSION = 1
_MODEL = "model.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_AVERAGE = "ema.safetensors"
_STATE = "state.json"


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
    """Write ``folder/step_XXXXXXXX`` and remove all but it and the ``keep - 1`` before it.

    Later ones are removed too: a run that is at this step now did not go on from them, because
    they are damaged or it started anew, so they must neither be found nor push out whole ones.
    """
    final = folder / f"step_{checkpoint.step:08d}"
    temporary = folder / f".{final.name}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    files = {_MODEL: save(checkpoint.model), _OPTIMIZER: save(checkpoint.optimizer)}
    if checkpoint.average:
        files[_AVERAGE] = save(checkpoint.average)
    for name, content in files.items():
        write_flushed(temporary / name, content)
    state = {
        "format": FORMAT,
        "version": VERSION,
        "step": checkpoint.step,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        **checkpoint.state,
    }
    write_flushed(temporary / _STATE, json.dumps(state, indent=1).encode())
    _remove(final)
    temporary.rename(final)
    flush_folder(folder)
    up_to_here = sorted(path for path in folder.glob("step_*") if path.name <= final.name)
    for path in folder.glob("step_*"):
        if path not in up_to_here[-keep:]:
            _remove(path)
    for leftover in folder.glob(".step_*"):  # of a run that was killed while writing
        shutil.rmtree(leftover, ignore_errors=True)
    return final


def load_newest(folder: Path) -> tuple[Path, Checkpoint] | None:
    """Find the newest whole checkpoint in a folder and read it, all of its files once.

    Damaged or unfinished ones do not count.
    """
    for path in sorted(folder.glob("step_*"), reverse=True):
        with contextlib.suppress(ValueError):
            return path, load_checkpoint(path)
    return None


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a whole checkpoint, all of its files once.

    Raises:
        ValueError: It is not whole.
    """
    state, files = _read_whole(path)
    average = load(files[_AVERAGE]) if _AVERAGE in files else {}
    return Checkpoint(state["step"], load(files[_MODEL]), load(files[_OPTIMIZER]), state, average)


def read_state(path: Path) -> dict[str, Any] | None:
    """Return the state of a checkpoint; None unless all its files are there and not damaged."""
    with contextlib.suppress(ValueError):
        return _read_whole(path)[0]
    return None


def _read_whole(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read state and files of a checkpoint; raise a ValueError unless all digests are right."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        state = dict(json.loads((path / _STATE).read_text(encoding="utf-8")))
        files = {name: (path / name).read_bytes() for name in state["files"]}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        if (state["format"], state["version"], state["files"]) == (FORMAT, VERSION, digests):
            return state, files
    raise ValueError(f"{path} is not a whole checkpoint")


def _remove(path: Path) -> None:
    # What makes it count goes first: a removal that is interrupted leaves nothing to trust.
    (path / _STATE).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)
