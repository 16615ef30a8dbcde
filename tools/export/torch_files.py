"""The network for PyTorch: its parameters under PyTorch's names, and a file that loads them."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from tools.export.subject import Subject
from train.run.checkpoint import Arrays
from train.temporary import temporary_folder

MODULE, STATE = "mtln_torch.py", "model.safetensors"
_LEAVES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_PACKAGES = "torch", "safetensors"
# Tells which packages cannot be imported, whatever is wrong with them.
_LOOK = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception:
        print(name)
"""
# Run by an interpreter that has torch: folder, pictures, and where the answers go.
_ASK = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, torch
import mtln_torch
network = mtln_torch.load(sys.argv[1])
pixels = torch.from_numpy(np.load(sys.argv[2]))
with torch.no_grad():
    parts = [network(batch) for batch in pixels.split(int(sys.argv[4]))]
names = list(parts[0])
np.savez(sys.argv[3], *[torch.cat([part[name] for part in parts]).numpy() for name in names])
"""


def write(subject: Subject, folder: Path) -> None:
    """Write the state and the module; model.json is the other half of what the module reads."""
    save_file(torch_state(subject.arrays), folder / STATE)
    shutil.copy(Path(__file__).with_name(MODULE), folder / MODULE)


def torch_state(arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Return parameters and statistics under PyTorch's names; of ResNets under torchvision's."""
    state: dict[str, npt.NDArray[Any]] = {}
    for name, values in arrays.items():
        layer, _, leaf = name.replace(".down_sample.", ".downsample.").rpartition(".")
        state[f"{layer}.{_LEAVES.get(leaf, leaf)}"] = values
        if leaf == "moving_mean":
            state[f"{layer}.num_batches_tracked"] = np.array(0, np.int64)
    return state


def missing(python: str) -> list[str]:
    """Return the names of the packages that the module needs and an interpreter has not.

    One that cannot be started has none.
    """
    try:
        asked = [python, "-c", _LOOK, *_PACKAGES]
        done = subprocess.run(asked, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return list(_PACKAGES)
    return done.stdout.split()


def logits(
    folder: Path, images: npt.NDArray[np.uint8], batch: int, python: str = sys.executable
) -> list[npt.NDArray[np.float32]]:
    """Load what was written, in a process of its own, and return the logits of every task.

    Raises:
        RuntimeError: It cannot be loaded.
    """
    with temporary_folder() as place:
        asked, answers = place / "pixels.npy", place / "answers.npz"
        np.save(asked, images)
        command = [python, "-c", _ASK, str(folder), str(asked), str(answers), str(batch)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["no reason given"])[-1])
        with np.load(answers) as found:
            return [found[name] for name in found.files]
