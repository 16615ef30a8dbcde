"""The report of a run: its figures are those of summary.json, its pictures those of the records."""

import csv
import io
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.object_store import ObjectStore
from tests.tools.commands import Tools
from tests.tools.report.conftest import Reported
from tests.tools.report.html_page import Element, read

pytestmark = pytest.mark.slow

# Those that are not a share in percent.
WRITTEN = {
    **dict.fromkeys(("step", "images_seen", "world_size", "images", "skipped_steps"), "{:,}"),
    **dict.fromkeys(("parameters/shared", "parameters/tasks"), "{:,}"),
    "images_per_second": "{:,.1f}",
    "kappa": "{:.3f}",
}


def written(path: str, value: Any) -> str:
    """A figure as a reader expects it, worked out apart from the report."""
    if value is None:
        return "-"
    if path == "bytes_reduced_per_step":
        return "nothing" if not value else f"{value / 1e6:,.2f} MB"
    if path == "wall_seconds":
        seconds = round(value)
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if isinstance(value, str):
        return value
    known = [form for name, form in WRITTEN.items() if f"/{path}".endswith(f"/{name}")]
    return known[0].format(value) if known else f"{100 * value:.2f} %"


def at(tree: Any, path: str) -> Any:
    for key in path.split("/"):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def figures(page: Element) -> list[tuple[str, str, str]]:
    """Run, path in summary.json, and text of every figure."""
    found = [e for e in page.all() if "data-figure" in e.attributes]
    return [(e.attributes["data-run"], e.attributes["data-figure"], e.text) for e in found]


@pytest.fixture(scope="module")
def page(reported: Reported) -> Element:
    return read(reported.folder / "report.html")


@pytest.fixture(scope="module")
def summary(reported: Reported) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((reported.folder / "summary.json").read_text())
    return found


def test_the_run_says_where_its_report_is(reported: Reported) -> None:
    last = reported.out.splitlines()[-2:]
    assert last == [f"Run folder: {reported.folder}", f"Report: {reported.folder / 'report.html'}"]


def test_every_figure_is_that_of_the_summary(page: Element, summary: dict[str, Any]) -> None:
    found = figures(page)
    for name, path, shown in found:
        assert (name, path, shown) == ("run", path, written(path, at(summary, path)))
    paths = {path for _, path, _ in found}
    expected = {"step", "world_size", "images_per_second", "data_wait", "versions/mindspore"}
    for task, splits in summary["tasks"].items():
        scene = "per_class" in splits["test"]
        keys = ("accuracy", "kappa") if scene else ("mean_iou", "multi_class/mean_iou")
        expected |= {f"tasks/{task}/test/{key}" for key in keys}
        of_classes = "per_class" if scene else "per_class_iou"
        expected |= {f"tasks/{task}/test/{of_classes}/{c}" for c in splits["test"][of_classes]}
    assert expected <= paths
    assert at(summary, "tasks/coast_pixels/test/oracle/mean_iou") is not None
    assert "tasks/coast_pixels/test/oracle/mean_iou" in paths


def test_an_interval_stands_beside_its_figure(page: Element, summary: dict[str, Any]) -> None:
    scenes, pixels = list(page.id("results").all("table"))
    headings = [heading.text for heading in next(scenes.all("thead")).all("th")]
    figure = headings.index("accuracy")
    assert headings[figure + 1] == "accuracy:95 % interval" and headings.count("accuracy") == 1
    for row in next(scenes.all("tbody")).all("tr"):
        [name] = row.all("th")
        cells = list(row.all("td"))
        accuracy = summary["tasks"][name.text]["test"]["accuracy"]
        low, high = map(float, cells[figure].text.split("–"))  # noqa: RUF001
        assert cells[figure - 1].text == f"{100 * accuracy:.2f} %"
        assert low <= 100 * accuracy <= high
        assert cells[figure].attributes["data-label"] == "accuracy: 95 % interval"
    # What no reader can know is told.
    notes = [note.text for note in page.id("results").all("p", "note")]
    assert "multi-class images: those whose mask has more than one class" in notes[1]
    assert "their mIoU: mIoU on these alone" in notes[1]
    assert "fwIoU" in next(pixels.all("thead")).text and "fwIoU: " in notes[1]


def test_confusions_are_those_of_the_summary(page: Element, summary: dict[str, Any]) -> None:
    for task, splits in summary["tasks"].items():
        metrics = splits["test"]
        classes = list(metrics.get("per_class") or metrics["per_class_iou"])
        expected = {
            f"{classes[i]} → {classes[j]}: {count:,} of {sum(row):,} ({count / sum(row):.1%})"
            for i, row in enumerate(metrics["confusion_matrix"])
            for j, count in enumerate(row)
            if count
        }
        [matrix] = page.id(f"task-{task}").all("svg", "matrix")
        assert {title.text for title in matrix.all("title")} == expected


