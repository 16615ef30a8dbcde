"""Files of PyTorch, read without it: what is in them, and what is refused in one line."""

import importlib.util
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.run.torch_files import (
    Raw,
    archive,
    call,
    instructions,
    name,
    parameter,
    save,
    tensor,
)
from train.run.torch_file import is_torch_file, read_torch_file
from train.run.torch_pickle import Refused

TORCH_PYTHON = os.environ.get("MTLN_BENCH_PYTHON", sys.executable)
DAMAGED = "cannot be read: damaged, or of another format"
ON_THE_STACK = Raw(instructions("os") + instructions("system") + pickle.STACK_GLOBAL)
VALUES = np.arange(12, dtype=np.float32).tobytes()


def read(path: Path, content: bytes) -> dict[str, Any]:
    path.write_bytes(content)
    return {name: np.asarray(tensor) for name, tensor in read_torch_file(path).items()}


def refusal(folder: Path, content: bytes) -> str:
    with pytest.raises(Refused) as error:
        read(folder / "file.pth", content)
    assert "\n" not in str(error.value)
    return str(error.value)


def refused_tree(folder: Path, tree: Any, storage: bytes = VALUES) -> str:
    return refusal(folder, archive(tree, {"0": storage}))


def test_what_is_in_a_file(tmp_path: Path) -> None:
    """Tensors of all types, nested; what else there is of plain values is passed over."""
    rng = np.random.default_rng(0)
    arrays = {kind: rng.uniform(0, 9, (2, 3)).astype(kind) for kind in ("f2", "f4", "f8", "i8")}
    tree = {
        "epoch": 3,
        "best": 0.5,
        "arch": "resnet18",
        "large": 2**70,
        "none": [None, True, (1, 2, "three"), {}],
        "state_dict": {"module.conv1.weight": arrays["f4"], "number": np.array(7, "<i8")},
        "deeper": {"still": dict(arrays)},
    }
    save(tmp_path / "file.pth", tree)
    found = read_torch_file(tmp_path / "file.pth")
    assert list(found) == [
        "state_dict.module.conv1.weight",
        "state_dict.number",
        *(f"deeper.still.{kind}" for kind in arrays),
    ]
    for kind, array in arrays.items():
        values = found[f"deeper.still.{kind}"]
        assert values.is_float == (kind != "i8")
        assert np.asarray(values).dtype == np.float32
        np.testing.assert_array_equal(np.asarray(values), array.astype(np.float32))
    assert np.asarray(found["state_dict.number"]).shape == ()


def test_views_and_parameters(tmp_path: Path) -> None:
    """A transposed view, a part of a storage, one tensor under two names; bfloat16."""
    halves = (np.array([1.5, -2.0, 3e38], "<f4").view("<u4") >> 16).astype("<u2")
    tree = {
        "transposed": tensor("0", 12, 0, (4, 3), (1, 4)),
        "part": parameter(tensor("0", 12, 5, (2, 2), (4, 1))),
        "tied": tensor("0", 12, 0, (4, 3), (1, 4)),
        "empty": tensor("0", 12, 0, (0, 5), (5, 1)),
        "half": tensor("1", 3, 0, (3,), (1,), "BFloat16Storage"),
    }
    content = archive(tree, {"0": VALUES, "1": halves.tobytes()})
    found = read(tmp_path / "file.pth", content)
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(found["transposed"], whole.T)
    np.testing.assert_array_equal(found["tied"], whole.T)
    np.testing.assert_array_equal(found["part"], [[5, 6], [9, 10]])
    assert found["empty"].shape == (0, 5)
    np.testing.assert_allclose(found["half"], [1.5, -2.0, 3e38], rtol=0.01)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(call(name("os", "system"), "touch {gone}"), id="called"),
        pytest.param(Raw(name("os", "system")), id="named only"),
        pytest.param(ON_THE_STACK, id="on the stack"),
    ],
)
def test_a_program_is_named_and_not_run(tmp_path: Path, program: Raw) -> None:
    gone = tmp_path / "gone"
    program = Raw(program.replace(b"{gone}", b"     x"))
    tree = {"weight": tensor("0", 12, 0, (12,), (1,)), "other": program}
    assert refused_tree(tmp_path, tree) == (
        "refused: it names os.system, and only tensors and plain values are read, since a pickle "
        "can run any program (save the state_dict alone)"
    )
    assert not gone.exists()


