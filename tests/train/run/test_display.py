"""What is printed of scene and segmentation tasks, with and without a terminal."""

import os
import sys
from typing import Any

import numpy as np
import pytest

from train.run.display import Display
from train.tasks.metrics import PixelCounts, classification_metrics, segmentation_metrics

OTHER = ["49.50 %", "24.75 %", "49.25 %", "1", "24.50 %", "24.75 %"]


def scene(right: int) -> dict[str, Any]:
    return classification_metrics(np.array([[right, 1000 - right], [0, 0]]), ["a", "b"])


def segmentation(right: int, has_oracle: bool, others: int = 1) -> dict[str, Any]:
    """Two images of 100 pixels, ``right`` of which are taken for a, the others for b.

    All are of class a, save ``others`` of the second image, which are taken for a.
    """
    counts = PixelCounts.zeros(2)
    masks = np.zeros((2, 100), np.uint8)
    masks[1, :others] = 1
    predictions = np.ones((2, 100), np.uint8)
    predictions[:, :right] = 0
    counts.add(predictions, masks, np.zeros(2, np.int64))
    return segmentation_metrics(counts, ["a", "b"], has_oracle)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│").split("│")]


@pytest.fixture
def tasks() -> dict[str, dict[str, Any]]:
    older = {split: scene(700) for split in ("test", "val")}
    for metrics in older.values():
        del metrics["kind"]
    return {
        "cover": {"test": segmentation(80, True), "val": segmentation(70, True, 11)},
        "roofs": {"test": scene(854), "val": scene(700)},
        "of_a_task_with_a_long_name": {
            "test": segmentation(50, False),
            "val": segmentation(50, False),
        },
        "older": older,
    }


def shown(tasks: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> list[str]:
    numbers = {"images_seen": 1, "wall_seconds": 1.0, "world_size": 1, "images_per_second": 1.0}
    Display(20).summary({"tasks": tasks, **numbers}, "runs/x")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120 and not any("…" in line for line in lines)
    return [line.rstrip() for line in lines]


def test_one_line(tasks: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(20)
    test = {name: splits["test"] for name, splits in tasks.items()}
    display.metrics("step 20, test", test)
    display.metrics("step 20, test", {"cover": test["cover"]})
    display.metrics("step 20, test", {"older": test["older"], "roofs": test["roofs"]})
    # The IoU of a is 159 / 200 and 99 / 200, that of b 0.
    assert capsys.readouterr().out.splitlines() == [
        "step 20, test: accuracy roofs 85.4 %  older 70.0 %; "
        "mIoU cover 39.8 %  of_a_task_with_a_long_name 24.8 %",
        "step 20, test: mIoU cover 39.8 %",
        "step 20, test: accuracy older 70.0 %  roofs 85.4 %",
    ]


def test_tables(tasks: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(tasks, capsys)
    assert lines.index("Test accuracy") < lines.index("Test segmentation")
    assert [cells(line) for line in lines if line.startswith("│")] == [
        ["roofs", "1,000", "85.40 %", "85.40 %", "0.000", "70.00 %"],
        ["older", "1,000", "70.00 %", "70.00 %", "0.000", "70.00 %"],
        ["cover", "2", "79.50 %", "39.75 %", "79.10 %", "1", "39.50 %", "32.25 %"],
        ["oracle", "", "99.50 %", "49.75 %", "", "", "49.50 %", "47.25 %"],
        ["of_a_task_with_a_long_name", "2", *OTHER],
    ]


def test_only_the_tables_that_are_needed(
    tasks: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Test segmentation" not in shown({"roofs": tasks["roofs"]}, capsys)
    assert "Test accuracy" not in shown({"cover": tasks["cover"]}, capsys)


def test_the_oracle_is_explained_where_there_is_one(
    tasks: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    explained = "oracle: every image painted with its true scene class"
    assert explained in shown({"cover": tasks["cover"]}, capsys)
    without = tasks["of_a_task_with_a_long_name"]
    assert not any("oracle" in line for line in shown({"plain": without}, capsys))


def test_tables_fit_a_narrow_terminal(
    tasks: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = shown(tasks, capsys)
    assert max(map(len, lines)) <= 60
    # With headings of two lines the scene tasks fit.
    assert ["older", *["1,000", "70.00 %", "70.00 %", "0.000", "70.00 %"]] in map(cells, lines)
    # The others do not, beside each other or below: each is a block.
    assert lines[lines.index("  task cover") + 1].split() == ["images", "2"]
    assert lines[lines.index("  task   oracle") + 2].split() == ["pixel", "accuracy", "99.50", "%"]

    monkeypatch.setenv("COLUMNS", "40")
    lines = shown(tasks, capsys)
    start = lines.index("Test accuracy")
    assert [line.split() for line in lines[start + 1 : start + 4]] == [
        ["task", "roofs", "older"],
        ["images", "1,000", "1,000"],
        ["accuracy", "85.40", "%", "70.00", "%"],
    ]


def test_the_bar_of_a_resumed_run_starts_where_the_run_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal, os.fdopen(ours, "rb", 0) as seen:
        monkeypatch.setattr(sys, "stdout", terminal)
        display = Display(60)
        assert display.bar is not None
        display.begin(40)
        display.close()
        monkeypatch.undo()
        text = ""
        while "\x1b[?25h" not in text:  # the cursor is shown again: that is the end
            text += seen.read(100_000).decode()
    assert "step 40/60" in text and "step 0/60" not in text
