"""The command itself; what it counts is tested in tests/ascend."""

from pathlib import Path

import pytest

from tests.tools.commands import Tools
from tools.ascend_check import made_up, matrix
from tools.ascend_check.result import Messages, Result, Work
from train.data.manifest import Manifest


def test_mistakes_end_in_one_line(tools: Tools, tmp_path: Path) -> None:
    tools("ascend-check").assert_error("CONFIG is missing")
    tools("ascend-check", "none.yaml").assert_error("none.yaml")
    tools("ascend-check", "none.yaml", "--ranks", "99").assert_error("--ranks 99", "1..16")
    page = tmp_path / "page.md"
    tools("ascend-check", "--matrix", page).assert_error("page.md", "No such file")
    page.write_text("no marks")
    tools("ascend-check", "--matrix", page).assert_error("page.md", matrix.BEGIN)


def test_data_are_made_up_as_the_tasks_need_them(tmp_path: Path) -> None:
    tree = {
        "datasets": {"a": {"records": "none/a"}, "b": {"records": "none/b"}},
        "tasks": {
            "a": {"classes": 3},
            "b": {},
            "pixels": {"dataset": "b", "kind": "segmentation", "masks": "roofs", "classes": 5},
        },
        "schedule": {"steps": 4},
        "evaluate": {"images": 8},
    }
    config = made_up.with_made_up_data(matrix.of_tree(tree), tmp_path, ranks=2)
    a, b = (Manifest.read(config.records_of(name)) for name in ("a", "b"))
    assert (len(a.classes), len(b.classes)) == (3, made_up.DEFAULT_CLASSES)
    assert (list(a.masks), len(b.masks["roofs"].classes)) == ([], 5)
    # Enough for the batches of both ranks.
    assert a.splits["val"].records + b.splits["val"].records == made_up.EVALUATION_BATCHES * 8 * 2


def test_the_matrix_has_every_configuration_and_feature() -> None:
    names = [row.name for row in matrix.rows()]
    assert "`configs/quickstart.yaml`" in names and "`configs/real/gid_mtl5.yaml`" in names
    assert set(matrix.FEATURES) <= set(names)
    assert [row.name for row in matrix.rows("buckets")] == ["reduction: buckets"]


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (Result("910A", "O2", 2, refused=("Fancy",), errors={"step": "x"}), "no: Fancy"),
        (Result("910A", "O2", 2, errors={"step": "RuntimeError: x"}), "no: RuntimeError: x"),
        (Result("910B", "O0", 2), "compiles"),
        (
            Result(
                "910B",
                "O0",
                2,
                step=Work({"aclnn": {"aclnnAdd": 2}}, casts=1, syncs={"stream": 2.5}),
                evaluation=Work({"aclop": {"Cast": 3}}, messages=Messages()),
                memory=1_230_000_000,
            ),
            "2 launches, 1 casts, 2.5 waits; evaluation 3; 1.23 GB",
        ),
        (
            Result(
                "910A",
                "O2",
                2,
                step=Work({"graph": {"1": 1}}, casts=4, syncs={"device": 1}, nodes=900),
                evaluation=Work({"graph": {"2": 1}}),
            ),
            "1 graph of 900 operators, 4 casts, 1 waits",
        ),
    ],
)
def test_a_cell_of_the_matrix(result: Result, text: str) -> None:
    assert matrix.cell(result) == text
