import contextlib
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from train.run.checkpoint import Checkpoint, load_checkpoint
from train.run.checkpoint_folder import checkpoints_in, load_newest, save_checkpoint


def make(step: int, size: int = 100) -> Checkpoint:
    values = np.arange(size, dtype=np.float32) + step
    return Checkpoint(step, {"shared.w": values}, {"momentum.shared.w": -values}, {"note": "x"})


def test_round_trip(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, make(40), keep=2)
    loaded = load_checkpoint(path)
    assert loaded.step == 40
    assert loaded.state["note"] == "x"
    np.testing.assert_array_equal(loaded.model["shared.w"], make(40).model["shared.w"])
    np.testing.assert_array_equal(
        loaded.optimizer["momentum.shared.w"], make(40).optimizer["momentum.shared.w"]
    )


def test_keeps_the_newest(tmp_path: Path) -> None:
    for step in (10, 20, 100):
        save_checkpoint(tmp_path, make(step), keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_00000020", "step_00000100"]


@pytest.mark.parametrize("damaged", [30, 40, 10])
def test_what_does_not_count_is_neither_removed_nor_pushes_out_a_whole_one(
    tmp_path: Path, damaged: int
) -> None:
    """Later, earlier and at the same step: a copy of someone's, and a checkpoint with a bit off."""
    copy = tmp_path / "step_best"
    shutil.copytree(save_checkpoint(tmp_path, make(20), keep=2), copy)
    spoilt = save_checkpoint(tmp_path, make(damaged), keep=2) / "model.safetensors"
    flip(spoilt, -1)
    content = spoilt.read_bytes()
    for step in (28, 30, 34):
        save_checkpoint(tmp_path, make(step), keep=3)
        newest = load_newest(tmp_path)
        assert newest is not None and newest[1].step == step
    assert copy.is_dir()
    assert content in [file.read_bytes() for file in tmp_path.glob("step_*/model.safetensors")]
    whole = [p.name for p in checkpoints_in(tmp_path) if p != spoilt.parent or damaged == 30]
    assert whole == ["step_00000028", "step_00000030", "step_00000034"]


def flip(file: Path, position: int, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(content)


def test_no_bit_of_state_json_changes_what_is_read(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, make(40), keep=2)
    right = load_checkpoint(path)
    state = path / "state.json"
    content = state.read_bytes()
    for position in range(len(content)):
        for bit in range(8):
            flip(state, position, bit)
            # Of bits between the values, in the layout, none is of account.
            with contextlib.suppress(ValueError):
                assert load_checkpoint(path).state == right.state
            state.write_bytes(content)


def test_a_checkpoint_of_another_step_than_its_folder_says_does_not_count(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, make(40), keep=2).rename(tmp_path / "step_00000050")
    assert load_newest(tmp_path) is None


def test_copies_under_names_of_other_steps_and_links_stay(tmp_path: Path) -> None:
    """What is not loaded is not removed either, whatever it is."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    path = save_checkpoint(folder, make(6), keep=1)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(path, elsewhere)
    for step in (7, 9):
        shutil.copytree(path, folder / f"step_{step:08d}")
    (folder / "step_00000008").symlink_to(elsewhere)
    (folder / "step_00000010").symlink_to(tmp_path / "nowhere")
    (folder / ".step_00000099.mine").mkdir()
    for step in (8, 10, 10, 12):
        save_checkpoint(folder, make(step), keep=1)
    assert [p.name for p in checkpoints_in(folder)] == [
        "step_00000007", "step_00000009", "step_00000012"
    ]  # fmt: skip
    assert (folder / ".step_00000099.mine").is_dir() and elsewhere.is_dir()
    aside = {p.name for p in folder.glob("*.not_whole_0")}
    assert aside == {"step_00000008.not_whole_0", "step_00000010.not_whole_0"}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"files": {}}', "null"])
def test_whatever_stands_in_state_json_an_older_one_is_found(tmp_path: Path, text: str) -> None:
    save_checkpoint(tmp_path, make(4), keep=2)
    (save_checkpoint(tmp_path, make(6), keep=2) / "state.json").write_text(text)
    newest = load_newest(tmp_path)
    assert newest is not None and newest[1].step == 4


def test_transposed_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2).T
    path = save_checkpoint(tmp_path, Checkpoint(1, {"a": values}, {}, {}), keep=1)
    assert (load_checkpoint(path).model["a"] == values).all()


def test_a_checkpoint_from_before_state_json_had_a_digest(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, make(40), keep=2) / "state.json"
    state = json.loads(path.read_text())
    del state["digest"]
    path.write_text(json.dumps({**state, "version": 1}))
    newest = load_newest(tmp_path)
    assert newest is not None and newest[1].step == 40


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["flip a bit", "truncate", "remove"])
def test_a_damaged_checkpoint_does_not_count(tmp_path: Path, file: str, damage: str) -> None:
    whole = save_checkpoint(tmp_path, make(10), keep=2)
    damaged = save_checkpoint(tmp_path, make(20), keep=2) / file
    content = bytearray(damaged.read_bytes())
    if damage == "remove":
        damaged.unlink()
    elif damage == "truncate":
        damaged.write_bytes(content[:-5])
    elif file == "state.json":
        damaged.write_bytes(content.replace(b'"version": 2', b'"version": 9'))
    else:
        content[-1] ^= 1
        damaged.write_bytes(content)
    newest = load_newest(tmp_path)
    assert newest is not None and (newest[0], newest[1].step) == (whole, 10)
    with pytest.raises(ValueError, match="not a whole checkpoint"):
        load_checkpoint(damaged.parent)


def test_none_where_there_is_none(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "nowhere") is None


def test_every_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is gone after it was read."""
    path = save_checkpoint(tmp_path, replace(make(40), average=make(41).model), keep=2)
    read = Path.read_bytes

    def read_and_remove(file: Path) -> bytes:
        content = read(file)
        file.unlink()
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_remove)
    newest = load_newest(tmp_path)
    assert newest is not None and newest[0] == path
    assert [file.name for file in path.iterdir()] == ["state.json"]
    for arrays, step in ((newest[1].model, 40), (newest[1].average, 41)):
        np.testing.assert_array_equal(arrays["shared.w"], make(step).model["shared.w"])


def test_same_step_again_replaces(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, make(10), keep=2)
    again = Checkpoint(10, make(11).model, make(11).optimizer, {})
    loaded = load_checkpoint(save_checkpoint(tmp_path, again, keep=2))
    assert loaded.model["shared.w"][0] == 11


KILLED_WRITER = """
import sys
from pathlib import Path
import numpy as np
from train.run.checkpoint import Checkpoint
from train.run.checkpoint_folder import save_checkpoint
for step in range(1, 10**6):
    values = {"w": np.full(2_000_000, step, np.float32)}
    save_checkpoint(Path(sys.argv[1]), Checkpoint(step, values, values, {}), keep=2)
    print(step, flush=True)
"""


def test_killed_at_any_moment_leaves_a_whole_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", KILLED_WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(3):
            reported = int(writer.stdout.readline())
        time.sleep(rng.uniform(0, 0.1))
        writer.kill()
        writer.wait()
        newest = load_newest(tmp_path)
        assert newest is not None
        path, checkpoint = newest
        assert checkpoint.step >= reported
        assert (checkpoint.model["w"] == checkpoint.step).all()
        assert json.loads((path / "state.json").read_text())["step"] == checkpoint.step
        for old in tmp_path.glob("step_*"):  # the next writer starts at step 1 again
            (old / "state.json").unlink(missing_ok=True)
