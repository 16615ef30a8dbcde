"""Mistakes end in one line and exit code 2, and nothing is there that looks whole."""

import csv
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.disks import with_disk
from tests.paths import ROOT
from tests.tools.commands import Tools
from tests.tools.predict.conftest import Originals, Predict
from tests.tools.predict.outputs import content, read_lines
from tools.predict.work import Work


@pytest.fixture
def mixed(originals: Originals, tmp_path: Path) -> Path:
    """Three pictures, and four files that are none."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    data = Path(originals["roofs"][0]["path"]).read_bytes()
    for name in ("a.png", "c.png", "z.png"):
        (folder / name).write_bytes(data)
    (folder / "b.png").write_bytes(data[: len(data) // 2])
    (folder / "d.jpg").write_text("no picture")
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((9, 9), np.float32)).save(buffer, "TIFF")
    (folder / "e.tif").write_bytes(buffer.getvalue())
    (folder / "f.png").write_bytes(b"")
    return folder


def test_unreadable_pictures_are_told_or_left_out(
    predict: Predict, mixed: Path, tmp_path: Path
) -> None:
    """What was computed is kept: the second command computes nothing again."""
    out = tmp_path / "out"
    ran = predict(mixed, "--out", out)
    ran.assert_error(
        "4 unreadable pictures: ",
        f"{mixed}/b.png (",
        f"{mixed}/d.jpg (not a picture that can be read)",
        f"{mixed}/e.tif (floating-point pixels have no fixed range: scale them to 8 bits first, or "
        "with --range 0,0, about what it uses; the network has learned from pictures of three "
        "bands of 8 bits)",
        "and 1 more",
        "--skip-unreadable, which lists all in skipped.csv; what was computed is kept in",
    )
    assert not out.exists()
    ran = predict(mixed, "--out", out, "--skip-unreadable")
    assert ran.code == 0 and "3 pictures" in ran.out and "4 unreadable left out" in ran.out
    assert "pictures ..." not in ran.err
    assert [Path(line["file"]).name for line in read_lines(out)] == ["a.png", "c.png", "z.png"]
    with (out / "skipped.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["file"]).name for row in rows] == ["b.png", "d.jpg", "e.tif", "f.png"]
    assert all(row["reason"] for row in rows)
    # Without the option, that folder is not what is asked for.
    predict(mixed, "--out", out).assert_error("out: exists already")


def test_a_folder_that_is_there(predict: Predict, originals: Originals, tmp_path: Path) -> None:
    picture, other = (originals["roofs"][i]["path"] for i in (0, 1))
    out = tmp_path / "out"
    assert predict(picture, "--out", out).code == 0
    before = content(out)
    assert "already there and complete" in predict(picture, "--out", out).out
    predict(other, "--out", out).assert_error("out: exists already", "--overwrite")
    assert content(out) == before
    assert predict(other, "--out", out, "--overwrite").code == 0
    assert [line["file"] for line in read_lines(out)] == [other]
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("x")
    predict(picture, "--out", foreign, "--overwrite").assert_error("not a folder made by this tool")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]


def test_arguments(predict: Predict, originals: Originals, tmp_path: Path) -> None:
    picture = originals["roofs"][0]["path"]
    out = tmp_path / "out"

    def refused(*arguments: object, told: str) -> None:
        predict(*arguments, "--out", out).assert_error(told)
        assert not list(tmp_path.iterdir())

    refused(told="nothing to predict")
    refused(tmp_path / "none.png", told="none.png: no such file or folder")
    refused(picture, "--tasks", "rofs", told="--tasks: no task 'rofs'")
    refused(picture, "--tasks", ",", told="--tasks ',': must be names")
    refused(picture, "--as", "sea", told="--as: no data set 'sea'")
    refused(picture, "--checkpoint", "3", told="one of the steps of")
    refused(picture, "--max-pixels", "0", told="--max-pixels 0: must be in 1..")
    refused(picture, "--scenes", "--as-pictures", told="contradict each other")
    told = "--tile, --polygons: no segmentation task among coast, roofs"
    refused(picture, "--tasks", "roofs,coast", "--polygons", "--tile", "32", told=told)
    told = "--scene-tile: no scene task among coast_pixels"
    refused(picture, "--tasks", "coast_pixels", "--scene-tile", "32", told=told)
    refused("/dev/null", told="/dev/null: no regular file, but a pipe, socket or device")
    folder = Path(picture).parent
    predict(folder, "--out", folder / "out").assert_error("lies in", "choose one beside it")
    predict(folder, "--out", folder.parent).assert_error("is or holds what is to be predicted")


def test_places_are_looked_at_before_anything_is_loaded(tools: Tools, tmp_path: Path) -> None:
    """There is no such run, but that would be found out later."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    (tmp_path / "a.png").write_text("x")

    def refused(place: str, out: str, told: str) -> None:
        words = tmp_path / "no run", tmp_path / place, "--out", tmp_path / out
        tools("predict", *words).assert_error(told)

    refused("none.png", "out", "none.png: no such file or folder")
    refused("pipe.png", "out", "pipe.png: no regular file")
    refused("a.png", "mine", "mine: exists already")
    refused("mine", "mine/out", "lies in")