def test_mistakes_are_shown_with_their_records(
    page: Element, summary: dict[str, Any], small_sets: dict[str, Path]
) -> None:
    shown = 0
    for task in ("fields", "roofs", "coast"):
        matrix = np.array(summary["tasks"][task]["test"]["confusion_matrix"])
        wrong = int(matrix.sum() - np.trace(matrix))
        section = page.id(f"task-{task}")
        cards = list(section.all("figure", "card"))
        assert len(cards) == min(12, wrong)
        with (small_sets[task] / "records.csv").open() as file:
            classes = {r["key"]: r["class"] for r in csv.DictReader(file) if r["split"] == "test"}
        sure = []
        for card in cards:
            [key], [bad], [true] = card.all("span", "key"), card.all("span", "bad"), card.all("b")
            assert classes[key.text] == true.text != bad.text
            [image] = card.all("img")
            assert image.attributes["src"].startswith("data:image/webp;base64,UklGR")
            sure.append(float(re.findall(r"([\d.]+) %", card.text)[0]))
        assert sure == sorted(sure, reverse=True)
        assert "the confusion matrix is that of the run" in section.text
        shown += len(cards)
        for thumb in section.all("span", "thumb"):
            assert classes[thumb.attributes["title"]]
            assert thumb.text == Path(thumb.attributes["title"]).name
    assert shown  # four steps teach nobody to be right


def test_attention_of_all_tasks_on_the_same_pictures(page: Element) -> None:
    section = page.id("attention")
    levels = list(section.all("div", "level"))
    assert len(levels) == len(list(section.all("input"))) == 4
    for level in levels:
        strips = list(level.all("figure", "strip"))
        assert len(strips) == 6  # two of every data set
        for strip in strips:
            names = [cell.text for cell in strip.all("div", "cell")]
            assert names[1:] == ["coast", "fields", "roofs", "coast_pixels"]
            pictures = [image.attributes["src"] for image in strip.all("img")]
            assert len(set(pictures)) == 5


def test_masks_stand_beside_answers(page: Element) -> None:
    section = page.id("task-coast_pixels")
    strips = list(section.all("figure", "strip"))
    assert 3 <= len(strips) <= 6
    for strip in strips:
        cells = [cell.text for cell in strip.all("div", "cell")]
        assert cells == ["picture", "truth", "answer", "wrong pixels"]
    legend = [item.text for item in next(section.all("p", "legend")).all("span")]
    assert legend == ["class0", "class1", "gap", "no class"]
    # Intervals of pixels come from the pictures.
    cells = [row.text for row in next(section.all("table", "classes")).all("tr")][1:]
    assert all(re.search(r"\d–\d", cell) for cell in cells)  # noqa: RUF001


def test_curves_are_those_of_the_metrics(page: Element, reported: Reported) -> None:
    charts = {next(c.all("figcaption")).text: c for c in page.id("curves").all("figure", "chart")}
    assert {"Loss on train", "Accuracy on val", "mIoU on val", "Learning rate"} <= charts.keys()
    lines = [json.loads(line) for line in (reported.folder / "metrics.jsonl").open()]
    last = [line for line in lines if line["kind"] == "train"][-1]
    told = next(charts["Loss on train"].all("svg")).attributes["aria-label"]
    for task, values in last["tasks"].items():
        assert f"{task}: {values['loss']:,.4g} at 4" in told
    [line] = charts["Learning rate"].all("polyline")
    assert len(line.attributes["points"].split()) == 4


def test_nothing_is_loaded_and_nothing_runs(page: Element) -> None:
    sources = [e.attributes[k] for e in page.all() for k in ("src", "href") if k in e.attributes]
    assert len(sources) > 50
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert not list(page.all("script"))


def test_all_sections_are_in_the_navigation(
    page: Element, reported: Reported, tools: Tools, tmp_path: Path
) -> None:
    """And nothing that is not on the page."""
    out = tmp_path / "out.html"
    assert tools("report", reported.folder, "--no-pictures", "--out", out).code == 0
    for shown, has_attention in ((page, True), (read(out), False)):
        [navigation] = shown.all("nav")
        places = [link.attributes["href"] for link in navigation.all("a")]
        assert places == [f"#{section.attributes['id']}" for section in shown.all("section")]
        assert ("#attention" in places) == has_attention


