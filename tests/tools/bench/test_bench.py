"""Ratios, tables, the file and the command line of tools bench; no process is measured here."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.tools.commands import Outcome
from tools.bench import text
from tools.bench.results import Case, Comparison, Document, Goal, Measured, Spread
from tools.bench.session import Session

Tools = Callable[..., Outcome]

OURS, PEER = [120.0, 90.0, 200.0], [100.0, 60.0, 250.0]
SETTINGS = {"rounds": 3, "seconds": 1.0, "quick": False}
MOMENT = {
    "when": "2026-11-24T03:00:00+00:00",
    "load": [0.1, 0.2, 0.3],
    "commit": "0123456789abcdef",
    "uncommitted_changes": False,
}


def some_case() -> Case:
    return Case(
        "a network",
        "images/s",
        {"ours": OURS, "peer": PEER},
        [
            Comparison("ours / peer", "ours", "peer", Goal(">=", 1.3)),
            Comparison("half of it", "ours", "peer", factor=0.5),
            Comparison("in percent", "peer", "ours", Goal("<", 100.0), "percent", 100.0),
            Comparison("alone", "ours", goal=Goal(">", 110.0), form="value"),
            Comparison("ours / absent", "ours", "absent", Goal(">=", 1.3)),
        ],
        {"absent": "it is not here"},
        {"peers": {"ours": [{"versions": {"mindspore": "9.9"}, "no_native_operators": "too hot"}]}},
    )


def some_document(**changes: object) -> Document:
    document = Document()
    row = {"title": "training", "cases": [some_case()], "settings": SETTINGS, "moment": MOMENT}
    document.rows["train"] = Measured(**{**row, **changes})  # type: ignore[arg-type]
    return document


def cells(table: str, what: str) -> list[str]:
    [line] = [line for line in table.splitlines() if f"| {what} |" in line]
    return line.strip("| ").split(" | ")


def test_ratios_are_of_the_same_round() -> None:
    tree = some_case().tree()
    paired = [a / b for a, b in zip(OURS, PEER, strict=True)]
    first = tree["comparisons"][0]
    assert first["rounds"] == paired
    assert first["result"] == {"median": 1.2, "low": 0.8, "high": 1.5}
    assert statistics.median(paired) == 1.2
    assert tree["medians"] == {"ours": 120.0, "peer": 100.0}
    assert tree["comparisons"][1]["result"]["median"] == 0.6
    assert tree["comparisons"][3]["rounds"] == OURS


def test_median_of_ratios_is_no_ratio_of_medians() -> None:
    comparison = Comparison("", "a", "b")
    values = comparison.values({"a": [1.0, 10.0, 4.0], "b": [1.0, 2.0, 8.0]})
    assert Spread.of(values) == Spread(1.0, 0.5, 5.0)


@pytest.mark.parametrize(
    ("sign", "below", "at", "above"),
    [
        (">=", False, True, True),
        (">", False, False, True),
        ("<=", True, True, False),
        ("<", True, False, False),
    ],
)
def test_goals(sign: str, below: bool, at: bool, above: bool) -> None:
    goal = Goal(sign, 2.0)
    assert [goal.is_reached(v) for v in (1.9, 2.0, 2.1)] == [below, at, above]


def test_table() -> None:
    table = text.table(some_document(), markdown=True)
    assert cells(table, "ours / peer")[3:] == [
        *("120 images/s", "100 images/s", "1.20", "0.80 to 1.50", ">= 1.30: no")
    ]
    assert cells(table, "in percent")[5:] == ["83.3 %", "66.7 % to 125.0 %", "< 100.0 %: yes"]
    assert cells(table, "alone")[3:] == ["-", "-", "120 images/s", "90 to 200", "> 110: yes"]
    assert cells(table, "ours / absent")[3:] == ["120 images/s", "(1)", "-", "-", ">= 1.30"]
    assert "\n\n(1) it is not here\n\n" in table
    assert "without native operators: too hot; " in table
    assert "mindspore 9.9" in table and "2026-11-24, commit 01234567." in table


def test_failed_and_quick_rows_say_so() -> None:
    quick = {**SETTINGS, "quick": True}
    table = text.table(some_document(failure="peer: it broke", settings=quick), markdown=False)
    assert "(2) not finished: peer: it broke" in table
    assert "the figures say nothing" in table


def test_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    document = some_document()
    document.write(tmp_path / "a.json")
    again = Document.read(tmp_path / "a.json")
    again.write(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
    assert text.table(again, markdown=True) == text.table(document, markdown=True)
    tree = json.loads((tmp_path / "a.json").read_text())
    assert tree["rows"]["train"]["cases"][0]["series"] == {"ours": OURS, "peer": PEER}
    assert tree["machine"]["cores"] >= 1 and tree["machine"]["processor"]


def test_page_is_updated_between_the_marks(tmp_path: Path, tools: Tools) -> None:
    page, file = tmp_path / "page.md", tmp_path / "a.json"
    page.write_text(f"before\n{text.PART.begin}\nold\n{text.PART.end}\nafter\n")
    document = some_document()
    document.write(file)
    assert tools("bench", "--from", file, "--update", page).code == 0
    assert (
        page.read_text()
        == f"before\n{text.PART.block(text.table(document, markdown=True))}\nafter\n"
    )
    assert tools("bench", "--from", file, "--update", page).code == 0
    assert (
        page.read_text()
        == f"before\n{text.PART.block(text.table(document, markdown=True))}\nafter\n"
    )


@pytest.mark.parametrize("name", ["performance", "predict"])
def test_page_holds_what_the_stored_file_says(name: str) -> None:
    page = (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
    assert page.count(text.PART.begin) == page.count(text.PART.end) == 1
    stored = Document.read(ROOT / f"docs/runs/{name}.json")
    assert text.PART.block(text.table(stored, markdown=True)) in page


def test_rounds_are_interleaved_and_turned_around(tmp_path: Path) -> None:
    order: list[str] = []

    def turn(name: str) -> Callable[[], float]:
        def measure() -> float:
            order.append(name)
            return float(len(order))

        return measure

    session = Session(3, 1.0, False, "python", tmp_path)
    series = session.interleave({name: turn(name) for name in "abc"})
    assert "".join(order) == "abccbaabc"
    assert series == {"a": [1.0, 6.0, 7.0], "b": [2.0, 5.0, 8.0], "c": [3.0, 4.0, 9.0]}


def test_list_names_every_row(tools: Tools) -> None:
    outcome = tools("bench", "--list")
    assert outcome.code == 0
    listed = [line.split()[0] for line in outcome.out.splitlines()]
    assert listed == [
        *("train", "reference", "scaling", "reduction", "input"),
        *("checks", "saving", "tasks", "start", "evaluation", "prediction", "memory"),
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trian"], ["trian", "no such row", "train, reference"]),
        (["train", "--rounds", "0"], ["--rounds 0", "at least 1"]),
        (["train", "--seconds", "-1"], ["--seconds -1", "above 0"]),
        (["train", "--seconds", "nan"], ["--seconds nan", "above 0"]),
        (["train", "--keep"], ["--keep", "--json"]),
        (["train", "--json", "/nowhere/a.json"], ["/nowhere/a.json", "cannot be written"]),
        (["train", "--json", "x.json", "--keep", "--from", "y"], ["--from", "measures nothing"]),
        (["--from", "/nowhere/a.json"], ["/nowhere/a.json", "cannot be read"]),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(
    words: list[str], told: list[str], tools: Tools
) -> None:
    tools("bench", *words).assert_error(*told)


def test_files_that_are_none_of_ours(tmp_path: Path, tools: Tools) -> None:
    for content, why in (("{", "not valid JSON"), ("[]", "not a file that tools bench --json")):
        file = tmp_path / "a.json"
        file.write_text(content)
        tools("bench", "--from", file).assert_error("a.json", why)
    document = tmp_path / "document.json"
    some_document().write(document)
    page = tmp_path / "page.md"
    page.write_text("no marks")
    for words in (["--from", document], ["train"]):
        tools("bench", *words, "--update", page).assert_error("page.md", "must hold")
    assert page.read_text() == "no marks"
