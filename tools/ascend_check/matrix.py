"""All configurations and features for all chips: a table of a page, made by one command."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.ascend_check import check
from tools.ascend_check.report import number
from tools.ascend_check.result import Result
from tools.common import console
from train.config.reader import load_config
from train.config.schema import Config
from train.errors import UserError

# What a row is checked for: chip and jit_level. A 910A has no other level.
COLUMNS = (("910A", "O2"), ("910B", "O0"), ("910B", "O2"))
BEGIN, END = "<!-- ascend-check --matrix: begin -->", "<!-- ascend-check --matrix: end -->"

_CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# A network that compiles in seconds; every feature is a change of it.
_SCENES: dict[str, Any] = {
    "datasets": {"a": {"records": "none/a"}, "b": {"records": "none/b"}},
    "tasks": {"a": {"classes": 3}, "b": {"classes": 4}},
    "batch": {"images_per_task": 8},
    "image": {"size": 16},
    "model": {"depth": 10, "width": 1},
    "schedule": {"steps": 4, "consolidate_every": 2},
    "evaluate": {"images": 12},
}
_PIXELS = {
    "tasks": {**_SCENES["tasks"], "c": {"dataset": "b", "kind": "segmentation", "classes": 5}}
}
_THIRTY = {
    "datasets": {f"d{i}": {"records": "none/d"} for i in range(30)},
    "tasks": {f"d{i}": {"classes": 5} for i in range(30)},
    "evaluate": {"images": 60},
}
FEATURES: dict[str, dict[str, Any]] = {
    "scenes": {},
    "scenes and pixels": {**_PIXELS, "loss": {"dice": 0.5}},
    "pixels alone": {
        "datasets": {"b": {"records": "none/b"}},
        "tasks": {"c": _PIXELS["tasks"]["c"]},
    },
    "30 tasks": _THIRTY,
    "one task": {"datasets": {"a": {"records": "none/a"}}, "tasks": {"a": {"classes": 3}}},
    **{
        f"balance: {rule}": {"loss": {"balance": {"rule": rule}}}
        for rule in ("uncertainty", "dwa", "famo")
    },
    "balance: fixed": {"loss": {"balance": {"rule": "fixed", "weights": {"a": 1.0, "b": 2.0}}}},
    "norm: group": {"model": {**_SCENES["model"], "norm": "group"}},
    "norm: domain": {"model": {**_SCENES["model"], "norm": "domain"}},
    "precision: float16": {"precision": "float16"},
    "precision: bfloat16": {"precision": "bfloat16"},
    "reduction: float16": {"reduction": {"precision": "float16"}},
    "reduction: bfloat16": {"reduction": {"precision": "bfloat16"}},
    "reduction: buckets": {"reduction": {"bucket_mb": 0.1}},
    "branches: allreduce": {"branches": "allreduce"},
    "optimizer: adamw, clipped": {"optimizer": {"name": "adamw", "clip_norm": 1.0}},
    "branch: linear": {"model": {**_SCENES["model"], "branch": "linear"}},
    "ema and flips": {"ema": 0.99, "evaluate": {"images": 24, "flips": True}},
    "mixup and cutmix": {"augment": {"mixup": 0.2, "cutmix": 1.0}},
    **{
        f"trunk: {trunk}": {"model": {"trunk": trunk}, "image": {"size": 32}}
        for trunk in ("resnet18", "resnet34", "resnet50")
    },
}


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: Its heading.
        config: The configuration.
    """

    name: str
    config: Config


def rows(only: str = "") -> Iterator[Row]:
    """Yield the shipped configurations, and the features as changes of a small one."""
    for path in sorted(_CONFIGS.rglob("*.yaml")):
        name = f"`{path.relative_to(_CONFIGS.parent)}`"
        if only in name:
            yield Row(name, load_config(path))
    for name, changes in FEATURES.items():
        if only in name:
            yield Row(name, of_tree({**_SCENES, **changes}))


def of_tree(tree: dict[str, Any]) -> Config:
    """Return the configuration of a tree of keys and values."""
    return Config.model_validate({"run_dir": "runs/ascend-check", **tree})


def write(page: Path, only: str) -> int:
    """Check all rows, write their table into a page; return the exit code.

    Args:
        page: A Markdown page with the two marks :data:`BEGIN` and :data:`END`.
        only: Check only rows with this in their name, and print the table instead.
    """
    before, after = ("", "") if only else _around(page)
    headings = [f"{chip} {level}" for chip, level in COLUMNS]
    table, passed = [["configuration", *headings]], True
    for row in rows(only):
        cells = [row.name]
        for chip, level in COLUMNS:
            found = check.check(row.config, chip, level, ranks=2)
            passed &= found.passed
            cells.append(cell(found))
            print(f"{row.name}, {chip} {level}: {cells[-1]}", file=sys.stderr, flush=True)
        table.append(cells)
    text = console.table(table, markdown=True)
    if only:
        print(text)
    else:
        page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
    return int(not passed)


def cell(result: Result) -> str:
    """Say in a few words what a check has found."""
    if result.refused:
        return f"no: {', '.join(result.refused)}"
    if result.errors:
        return f"no: {next(iter(result.errors.values()))}"
    step, evaluation = result.step, result.evaluation
    if step is None or evaluation is None:
        return "compiles"
    if step.nodes:
        return (
            f"{number(step.total)} graph of {step.nodes} operators, {number(step.casts)} casts, "
            f"{number(step.waits)} waits"
        )
    return (
        f"{number(step.total)} launches, {number(step.casts)} casts, {number(step.waits)} waits; "
        f"evaluation {number(evaluation.total)}"
    )


def _around(page: Path) -> tuple[str, str]:
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise UserError(f"{page}: must hold the lines {BEGIN} and {END}")
    before, _, rest = text.partition(BEGIN)
    return before, rest.partition(END)[2]
