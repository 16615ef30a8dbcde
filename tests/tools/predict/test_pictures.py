"""Predictions on the pictures that a data set was prepared of are those of the run's evaluation."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tools.predict.conftest import Models, Originals, Predict
from tests.tools.predict.outputs import content, read_lines
from train.config.reader import load_config
from train.data.manifest import open_record_sets
from train.data.pipeline import record_keys, stored_records, transformed_batches
from train.data.transforms import evaluation_transforms
from train.inference.checkpoint_source import choose_checkpoint
from train.run.checkpoint import load_checkpoint
from train.tasks.metrics import confusion_matrix


@pytest.fixture(scope="module")
def listed(originals: Originals, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of the test pictures of all data sets, in no order."""
    rows = [row for rows in originals.values() for row in rows if row["split"] == "test"]
    order = np.random.default_rng(3).permutation(len(rows))
    path = tmp_path_factory.mktemp("list") / "pictures.txt"
    path.write_text("\n".join(rows[i]["path"] for i in order) + "\n\n")
    return path


def test_pictures_of_the_test_split_get_the_figures_of_the_summary(
    predict: Predict, trained_run: Path, originals: Originals, listed: Path, tmp_path: Path
) -> None:
    """Digit for digit: every task on the pictures of its own data set, read from their files."""
    out = tmp_path / "out"
    ran = predict("--list", listed, "--out", out)
    assert ran.code == 0, ran.err
    assert "checkpoint of step 4, moving average of the parameters" in ran.out
    lines = read_lines(out)
    assert [line["file"] for line in lines] == listed.read_text().split()
    answers = {line["file"]: line["tasks"] for line in lines}
    with (out / "predictions.csv").open(newline="") as file:
        table = {(row["file"], row["task"]): row for row in csv.DictReader(file)}
    summary = json.loads((trained_run / "summary.json").read_text())["tasks"]
    for task in ("fields", "roofs", "coast"):
        rows = [row for row in originals[task] if row["split"] == "test"]
        classes = sorted({row["class"] for row in originals[task]})
        found = [table[row["path"], task]["class"] for row in rows]
        assert found == [answers[row["path"]][task]["class"] for row in rows]
        numbers = [
            np.array([classes.index(name) for name in names])
            for names in ([row["class"] for row in rows], found)
        ]
        matrix = confusion_matrix(numbers[0], numbers[1], len(classes))
        assert matrix.tolist() == summary[task]["test"]["confusion_matrix"]
        accuracy = np.trace(matrix) / matrix.sum()
        assert accuracy == pytest.approx(summary[task]["test"]["accuracy"], abs=1e-12)


def test_probabilities_are_those_of_the_stored_records(
    predict: Predict, trained_run: Path, originals: Originals, models: Models, tmp_path: Path
) -> None:
    """Of a scene and a segmentation task."""
    out = tmp_path / "out"
    folder = Path(originals["coast"][0]["path"]).parents[1]
    assert predict(folder, "--out", out).code == 0
    checkpoint = load_checkpoint(choose_checkpoint(trained_run, "newest", "run"))
    how = {"tasks": None, "seen_as": None, "flips": False, "batch": 4, "device": "auto"}
    pixels, keys = records_of(trained_run, "coast", "test")
    scene, *_, masks = models(checkpoint, "run", **how).probabilities(pixels)
    lines = {line["file"]: line["tasks"] for line in read_lines(out)}
    assert list(lines) == sorted(lines) and len(lines) == len(originals["coast"])
    for key, probabilities, of_pixels in zip(keys, scene, masks, strict=True):
        told = lines[f"{folder}/{key}"]
        values = list(told["coast"]["probabilities"].values())
        np.testing.assert_allclose(values, probabilities, atol=6e-7)
        # The pictures are square, and the network sees 16 x 16 of their 20 x 20 pixels.
        small = Image.fromarray(of_pixels.argmax(0).astype(np.uint8))
        near = np.asarray(small.resize((20, 20), Image.Resampling.NEAREST))
        with Image.open(out / told["coast_pixels"]["mask"]) as image:
            assert (np.asarray(image) == near).mean() > 0.8


def records_of(run: Path, dataset: str, split: str) -> tuple[np.ndarray, list[str]]:
    """Pixels of a split as the network sees them, and the keys of its records."""
    config = load_config(run / "config.yaml", [])
    [record_set] = [s for s in open_record_sets(config) if s.name == dataset]
    everything = np.arange(record_set.num_records(split))
    rows = stored_records(record_set, split, everything)
    transforms = evaluation_transforms(config.image.size)
    [batch] = transformed_batches(rows, [], transforms, [], len(everything))
    return batch[0], record_keys(record_set, split, everything)


