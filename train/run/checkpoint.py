"""A checkpoint: a folder of files that vouch for each other, written so that none is half trusted.

A checkpoint is a folder ``step_XXXXXXXX`` with ``model.safetensors``, ``optimizer.safetensors``,
``ema.safetensors`` if the run averages its model, and ``state.json``. The last holds the digests of
the others and of itself; without it, or if a digest differs, the folder does not count.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from train.files import replace_file, write_flushed
from train.storage.digests import STATE
from train.storage.run_download import step_of

# By name.
Arrays = dict[str, npt.NDArray[np.float32]]

FORMAT = "mtln-checkpoint"
# Before 2, state.json had no digest of itself.
VERSION = 2
# In the state: what an evaluation on val has given.
VALIDATION = "validation"
_MODEL = "model.safetensors"
_OPTIMIZER = "optimizer.safetensors"
AVERAGE = "ema.safetensors"


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

    @property
    def num_bytes(self) -> int:
        """What its arrays take on the disk."""
        files = self.model, self.optimizer, self.average
        return sum(values.nbytes for arrays in files for values in arrays.values())


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Make a folder with a checkpoint in it, all of it on the disk."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    arrays = {_MODEL: checkpoint.model, _OPTIMIZER: checkpoint.optimizer}
    if checkpoint.average:
        arrays[AVERAGE] = checkpoint.average
    digests = {name: _write_arrays(folder / name, values) for name, values in arrays.items()}
    about = {"format": FORMAT, "version": VERSION, "step": checkpoint.step, "files": digests}
    write_flushed(folder / STATE, _vouched({**checkpoint.state, **about}))


def note_validation(path: Path, validation: Mapping[str, Any]) -> None:
    """Note in a whole checkpoint what an evaluation of it has given.

    Raises:
        OSError: It could not be written: the checkpoint is what it was.
        ValueError: It is not whole.
    """
    state = {**_read_whole(path)[0], VALIDATION: validation}
    replace_file(path / STATE, _vouched(state))
    remember_whole(path)


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
    return Checkpoint(state["step"], model, optimizer, state, arrays.get(AVERAGE, {}))


def read_state(path: Path) -> dict[str, Any] | None:
    """Return the state of a checkpoint; None unless all its files are there and not damaged."""
    with contextlib.suppress(ValueError):
        return _read_whole(path)[0]
    return None


def why_not_whole(path: Path) -> str | None:
    """Return which file of a checkpoint is missing or damaged, and so on; None if it is whole."""
    try:
        _read_whole(path)
    except ValueError as error:
        return str(error).removeprefix(f"{path} is not a whole checkpoint: ")
    return None


def vouched_state(path: Path) -> dict[str, Any] | None:
    """Return the state of a checkpoint, whose other files are not read; None if it is damaged."""
    unreadable = OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError
    with contextlib.suppress(*unreadable):
        state = dict(json.loads((path / STATE).read_text(encoding="utf-8")))
        digest = _digest_of({key: value for key, value in state.items() if key != "digest"})
        vouched = state["version"] == 1 or (state["version"], state["digest"]) == (VERSION, digest)
        if state["format"] == FORMAT and vouched and isinstance(state["step"], int):
            return state
    return None


def is_whole(path: Path) -> bool:
    """Return whether a checkpoint counts: not as a copy under the name of another step."""
    stamp = _stamp(path)
    if stamp not in _seen_whole:
        state = read_state(path)
        if state is not None and state["step"] == step_of(path.name):
            _seen_whole.add(stamp)
    return stamp in _seen_whole


def remember_whole(path: Path) -> None:
    """Take a checkpoint for whole, as this process has just written it."""
    _seen_whole.add(_stamp(path))


# Checkpoints that were whole when this process wrote or read them: until a file of theirs changes
# they need not be read again whenever one is saved.
_seen_whole: set[tuple[object, ...]] = set()


def _stamp(path: Path) -> tuple[object, ...]:
    if not path.is_dir():
        return ()
    files = [(file.name, file.stat()) for file in sorted(path.iterdir())]
    return path, *((name, status.st_mtime_ns, status.st_size) for name, status in files)


def _read_whole(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read state and files of a checkpoint; raise a ValueError unless all digests are right."""
    files: dict[str, bytes] = {}
    state = vouched_state(path)
    if state is None:
        what = "is damaged" if (path / STATE).exists() else "is missing"
        raise ValueError(f"{path} is not a whole checkpoint: {STATE} {what}")
    digests = state.get("files")
    if not isinstance(digests, dict):
        raise ValueError(f"{path} is not a whole checkpoint: {STATE} names no files")
    for name in dict.fromkeys((_MODEL, _OPTIMIZER, *digests)):
        try:
            files[name] = (path / name).read_bytes()
        except FileNotFoundError:
            raise ValueError(f"{path} is not a whole checkpoint: {name} is missing") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} is not a whole checkpoint: {name}: {error}") from None
        if digests.get(name) != _sha256(files[name]):
            raise ValueError(f"{path} is not a whole checkpoint: {name} is damaged")
    return state, files


def _write_arrays(path: Path, arrays: Arrays) -> str:
    """Write arrays as safetensors and return the SHA-256 of the file.

    The library would copy all of them twice and let no other thread run meanwhile. Here training
    goes on: hashing and writing large arrays keeps nobody from the interpreter.
    """
    header, end = {}, 0
    for name, values in arrays.items():
        assert values.dtype == np.float32, name
        begin, end = end, end + values.nbytes
        header[name] = {"dtype": "F32", "shape": values.shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    # The format takes the bytes as they lie: those of a transposed array are in another order.
    contents = (np.ascontiguousarray(values).reshape(-1).data for values in arrays.values())
    return write_flushed(path, len(text).to_bytes(8, "little"), text, *contents)


def _vouched(state: Mapping[str, Any]) -> bytes:
    """Return the content of state.json, with its own digest."""
    values = json.loads(json.dumps(state))  # as it will be read: keys are texts
    values.pop("digest", None)
    values["digest"] = _digest_of(values)
    return json.dumps(values, indent=1).encode()


def _digest_of(state: Mapping[str, Any]) -> str:
    """Return the digest of a state, as it is read again from JSON, whatever its layout there."""
    return _sha256(json.dumps(state, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
