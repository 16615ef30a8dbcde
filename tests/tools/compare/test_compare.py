"""``python -m tools compare``: its figures, worked out by hand, and its tables."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tools.commands import Tools

MODEL = {"trunk": "wide_resnet", "depth": 16, "width": 2, "norm": "batch", "branch": "attention"}


def scene(accuracy: float | None) -> dict[str, Any]:
    return {"kind": "scene", "accuracy": accuracy, "images": 100}


def segmentation(mean_iou: float, oracle: bool = True) -> dict[str, Any]:
    painted = {"pixel_accuracy": 0.9, "mean_iou": 0.8, "multi_class": {"mean_iou": 0.25}}
    return {
        "kind": "segmentation",
        "pixel_accuracy": 0.7,
        "mean_iou": mean_iou,
        "multi_class": {"images": 9, "pixel_accuracy": 0.6, "mean_iou": 0.375},
        "oracle": painted if oracle else None,
    }


class Runs:
    """Writes run folders."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(
        self,
        name: str,
        tasks: dict[str, dict[str, Any]],
        parameters: tuple[int, int] = (900_000, 100_000),
        images: int = 48_000,
        ranks: int = 1,
        config: dict[str, Any] | None = None,
    ) -> Path:
        folder = self.root / name
        folder.mkdir(parents=True)
        summary = {
            "status": "completed",
            "images_seen": images,
            "world_size": ranks,
            "parameters": {"shared": parameters[0], "tasks": parameters[1]},
            "tasks": {t: {"test": m, "val": {**m, "accuracy": 0.5}} for t, m in tasks.items()},
        }
        (folder / "summary.json").write_text(json.dumps(summary))
        if config is not None:
            tree = {"run_dir": str(folder), "branches": "local", **config}
            (folder / "config.yaml").write_text(yaml.safe_dump(tree))
        return folder


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs")


