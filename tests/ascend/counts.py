"""Small networks that have all features between them, and what a step of each is pinned to.

``python -m tests.ascend.counts [WORD ...]`` measures again (only cases and modes with the words
in their names, such as ``joint O0``) and rewrites counts.yaml; what does not compile is left out,
and named.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from tools.ascend_check import check
from tools.ascend_check.matrix import at_level, of_tree
from tools.ascend_check.result import Result, Work

FILE = Path(__file__).with_name("counts.yaml")

_TWO = {"a": {"records": "none/a"}, "b": {"records": "none/b"}}
_SCENES: dict[str, Any] = {"a": {"classes": 3}, "b": {"classes": 4}}
_PIXELS = {"dataset": "b", "kind": "segmentation", "classes": 5}
_SMALL: dict[str, Any] = {
    "datasets": _TWO,
    "tasks": _SCENES,
    "batch": {"images_per_task": 8},
    "image": {"size": 16},
    "model": {"depth": 10, "width": 1},
    "schedule": {"steps": 4, "consolidate_every": 2},
    "evaluate": {"images": 12},
}
_TRUNK = {"depth": 10, "width": 1}
# Name of the case -> number of ranks, modes, and what is different from the small network above.
# Precision is float16 unless they say otherwise.
CASES: dict[str, tuple[int, tuple[str, ...], dict[str, Any]]] = {
    # What most people run, with a segmentation task and several messages.
    "joint_domain": (
        2,
        ("910A O2", "910B O0"),
        {
            "tasks": {**_SCENES, "pixels": _PIXELS},
            "model": {**_TRUNK, "norm": "domain"},
            "loss": {"dice": 0.5},
            "reduction": {"bucket_mb": 0.2},
        },
    ),
    "adamw_bfloat16": (
        1,
        ("910B O2",),
        {
            "precision": "bfloat16",
            "optimizer": {"name": "adamw", "clip_norm": 1.0},
            "loss": {"balance": {"rule": "uncertainty"}},
            "ema": 0.99,
            "augment": {"mixup": 0.2, "cutmix": 1.0},
            "evaluate": {"images": 24, "flips": True},
        },
    ),
    "famo_group_float32": (
        2,
        ("910A O2", "910B O0"),
        {
            "precision": "float32",
            "model": {**_TRUNK, "norm": "group"},
            "loss": {"balance": {"rule": "famo"}},
            "reduction": {"precision": "float16"},
            "branches": "allreduce",
        },
    ),
    "resnet_linear": (
        1,
        ("910A O2",),
        {
            "datasets": {f"d{i}": {"records": "none/d"} for i in range(4)},
            "tasks": {f"d{i}": {"classes": 5} for i in range(4)},
            "model": {"trunk": "resnet18", "branch": "linear"},
            "image": {"size": 32},
            "loss": {"balance": {"rule": "dwa"}},
            "evaluate": {"images": 12},
        },
    ),
}


PAIRS = [(case, mode) for case, (_, modes, _) in CASES.items() for mode in modes]


def measure(case: str, mode: str) -> Result:
    """Check a case for a chip and a jit_level."""
    ranks, _, changes = CASES[case]
    chip, level = mode.split()
    return check.check(at_level(of_tree({**_SMALL, **changes}), level), chip, ranks)


def pinned(result: Result) -> dict[str, Any]:
    """Return what is pinned of a result: what costs time on a device."""
    return {"step": _counts(result.step), "evaluation": _counts(result.evaluation)}


def read() -> dict[str, dict[str, Any]]:
    """Return what is pinned, by case and mode."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found


def _counts(work: Work | None) -> dict[str, Any]:
    if work is None:
        return {}
    messages = [f"{name} {kind} {count}" for name, kind, count in work.messages.operations]
    return {
        "launches": {interface: _whole(work.of(interface)) for interface in work.launches},
        "casts": _whole(work.casts),
        "syncs": {name: _whole(count) for name, count in work.syncs.items()},
        "copies": {name: _whole(count) for name, count in work.copies.items()},
        "messages": messages,
        **({"nodes": work.nodes} if work.nodes else {}),
    }


def _whole(mean: float) -> float:
    return int(mean) if float(mean).is_integer() else mean


def main(words: list[str]) -> None:
    """Measure and pin the cases and modes whose names have all the words in them."""
    known = read() if FILE.is_file() else {}
    for case, mode in PAIRS:
        if not all(word in f"{case} {mode}" for word in words):
            continue
        found = measure(case, mode)
        print(f"{case}, {mode}: {found.refused or dict(found.errors) or 'passed'}", flush=True)
        of_case = known.setdefault(case, {})
        of_case.pop(mode, None)
        if found.passed:
            of_case[mode] = pinned(found)
        FILE.write_text(yaml.safe_dump(known, sort_keys=True), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