def test_what_is_bad_in_a_folder_is_left_out(
    predict: Predict, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that leads nowhere and a folder that may not be entered are like a damaged picture."""
    for name in ("b.png", "d.jpg", "e.tif", "f.png"):
        (mixed / name).unlink()
    (mixed / "away.png").symlink_to(tmp_path / "nowhere")
    (mixed / "locked").mkdir()
    for name in ("notes.txt", "x.gif", "y.gif"):
        (mixed / name).write_text("x")
    scan = os.scandir

    def scandir(path: Any = ".") -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    out = tmp_path / "out"
    ran = predict(mixed, "--out", out)
    ran.assert_error("2 unreadable pictures", "away.png (No such file or directory)", "locked (")
    assert "note: not looked at: 2 gif, 1 txt (folders are searched for .jpg, .jpeg," in ran.out
    ran = predict(mixed, "--out", out, "--skip-unreadable")
    assert ran.code == 0 and "3 pictures" in ran.out and "2 unreadable left out" in ran.out


def test_values_of_16_bits_that_are_nearly_black(
    predict: Predict, mixed: Path, tmp_path: Path
) -> None:
    """One line names the first such picture; with --range, they are those of 8 bits."""
    with Image.open(mixed / "a.png") as image:
        grey = np.asarray(image.convert("L"))
    folder = tmp_path / "grey"
    folder.mkdir()
    for name, values in (("a", grey), ("b", grey.astype(np.uint16)), ("c", grey * np.uint16(9))):
        Image.fromarray(values).save(folder / f"{name}.png")
    out = tmp_path / "out"
    ran = predict(folder, "--out", out)
    assert ran.code == 0 and ran.out.count("warning: ") == 1
    assert f"warning: {folder}/b.png: 16 bits that use about " in ran.out
    assert "are nearly black to the network: --range" in ran.out
    ran = predict(folder, "--out", out, "--range", "0,255", "--overwrite")
    assert ran.code == 0 and "warning" not in ran.out
    told = [line["tasks"]["roofs"] for line in read_lines(out)]
    assert told[0] == told[1] != told[2]


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_stopped(
    predict: Predict,
    mixed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: BaseException,
    code: int,
) -> None:
    def finish_chunk(*_: object) -> None:
        raise stop

    monkeypatch.setattr(Work, "finish_chunk", finish_chunk)
    ran = predict(mixed / "a.png", "--out", tmp_path / "out")
    assert ran.code == code
    assert ran.err.splitlines()[-1] == "stopped; the same command goes on"


def test_a_full_disk_leaves_what_was_computed(
    predict: Predict, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish_chunk(*_: object) -> None:
        raise OSError(28, "No space left on device", "a file")

    monkeypatch.setattr(Work, "finish_chunk", finish_chunk)
    ran = predict(mixed / "a.png", "--out", tmp_path / "out")
    [parts] = tmp_path.glob(".out.*.parts")
    kept = f"what was computed is kept in {parts} for the next run"
    ran.assert_error(f"a file: No space left on device ({kept})")


@pytest.mark.slow
def test_a_full_disk(trained_run: Path, originals: Originals, tmp_path: Path) -> None:
    """One line names the folder, and there is nothing that looks whole."""
    disk = with_disk(tmp_path / "disk", "200k")
    out = tmp_path / "disk" / "out"
    folder = Path(originals["roofs"][0]["path"]).parents[1]
    command = [sys.executable, "-m", "tools", "predict", str(trained_run), str(folder)]
    shell = (
        f"{shlex.join([*command, '--out', str(out), '--pictures'])}; code=$?; ls {out}; exit $code"
    )
    ran = subprocess.run(
        [*disk, "bash", "-c", shell],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    told = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and "No space left on device" in told[0] and str(out) in told[0]
    assert "Traceback" not in ran.stderr and "cannot access" in ran.stderr
