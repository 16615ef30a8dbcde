"""The PyTorch module against MindSpore's operators, in an interpreter that has torch."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest

from tests.tools.export.networks import SMALL, logits_of, made, pictures
from tools.export import torch_files
from tools.export.about import ABOUT, describe
from tools.export.subject import Subject
from train.data.manifest import Listing, Manifest, RecordSet

# An interpreter with torch, if it is not this one.
TORCH_PYTHON = os.environ.get("MTLN_BENCH_PYTHON", sys.executable)


@pytest.fixture(autouse=True)
def eager_mode() -> Any:
    """Operator by operator: nothing has to be compiled."""
    ms.set_device("CPU")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)


def sets_of(subject: Subject) -> list[RecordSet]:
    listing = Listing(0, "")
    return [
        RecordSet(d.name, Path(), Manifest(d.name, (), {}, d.mean, d.std, {}, listing, {}, ""))
        for d in subject.datasets
    ]


def written(subject: Subject, folder: Path) -> Path:
    torch_files.write(subject, folder)
    about = describe(subject, sets_of(subject), "torch", "logits")
    (folder / ABOUT).write_text(json.dumps(about))
    return folder


@pytest.mark.skipif(
    bool(torch_files.missing(TORCH_PYTHON)), reason="no torch (MTLN_BENCH_PYTHON=PATH names one)"
)
@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        {**SMALL, "norm": "domain", "depth": 16},
        {**SMALL, "norm": "group", "branch": "linear"},
        {"trunk": "resnet18", "norm": "domain"},
        {"trunk": "resnet50", "branch": "linear", "max_pool": "symmetric"},
    ],
    ids=lambda model: " ".join(map(str, model.values())),
)
def test_logits_are_those_of_mindspore(model: dict[str, Any], tmp_path: Path) -> None:
    network, subject = made(**model)
    folder = written(subject, tmp_path)
    pixels = pictures(3, 33, 48)  # an odd and an even size, and two batches
    found = torch_files.logits(folder, pixels, 2, TORCH_PYTHON)
    for mine, theirs in zip(found, logits_of(network, pixels), strict=True):
        size = np.abs(theirs).max() / 10
        np.testing.assert_allclose(mine / size, theirs / size, atol=1e-4, rtol=0)


def test_names_are_those_of_torchvision() -> None:
    _, subject = made(trunk="resnet18", branch="linear")
    names = torch_files.torch_state(subject.arrays)
    trunk = {name.removeprefix("shared.trunk.") for name in names if "trunk" in name}
    assert {"conv1.weight", "bn1.running_var", "layer2.0.downsample.1.num_batches_tracked"} < trunk
    assert sum(values.size for name, values in names.items() if "tracked" not in name) == sum(
        values.size for values in subject.arrays.values()
    )


def test_only_what_an_interpreter_has_not_is_missing(tmp_path: Path) -> None:
    (tmp_path / "safetensors.py").touch()
    (tmp_path / "torch.py").write_text("raise OSError('libtorch.so: no such file')")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    assert torch_files.missing(str(python)) == ["torch"]
    (tmp_path / "torch.py").write_text("")
    assert torch_files.missing(str(python)) == []
    assert torch_files.missing(str(tmp_path / "nothing")) == ["torch", "safetensors"]
