"""All configurations and features for all chips: a table of a page, made by one command."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
_REFUSED = "no: "
_OF_SEVERAL_RANKS = (
    "scenes",
    "balance: famo",
    "reduction: float16",
    "reduction: bfloat16",
    "reduction: buckets",
    "branches: allreduce",
)
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
    "precision: float32": {"precision": "float32"},
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
        is_shipped: Whether it is one of the project's own.
    """

    name: str
    config: Config
    is_shipped: bool


def rows(only: str = "") -> Iterator[Row]:
    """Yield the shipped configurations, and the features as changes of a small one."""
    for path in sorted(_CONFIGS.rglob("*.yaml")):
        name = f"`{path.relative_to(_CONFIGS.parent)}`"
        if only in name:
            yield Row(name, load_config(path), True)
    for name, changes in FEATURES.items():
        if only in name:
            yield Row(name, of_tree({**_SCENES, **changes}), False)


def of_tree(tree: dict[str, Any]) -> Config:
    """Return the configuration of a tree of keys and values."""
    return Config.model_validate({"run_dir": "runs/ascend-check", **tree})


def at_level(config: Config, level: str) -> Config:
    """Return a configuration with another ``jit_level``."""
    return config.model_copy(update={"jit_level": level})


def write(page: Path, only: str) -> int:
    """Check all rows, write their table into a page; return the exit code.

    Args:
        page: A Markdown page with the two marks :data:`BEGIN` and :data:`END`.
        only: Check only rows with this in their name, and print the table instead.
    """
    before, after = ("", "") if only else _around(page)
    found = list(rows(only))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        cells = [[pool.submit(_cell, row, chip, level) for chip, level in COLUMNS] for row in found]
        texts = [
            [row.name, *(cell.result() for cell in own)]
            for row, own in zip(found, cells, strict=True)
        ]
    headings = [f"{chip} {level}" for chip, level in COLUMNS]
    table = [["configuration", *headings], *texts]
    text = console.table(table, markdown=True)
    if only:
        print(text)
    else:
        page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
    return int(any(cell.startswith(_REFUSED) for row in texts for cell in row))


def _cell(row: Row, chip: str, level: str) -> str:
    """Check a row for a chip; return what its cell says."""
    config = at_level(row.config, level)
    if chip == "910A" and "bfloat16" in (config.precision, config.reduction.precision):
        return "has no bfloat16"
    if not row.is_shipped and (chip, level) == ("910B", "O2") and config.precision != "bfloat16":
        return "as 910A"
    text = cell(check.check(config, chip, ranks=2 if row.name in _OF_SEVERAL_RANKS else 1))
    print(f"{row.name}, {chip} {level}: {text}", file=sys.stderr, flush=True)
    return text


def cell(result: Result) -> str:
    """Say in a few words what a check has found."""
    if result.refused:
        return f"{_REFUSED}{', '.join(result.refused)}"
    if result.errors:
        return f"{_REFUSED}{next(iter(result.errors.values()))}"
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
        f"evaluation {number(evaluation.total)}; {(result.memory or 0) / 1e9:.2f} GB"
    )


def _around(page: Path) -> tuple[str, str]:
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise UserError(f"{page}: must hold the lines {BEGIN} and {END}")
    before, _, rest = text.partition(BEGIN)
    return before, rest.partition(END)[2]