def test_several_runs_side_by_side(
    reported: Reported, summary: dict[str, Any], tools: Tools, tmp_path: Path
) -> None:
    """The second is another one of the same name, and the third is not completed."""
    other = tmp_path / "b" / "run"
    shutil.copytree(reported.folder, other, ignore=shutil.ignore_patterns("checkpoints"))
    changed = json.loads(json.dumps(summary))
    changed["tasks"]["roofs"]["test"]["accuracy"] = 0.123456
    (other / "summary.json").write_text(json.dumps(changed))
    config = (other / "config.yaml").read_text().replace("seed: 1\n", "seed: 7\n")
    (other / "config.yaml").write_text(config)
    open_run = tmp_path / "going on"
    open_run.mkdir()
    for name in ("config.yaml", "metrics.jsonl"):
        shutil.copy(reported.folder / name, open_run)
    with (open_run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "kind": "tra')
    out = tmp_path / "all.html"
    places = reported.folder, other, open_run
    outcome = tools("report", *places, "--no-pictures", "--out", out)
    assert (outcome.code, outcome.out) == (0, f"{out}\n")
    page = read(out)
    found = {(name, path): shown for name, path, shown in figures(page)}
    assert found["run (2)", "tasks/roofs/test/accuracy"] == "12.35 %"
    accuracy = summary["tasks"]["roofs"]["test"]["accuracy"]
    assert found["run (1)", "tasks/roofs/test/accuracy"] == written("accuracy", accuracy)
    assert found["going on", "step"] == "4"
    assert "at step 4 of 4" in page.text
    differing = [r.text for r in page.id("settings").all("tr") if r.text.startswith("seed")]
    assert differing == ["seed171"]
    legends = [e.text for e in page.id("curves").all("p", "legend")]
    assert "run (1)run (2)going on" in legends


def test_a_run_in_object_storage(
    reported: Reported,
    summary: dict[str, Any],
    tools: Tools,
    object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Its page is written here, with the figures of the summary that is there."""
    for path in reported.folder.rglob("*.*"):
        if path.is_file():
            object_store.put(f"r/run/{path.relative_to(reported.folder)}", path.read_bytes())
    for name, value in object_store.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert tools("report", object_store.url("r/run"), "--no-pictures").code == 0
    found = {(name, path): shown for name, path, shown in figures(read(tmp_path / "report.html"))}
    accuracy = summary["tasks"]["roofs"]["test"]["accuracy"]
    assert found["run", "tasks/roofs/test/accuracy"] == written("accuracy", accuracy)


def test_without_records_it_says_so(reported: Reported, tools: Tools, tmp_path: Path) -> None:
    moved = tmp_path / "run"
    shutil.copytree(reported.folder, moved)
    config = moved / "config.yaml"
    config.write_text(re.sub(r"records: .*/", "records: /nowhere/", config.read_text()))
    (moved / "report.html").unlink()
    outcome = tools("report", moved)
    assert (outcome.code, outcome.out) == (0, f"{moved / 'report.html'}\n")
    assert "note: run: no pictures: /nowhere/" in outcome.err
    assert "No pictures: /nowhere/" in read(moved / "report.html").text


def test_a_run_without_checkpoints(reported: Reported, tools: Tools, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(reported.folder, folder, ignore=shutil.ignore_patterns("checkpoints"))
    err = tools("report", folder).err
    assert err.startswith("note: bare: no pictures: no checkpoint in checkpoints/")
    assert "No pictures: no checkpoint in" in read(folder / "report.html").text


def test_the_help_fits_a_terminal(tools: Tools) -> None:
    assert max(map(len, tools("report", "--help").out.splitlines())) <= 100


def test_mistakes_of_the_user_are_one_line(
    reported: Reported, tools: Tools, tmp_path: Path
) -> None:
    tools("report", tmp_path / "none").assert_error("none: no such folder")
    tools("report", tmp_path).assert_error("no config.yaml in it (a run folder is needed)")
    tools("report", reported.folder, "--looked-at", 0).assert_error("--looked-at 0: must be in")
    tools("report", *[reported.folder] * 9).assert_error("9 runs: at most 8")
    out = tmp_path / "none" / "x.html"
    tools("report", reported.folder, "--no-pictures", "--out", out).assert_error(
        "cannot be written"
    )
    half = tmp_path / "half"
    shutil.copytree(reported.folder, half, ignore=shutil.ignore_patterns("checkpoints"))
    (half / "summary.json").write_text("{")
    tools("report", half).assert_error("half: summary.json: cannot be read")
    assert not (tmp_path / "none").exists()


def test_tensorboard_reads_scalars_and_pictures(
    reported: Reported, summary: dict[str, Any]
) -> None:
    """By its own reader: every line of the metrics, and the pictures of the report."""
    reader = EventAccumulator(str(reported.folder / "tensorboard"), {"scalars": 0, "images": 0})
    reader.Reload()
    lines = [json.loads(line) for line in (reported.folder / "metrics.jsonl").open()]
    train = [line for line in lines if line["kind"] == "train"]
    for task in summary["tasks"]:
        found = [(event.step, event.value) for event in reader.Scalars(f"loss/{task}")]
        expected = [(line["step"], pytest.approx(line["tasks"][task]["loss"])) for line in train]
        assert found == expected
    [accuracy] = reader.Scalars("test_accuracy/roofs")
    assert accuracy.value == pytest.approx(summary["tasks"]["roofs"]["test"]["accuracy"])
    tags = [*(f"attention/level_{level}" for level in (1, 2, 3, 4)), "mistakes/roofs"]
    for tag in [*tags, "truth_answer_wrong/coast_pixels"]:
        [event] = reader.Images(tag)
        image = Image.open(io.BytesIO(event.encoded_image_string))
        assert (event.step, image.size) == (4, (event.width, event.height))
