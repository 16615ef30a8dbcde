"""Mistakes end in one line and exit code 2, and nothing is there that looks whole."""

import csv
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.disks import with_disk
from tests.paths import ROOT
from tests.ranks import GRAPHS
from tests.tools.predict.conftest import Originals, Predict
from tests.tools.predict.outputs import content, read_lines


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
        f"{mixed}/e.tif (floating-point pixels have no fixed range: the network has learned from "
        "pictures of three bands of 8 bits)",
        "and 1 more",
        "--skip-unreadable",
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
    folder = Path(picture).parent
    predict(folder, "--out", folder / "out").assert_error("lies in", "choose one beside it")
    predict(folder, "--out", folder.parent).assert_error("is or holds what is to be predicted")


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
        env={**os.environ, "MTLN_GRAPH_CACHE": str(GRAPHS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    told = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and "No space left on device" in told[0] and str(out) in told[0]
    assert "Traceback" not in ran.stderr and "cannot access" in ran.stderr