def test_pythons_own_pickle_of_a_program(tmp_path: Path) -> None:
    """The real thing, which pickle.loads would run."""

    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "made"),)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        program = pickle.dumps({"a": Bomb()}, protocol)
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as file:
            file.writestr("weights/data.pkl", program)
        assert refusal(tmp_path, content.getvalue()).startswith("refused: ")
    assert not (tmp_path / "made").exists()
    pickle.loads(program)
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (call(name("builtins", "eval"), "1"), "refused: it names builtins.eval, "),
        (call(name("torch", "FloatStorage"), "1"), DAMAGED),
        (call(name("collections", "OrderedDict"), 1, 2, 3), DAMAGED),
        ({(1, 2): 3}, "refused: a key of a dictionary is neither a text nor a number"),
        (Raw(pickle.EMPTY_SET), "refused: its pickle uses EMPTY_SET, "),
        (Raw(b"("), DAMAGED),
        (Raw(b"t"), DAMAGED),
        (Raw(pickle.BINGET + b"\x07"), DAMAGED),
        (Raw(pickle.BINUNICODE8 + struct.pack("<Q", 2**60) + b"x"), DAMAGED),
        (Raw(pickle.LONG4 + struct.pack("<i", 2**31 - 1)), DAMAGED),
        ({"w": tensor("0", 12, 0, (12,), (1, 1))}, DAMAGED),
        ({"w": tensor("0", 12, 0, (1,) * 40, (1,) * 40)}, DAMAGED),
        ({"w": tensor("0", 12, 0, (12,), (-1,))}, DAMAGED),
        ({"w": tensor("0", 12, -4, (2,), (1,))}, DAMAGED),
        ({"w": tensor("0", 12, 0, (True,), (1,))}, DAMAGED),
        ({"w": tensor("0", 12, 0, (2**64,), (0,))}, DAMAGED),
        ({"w": tensor("0", 12, 0, (2**40,), (0,))}, "damaged: a tensor of shape (1099511627776,) "),
        ({"w": tensor("0", 12, 0, (3, 4), (2**62, 1))}, "damaged: a tensor of shape (3, 4) "),
        ({"w": tensor("0", 12, 12, (1,), (1,))}, "damaged: a tensor of shape (1,) "),
        ({"w": tensor("0", 2**50, 0, (12,), (1,))}, "damaged: storage 0 of 1,125,899,906,842,624 "),
        ({"w": tensor("7", 12, 0, (12,), (1,))}, "damaged: storage 7 of 12 values has 0 bytes"),
        ({"w": tensor("../version", 1, 0, (1,), (1,))}, "damaged: storage ../version "),
    ],
)
def test_what_is_not_as_it_has_to_be(tmp_path: Path, tree: Any, message: str) -> None:
    """One line each, and no more memory than the file has bytes."""
    assert refused_tree(tmp_path, tree).startswith(message)


def test_tensors_that_overlap_are_counted(tmp_path: Path) -> None:
    """A thousand different views of a storage would be a thousand storages in memory."""
    storage = np.zeros(50_000, np.float32).tobytes()
    views = {f"w{i}": tensor("0", 50_000, i, (40_000,), (1,)) for i in range(1000)}
    message = refused_tree(tmp_path, views, storage)
    assert message.startswith("refused: its tensors take 160,000,000 bytes, and the file has ")


def test_a_place_in_the_memo_beyond_all(tmp_path: Path) -> None:
    """Python's own machine would fill a table of 16 GB."""
    put = Raw(instructions("x") + pickle.LONG_BINPUT + struct.pack("<I", 2**31 - 1))
    content = archive({"a": put, "w": tensor("0", 12, 0, (12,), (1,))}, {"0": VALUES})
    assert list(read(tmp_path / "file.pth", content)) == ["w"]


def test_dictionaries_without_end(tmp_path: Path) -> None:
    """One that holds itself, one of dictionaries that hold each other, one that is very deep."""
    itself = pickle.EMPTY_DICT + pickle.BINPUT + b"\x01" + instructions("a") + pickle.BINGET
    weight = {"w": tensor("0", 12, 0, (12,), (1,))}
    tree = Raw(itself + b"\x01" + pickle.SETITEM)
    assert list(read(tmp_path / "a.pth", archive({"self": tree, **weight}, {"0": VALUES}))) == ["w"]
    deep = Raw(pickle.EMPTY_DICT)
    for _ in range(20_000):
        deep = Raw(pickle.EMPTY_DICT + instructions("a") + deep + pickle.SETITEM)
    assert list(read(tmp_path / "a.pth", archive({"deep": deep, **weight}, {"0": VALUES}))) == ["w"]


