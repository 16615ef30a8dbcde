"""What a run folder holds, for comparisons."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

# A convolution adds in another order with another number of threads, as where the ranks of one run
# are pinned to a core each and those of the other are not.
ROUNDING = 2e-5

# A bias that a norm takes out again has a gradient that is zero in exact arithmetic. What it gets
# are the rounding errors of terms of order one: no digit of it has to agree.
NOTHING = float(np.finfo(np.float32).eps)


def summary_of(run: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return summary


def final_model(run: Path) -> dict[str, np.ndarray]:
    """The parameters and the optimizer's state in the last checkpoint of a completed run."""
    folder = run / "checkpoints" / f"step_{summary_of(run)['step']:08d}"
    files = ("model.safetensors", "optimizer.safetensors")
    return {f"{file}: {k}": v for file in files for k, v in load_file(folder / file).items()}


def assert_same_to_rounding(run: Path, other: Path) -> None:
    """Two runs of the same configuration on as many ranks must have the same end."""
    one, two = final_model(run), final_model(other)
    assert one.keys() == two.keys()
    for key, value in one.items():
        # Rounding errors are measured against the tensor.
        difference = np.abs(two[key] - value).max()
        assert difference <= ROUNDING * np.abs(value).max() + NOTHING, key


def assert_same_bits(run: Path, other: Path) -> None:
    """So must their bits be, if they compute with as many threads."""
    one, two = final_model(run), final_model(other)
    assert one.keys() == two.keys()
    assert [key for key in one if one[key].tobytes() != two[key].tobytes()] == []