def cells(text: str) -> dict[str, dict[str, str]]:
    """The first Markdown table of a text: row -> heading -> cell."""
    lines = [line for line in text.split("\n\n")[1].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert rows[1] == ["---"] * len(rows[0])
    return {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[2:]}


def test_gain_over_single_task_runs(tools: Tools, runs: Runs) -> None:
    ucm = runs("ucm", {"ucm": scene(0.8)})
    aid = runs("aid", {"aid": scene(0.5)}, images=50_000)
    both = runs("both", {"ucm": scene(0.84), "aid": scene(0.49)}, (900_000, 240_000), 144_000, 2)
    found = cells(tools("compare", both, ucm, aid, "--markdown").out)
    assert list(found) == ["single-task (2 runs)", "both"]
    assert found["both"]["ucm accuracy"] == "84.00"
    assert found["both"]["mean"] == "66.50"
    assert found["both"]["gain"] == "+1.50"  # ((0.84 - 0.8) / 0.8 + (0.49 - 0.5) / 0.5) / 2
    assert found["both"]["parameters"] == "1.14 M"
    assert found["both"]["images"] == "144,000"
    assert found["both"]["what it is"] == "2 ranks"
    single = found["single-task (2 runs)"]
    assert (single["mean"], single["gain"]) == ("65.00", "+0.00")
    assert (single["parameters"], single["images"]) == ("2.00 M", "98,000")


def test_several_single_task_runs_of_a_task_count_with_their_mean(tools: Tools, runs: Runs) -> None:
    config = {"model": MODEL}
    first = runs("s1", {"ucm": scene(0.7)}, config={**config, "seed": 1})
    second = runs("s2", {"ucm": scene(0.9)}, (1_900_000, 100_000), config={**config, "seed": 2})
    aid = runs("aid", {"aid": scene(0.5)}, config={**config, "seed": 1})
    both = runs("both", {"aid": scene(0.5), "ucm": scene(0.88)}, config={**config, "seed": 1})
    out = tools("compare", first, second, aid, both, "--markdown").out
    found = cells(out)
    assert found["single-task (3 runs)"]["ucm accuracy"] == "80.00 ± 14.14"
    assert found["single-task (3 runs)"]["parameters"] == "2.50 M"
    assert found["single-task (3 runs)"]["mean"] == "65.00"
    assert found["both"]["gain"] == "+5.00"
    assert "warning" not in out


def test_single_task_runs_of_different_recipes_are_told(tools: Tools, runs: Runs) -> None:
    first = runs("a", {"ucm": scene(0.7)}, config={"model": MODEL, "seed": 1})
    other = {**MODEL, "branch": "linear"}
    second = runs("b", {"ucm": scene(0.7)}, config={"model": other, "seed": 2})
    out = tools("compare", first, second).out
    assert "single-task runs of ucm, whose mean is taken, differ in model.branch\n" in out


def test_a_task_without_a_single_task_run_is_marked(tools: Tools, runs: Runs) -> None:
    ucm = runs("ucm", {"ucm": scene(0.8)})
    both = runs("both", {"ucm": scene(0.88), "aid": scene(0.49)})
    out = tools("compare", both, ucm, "--markdown").out
    assert cells(out)["both"]["gain"] == "+10.00 *"
    assert "* both: without aid accuracy" in out
    assert cells(out)["single-task (1 run)"]["aid accuracy"] == "-"
    assert cells(out)["single-task (1 run)"]["mean"] == "-"
    assert cells(tools("compare", both, "--markdown").out)["both"]["gain"] == "-"


def test_seeds_are_joined_and_nothing_else(tools: Tools, runs: Runs) -> None:
    def run(name: str, seed: int, accuracy: float, ranks: int = 2, **model: Any) -> Path:
        config = {"seed": seed, "model": {**MODEL, **model}}
        tasks = {"ucm": scene(accuracy), "aid": scene(accuracy - 0.3)}
        return runs(name, tasks, ranks=ranks, config=config)

    folders = [
        run("first", 1, 0.80),
        run("second", 2, 0.84),
        run("again", 2, 0.84),
        run("one_rank", 3, 0.9, ranks=1),
        run("plain", 4, 0.9, branch="linear", trunk="resnet18"),
    ]
    found = cells(tools("compare", *folders, "--markdown").out)
    assert list(found) == ["first (2 seeds)", "again", "one_rank", "plain"]
    assert found["first (2 seeds)"]["ucm accuracy"] == "82.00 ± 2.83"
    assert found["first (2 seeds)"]["mean"] == "67.00 ± 2.83"
    assert found["first (2 seeds)"]["parameters"] == "1.00 M"
    assert (
        found["first (2 seeds)"]["what it is"] == "attention, WRN-16-2, batch norm, 2 ranks local"
    )
    assert found["plain"]["what it is"] == "linear, resnet18, batch norm, 2 ranks local"


def test_segmentation_has_a_table_of_its_own(tools: Tools, runs: Runs) -> None:
    alone = runs("alone", {"gid_seg": segmentation(0.4, oracle=False)})
    joint = runs("joint", {"gid": scene(0.9), "gid_seg": segmentation(0.5)})
    out = tools("compare", alone, joint, "--markdown").out
    assert cells(out)["joint"]["gid_seg mIoU"] == "50.00"
    assert cells(out)["joint"]["mean"] == "70.00"
    assert cells(out)["joint"]["gain"] == "+25.00 *"
    second = out.split("\n\n")[3].splitlines()
    assert second[2:] == [
        "| single-task (1 run) | gid_seg | 70.00 | 40.00 | 37.50 | - | - | - |",
        "| joint | gid_seg | 70.00 | 50.00 | 37.50 | 90.00 | 80.00 | 25.00 |",
    ]
    plain = tools("compare", alone, joint).out
    assert "|" not in plain and "oracle" in plain


def test_what_no_run_has_is_neither_shown_nor_explained(tools: Tools, runs: Runs) -> None:
    joint = runs("joint", {"gid": scene(0.9), "gid_seg": segmentation(0.5, oracle=False)})
    for markdown in ([], ["--markdown"]):
        out = tools("compare", joint, *markdown).out
        assert "mIoU, several classes" in out and '"several classes": on the images' in out
        assert "oracle" not in out


@pytest.mark.parametrize("tasks", [2, 6, 12])
def test_it_fits_100_columns(tasks: int, tools: Tools, runs: Runs) -> None:
    """Beside or below each other, or in blocks: all figures are there."""
    names = [f"task_with_a_name_{number}" for number in range(tasks)]
    folders = [
        runs(f"run_{number}", {name: segmentation(0.5) for name in names}, config={"model": MODEL})
        for number in range(5)
    ]
    lines = tools("compare", *folders).out.splitlines()
    assert max(map(len, lines)) <= 100
    words = [word for line in lines for word in line.split()]
    assert words.count("50.00") == 5 * tasks * 2 + 5  # in two tables, and the means
    assert all(f"run_{number}" in words for number in range(5))


def test_json_holds_the_same_figures(tools: Tools, runs: Runs, tmp_path: Path) -> None:
    ucm, seg = runs("ucm", {"ucm": scene(0.8)}), runs("seg", {"gid": segmentation(0.4)})
    both = runs("both", {"ucm": scene(0.6), "gid": segmentation(0.5)})
    file = tmp_path / "out.json"
    tools("compare", ucm, seg, both, "--json", file)
    tree = json.loads(file.read_text())
    assert tree["split"] == "test"
    row = tree["rows"][1]
    assert (row["name"], row["runs"], row["parameters"]) == ("both", [str(both)], 1_000_000)
    assert row["gain"] == pytest.approx(0)  # -25 % and +25 %
    assert row["tasks"][0]["accuracy"] == {"mean": 0.6, "deviation": None, "count": 1}
    assert row["tasks"][1]["oracle.multi_class.mean_iou"]["mean"] == 0.25


def test_the_other_split_and_a_split_without_images(tools: Tools, runs: Runs) -> None:
    ucm = runs("ucm", {"ucm": scene(None)})
    both = runs("both", {"ucm": scene(0.8), "aid": scene(None)})
    found = cells(tools("compare", ucm, both, "--markdown").out)["both"]
    assert (found["aid accuracy"], found["mean"], found["gain"]) == ("-", "-", "-")
    found = cells(tools("compare", ucm, both, "--split", "val", "--markdown").out)["both"]
    assert (found["aid accuracy"], found["mean"], found["gain"]) == ("50.00", "50.00", "+0.00 *")


def test_summaries_of_before_and_runs_given_twice(
    tools: Tools, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = scene(0.8)
    del old["kind"]
    first = runs("a/run", {"x": old, "y": old}, config={"model": {"depth": 16, "width": 2}})
    second = runs("b/run", {"x": old, "y": old})
    (second / "config.yaml").write_text("{not yaml")
    found = cells(tools("compare", first, second, first / "summary.json", "--markdown").out)
    assert list(found) == [str(first), str(second)]
    single = runs("single", {"x": old})
    out = tools("compare", single, single / "summary.json", f"{single}/", "--markdown").out
    assert list(cells(out)) == ["single-task (1 run)"]
    assert found[str(first)]["what it is"].startswith("attention, WRN-16-2")
    assert found[str(second)]["what it is"] == "1 rank"
    monkeypatch.chdir(second)
    assert list(cells(tools("compare", "summary.json", "--markdown").out)) == ["run"]


def test_mistakes_are_told_in_one_line(tools: Tools, runs: Runs, tmp_path: Path) -> None:
    whole = runs("whole", {"ucm": scene(0.8)})
    tools("compare", tmp_path / "none").assert_error(str(tmp_path / "none"), "no such folder")
    tools("compare", tmp_path).assert_error(str(tmp_path), "not completed")
    tools("compare", whole, "--json", tmp_path / "no" / "x").assert_error("cannot be written")
    file = whole / "summary.json"
    texts = ("[1", "[]", '{"tasks": {}}', '{"tasks": {"ucm": {"val": {}}}}')
    odd = '{"tasks": {"ucm": {"test": {"kind": "box"}}}}'
    for text in (*texts, odd, '{"tasks": {"ucm": {"test": {}}}}'):
        file.write_text(text)
        tools("compare", whole).assert_error(str(file), "not the summary of a run")


def test_it_starts_without_mindspore(runs: Runs) -> None:
    both = runs("both", {"ucm": scene(0.8), "aid": scene(0.5)}, config={"model": MODEL})
    code = (
        "import sys; from tools.__main__ import main; "
        "code = main(['compare', sys.argv[1]]); "
        "sys.exit(code or sum(m in sys.modules for m in ('mindspore', 'numpy', 'pydantic')))"
    )
    subprocess.run([sys.executable, "-c", code, both], check=True, capture_output=True)
