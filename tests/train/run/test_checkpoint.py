import contextlib
import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from train.run.checkpoint import VALIDATION, Checkpoint, load_checkpoint, note_validation
from train.run.checkpoint_folder import (
    best_of,
    checkpoints_in,
    load_newest,
    save_checkpoint,
    whole_in,
)


def make(step: int, size: int = 100) -> Checkpoint:
    values = np.arange(size, dtype=np.float32) + step
    return Checkpoint(step, {"shared.w": values}, {"momentum.shared.w": -values}, {"note": "x"})


def test_round_trip(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, make(40), keep=2)
    loaded = load_checkpoint(path)
    assert loaded.step == 40
    assert loaded.state["note"] == "x"
    assert loaded.average == {}
    names = ["model.safetensors", "optimizer.safetensors", "state.json"]
    assert sorted(file.name for file in path.iterdir()) == names
    np.testing.assert_array_equal(loaded.model["shared.w"], make(40).model["shared.w"])
    np.testing.assert_array_equal(
        loaded.optimizer["momentum.shared.w"], make(40).optimizer["momentum.shared.w"]
    )


def test_keeps_the_newest(tmp_path: Path) -> None:
    for step in (10, 20, 100):
        save_checkpoint(tmp_path, make(step), keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_00000020", "step_00000100"]


def test_the_newest_goes_by_its_number_not_by_its_name(tmp_path: Path) -> None:
    """From 100,000,000 steps on a name is longer, and comes before shorter ones as a text."""
    for step in (99_999_998, 99_999_999, 100_000_000):
        save_checkpoint(tmp_path, replace(make(1), step=step), keep=2)
    assert [p.name for p in whole_in(tmp_path)] == ["step_99999999", "step_100000000"]
    found = load_newest(tmp_path)
    assert found is not None and found[1].step == 100_000_000


def test_a_link_to_a_whole_one_of_the_same_step_is_put_aside(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    folder = tmp_path / "checkpoints"
    for path in (elsewhere, folder):
        path.mkdir()
    saved = save_checkpoint(elsewhere, make(6), keep=1)
    (folder / saved.name).symlink_to(saved)
    assert not save_checkpoint(folder, make(6), keep=1).is_symlink()
    names = {path.name for path in folder.iterdir()}
    assert names == {saved.name, f"{saved.name}.not_whole_0"} and saved.is_dir()


@pytest.mark.parametrize("kind", ["123", "removed", "fetched"])
def test_what_is_left_of_a_checkpoint_is_removed_with_the_next(tmp_path: Path, kind: str) -> None:
    """Of writing, removing or fetching that was killed; with it goes what is in it."""
    for name in (f".step_00000004.{kind}", ".step_00000004.mine", ".step_4.removed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
    path = save_checkpoint(tmp_path, make(6), keep=1)
    left = {".step_00000004.mine", ".step_4.removed", path.name}
    assert {path.name for path in tmp_path.iterdir()} == left


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


def validated(step: int, mean: float) -> Checkpoint:
    return replace(make(step), state={VALIDATION: {"mean": mean, "tasks": {"a": mean}}})


def test_the_best_is_kept_beside_the_newest_and_named(tmp_path: Path) -> None:
    """Of equal ones the first; what is damaged is not the best."""

    def save(step: int, mean: float | None = None) -> list[int]:
        checkpoint = make(step) if mean is None else validated(step, mean)
        save_checkpoint(tmp_path, checkpoint, keep=2, keep_best=True)
        return [int(path.name[5:]) for path in checkpoints_in(tmp_path)]

    assert save(2) == [2] and not (tmp_path / "best.json").exists()
    assert save(4, 0.5) == [2, 4] and save(6, 0.7) == [4, 6] and save(8, 0.7) == [6, 8]
    assert json.loads((tmp_path / "best.json").read_text())["step"] == 6
    assert save(10, 0.6) == [6, 8, 10] and save(12) == [6, 10, 12] and save(14) == [6, 12, 14]
    named = json.loads((tmp_path / "best.json").read_text())
    assert (named["step"], named["checkpoint"]) == (6, "step_00000006")
    assert named["validation"] == {"mean": 0.7, "tasks": {"a": 0.7}}
    assert (tmp_path / named["checkpoint"] / named["weights"]).is_file()

    note_validation(tmp_path / "step_00000012", {"mean": 0.65})
    assert load_checkpoint(tmp_path / "step_00000012").state["note"] == "x"
    flip(tmp_path / "step_00000006/model.safetensors", -1)
    assert save(16) == [6, 12, 14, 16]  # what is damaged is left alone
    assert json.loads((tmp_path / "best.json").read_text())["step"] == 12
    # A run that went on from 10 is better there, and what came later is of no account.
    assert save(11, 0.1) == [6, 11]
    assert json.loads((tmp_path / "best.json").read_text())["step"] == 11


def test_the_average_is_what_was_validated(tmp_path: Path) -> None:
    checkpoint = replace(validated(2, 0.5), average=make(2).model)
    save_checkpoint(tmp_path, checkpoint, keep=1, keep_best=True)
    assert json.loads((tmp_path / "best.json").read_text())["weights"] == "ema.safetensors"


def test_of_a_checkpoint_that_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, make(2), keep=1)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_checkpoint(tmp_path, make(4), keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000002"]


KILLED_WRITER = """
import sys
from pathlib import Path
import numpy as np
from train.run.checkpoint import Checkpoint
from train.run.checkpoint_folder import save_checkpoint
for step in range(1, 10**6):
    values = {"w": np.full(2_000_000, step, np.float32)}
    state = {"validation": {"mean": step * 7919 % 101 / 101}}
    checkpoint = Checkpoint(step, values, values, state)
    save_checkpoint(Path(sys.argv[1]), checkpoint, keep=2, keep_best=True)
    print(step, flush=True)
"""


def test_killed_at_any_moment_leaves_a_whole_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", KILLED_WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(4):  # the second one is the best of these
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
        # So is the best one, and what is named as it is there.
        best = best_of(whole_in(tmp_path))
        assert best is not None and best[1]["mean"] >= 2 * 7919 % 101 / 101
        named = json.loads((tmp_path / "best.json").read_text())["checkpoint"]
        assert tmp_path / named in whole_in(tmp_path)
        for old in tmp_path.glob("step_*"):  # the next writer starts at step 1 again
            (old / "state.json").unlink(missing_ok=True)
        (tmp_path / "best.json").unlink()