def test_masks_are_palette_pictures_with_a_legend(
    predict: Predict, originals: Originals, tmp_path: Path
) -> None:
    """Of the size of the picture, whatever its shape; the tables count their pixels."""
    source = tmp_path / "my pictures"
    (source / "far").mkdir(parents=True)
    with Image.open(originals["coast"][0]["path"]) as image:
        image.resize((57, 20)).save(source / "wide.png")
        image.resize((33, 90)).save(source / "far" / "tall.jpg")
        turned = Image.Exif()
        turned[0x0112] = 8
        image.resize((60, 30)).save(source / "turned.jpg", exif=turned)
    out = tmp_path / "out"
    ran = predict(source, "--out", out, "--pictures")
    assert ran.code == 0, ran.err
    files = ["legend_coast_pixels.json", "legend_coast_pixels.png"]
    files += [f"masks/coast_pixels/{stem}.png" for stem in ("far/tall", "turned", "wide")]
    files += [f"pictures/{stem}.jpg" for stem in ("far/tall", "turned", "wide")]
    tables = ["predictions.csv", "predictions.jsonl", "shares.csv"]
    assert sorted(content(out)) == [*files, "predict.json", *tables]
    legend = json.loads((out / "legend_coast_pixels.json").read_text())
    assert [row["class"] for row in legend] == ["class0", "class1", "gap"]
    with (out / "shares.csv").open(newline="") as file:
        shares = list(csv.DictReader(file))
    for line in read_lines(out):
        told = line["tasks"]["coast_pixels"]
        with Image.open(out / told["mask"]) as image:
            assert image.mode == "P"
            assert image.size == (line["width"], line["height"])
            palette, mask = image.getpalette(), np.asarray(image)
        assert palette is not None
        for row in legend:
            colour = palette[3 * row["value"] : 3 * row["value"] + 3]
            assert "#{:02x}{:02x}{:02x}".format(*colour) == row["colour"]
            share = float((mask == row["value"]).mean())
            assert told["shares"][row["class"]] == round(share, 6)
            assert {
                "file": line["file"],
                "task": "coast_pixels",
                "class": row["class"],
                "share": f"{share:.6f}",
                "mask": told["mask"],
            } in shares
    sizes = [(line["width"], line["height"]) for line in read_lines(out)]
    assert sizes == [(33, 90), (30, 60), (57, 20)]


def test_seen_as_one_data_set(predict: Predict, originals: Originals, tmp_path: Path) -> None:
    """The task of that data set says the same; another sees other colours, and says another."""
    [picture] = [r["path"] for r in originals["roofs"] if r["file"] == "class2/3.png"]
    usual, other = tmp_path / "usual", tmp_path / "other"
    assert predict(picture, "--out", usual).code == 0
    ran = predict(picture, "--out", other, "--as", "roofs", "--tasks", "roofs,coast")
    assert ran.code == 0 and "tasks coast, roofs" in ran.out
    [one], [two] = read_lines(usual), read_lines(other)
    assert one["file"] == two["file"] == picture
    assert list(two["tasks"]) == ["coast", "roofs"]
    before, after = (
        [line["tasks"][task]["probabilities"] for task in ("roofs", "coast")] for line in (one, two)
    )
    assert after[0] == pytest.approx(before[0], abs=2e-6)
    assert after[1] != pytest.approx(before[1], abs=1e-4)


def test_table_has_the_three_most_likely_classes(
    predict: Predict, originals: Originals, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert predict(originals["roofs"][0]["path"], "--out", out).code == 0
    [line] = read_lines(out)
    with (out / "predictions.csv").open(newline="") as file:
        rows = {row["task"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["coast", "fields", "roofs"]
    for task, row in rows.items():
        told = line["tasks"][task]["probabilities"]
        ranked = sorted(told.items(), key=lambda pair: -pair[1])[:3]
        assert row["class"] == row["class_1"] and row["probability"] == row["probability_1"]
        for rank, (name, value) in enumerate(ranked, start=1):
            assert row[f"class_{rank}"] == name
            assert row[f"probability_{rank}"] == f"{value:.6f}"
    assert rows["coast"]["class_3"] == rows["coast"]["probability_3"] == ""