def test_archives_that_are_none_of_pytorchs(tmp_path: Path) -> None:
    tree = {"w": tensor("0", 12, 0, (12,), (1,))}
    good = archive(tree, {"0": VALUES})
    assert refusal(tmp_path, archive(tree, {"0": bytes(10**6)}, zipfile.ZIP_DEFLATED)) == (
        "refused: it is compressed, which PyTorch never does"
    )
    assert refusal(tmp_path, archive(tree, {"0": VALUES}, byteorder=b"big")).startswith(
        "was written on a big-endian machine"
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("readme", "weights")
    assert "no data.pkl" in refusal(tmp_path, content.getvalue())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(content, "w") as file:
        for _ in range(2):
            file.writestr("weights/data.pkl", b".")
    assert refusal(tmp_path, content.getvalue()) == "damaged: two of its records have one name"
    # The entry of the storage in the directory at the end now says that it begins at the pickle.
    place = good.rindex(b"weights/data/0") - 4
    overlapping = good[:place] + bytes(4) + good[place + 4 :]
    assert refusal(tmp_path, overlapping) == "damaged: its records overlap"
    flipped = good.replace(VALUES, VALUES[:-1] + b"\x01")
    assert refusal(tmp_path, flipped) == DAMAGED  # its checksum


def test_the_layout_before_1_6(tmp_path: Path) -> None:
    """What torch.save(..., _use_new_zipfile_serialization=False) begins with."""
    content = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e8002") + b"rest"
    assert refusal(tmp_path, content) == (
        "is in PyTorch's layout from before 1.6: have PyTorch save it again, with "
        "torch.save(torch.load(FILE, weights_only=True), NEW_FILE)"
    )
    assert is_torch_file(tmp_path / "file.pth")


@given(st.data())
def test_a_file_that_is_cut_or_changed(data: st.DataObject) -> None:
    """Refused in one line, or read; nothing else comes out."""
    from train.temporary import temporary_folder

    tree = {"w": tensor("0", 12, 0, (3, 4), (4, 1)), "epoch": 3, "l": [1.5, ("x", None)]}
    content = bytearray(archive(tree, {"0": VALUES}))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
    with temporary_folder() as folder:
        try:
            found = read(folder / "file.pth", bytes(content))
        except Refused as reason:
            assert "\n" not in str(reason)
        else:
            assert all(array.size <= 12 for array in found.values())


def has_torch() -> bool:
    if sys.executable == TORCH_PYTHON:
        return importlib.util.find_spec("torch") is not None
    command = [TORCH_PYTHON, "-c", "import torch"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not has_torch(), reason="no torch (MTLN_BENCH_PYTHON=PATH names one)")
def test_pytorch_itself(tmp_path: Path) -> None:
    """What it writes is read, and what the helper of these tests writes, it reads."""
    arrays = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(5, "<i8")}
    save(tmp_path / "ours.pth", {"state_dict": arrays, "epoch": 2})
    program = """
import json, sys, torch
folder = sys.argv[1]
ours = torch.load(f"{folder}/ours.pth", weights_only=True)
layer = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
view = torch.arange(6.).reshape(2, 3).t()
state = {"state_dict": layer.state_dict(), "p": torch.nn.Parameter(view)}
for kind in (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool):
    state[str(kind)] = torch.arange(4).to(kind)
torch.save(state, f"{folder}/theirs.pth")
flat = {"p": state["p"], **{f"state_dict.{k}": v for k, v in state["state_dict"].items()}}
flat |= {k: v for k, v in state.items() if k.startswith("torch.")}
print(json.dumps([
    {k: v.tolist() for k, v in ours["state_dict"].items()},
    {k.replace("torch.", ""): v.float().tolist() for k, v in flat.items()},
]))
"""
    command = [TORCH_PYTHON, "-c", program, str(tmp_path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    read_by_torch, written_by_torch = json.loads(output)
    assert read_by_torch == {key: array.tolist() for key, array in arrays.items()}
    found = read_torch_file(tmp_path / "theirs.pth")
    assert {name.replace("torch.", ""): np.asarray(t).tolist() for name, t in found.items()} == (
        written_by_torch
    )
