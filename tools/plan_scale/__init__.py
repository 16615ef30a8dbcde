"""python -m tools plan-scale: how long a step takes on many devices, by a model, before there are.

``links`` has the formulas of the reductions, ``network`` the size of a network, ``machines`` the
published figures, ``model`` the step made of them; ``measure``, ``fit`` and ``check`` compare the
model with real jobs on this machine; ``exercises`` are the parts of a job that run at full size.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tools.plan_scale import exercise, machines, page, text
from tools.plan_scale.check import check
from tools.plan_scale.fit import read
from tools.plan_scale.model import Branches, images_for, predict
from tools.plan_scale.options import devices_of, plan_of
from train.errors import UserError

_BRANCHES: tuple[Branches, ...] = ("local", "allreduce")
_EFFICIENCY = 0.9
_MOST_IMAGES = 1 << 20

_EPILOG = """\
what to do:
  CONFIG     predict a configuration's steps
  SIZES      the same for shared=N,branches=N,multiplications=N,tasks=N: trainable values of the
             shared branch and of all task branches, multiplications per image of a forward pass
  measure    run jobs of 1, 2 and 4 ranks on this machine and write --out (10 minutes, 2 cores)
  check      compare the jobs of --measurement with the model
  exercise   run plan, launcher and rank tables at 8,192 ranks, 1,000 tasks and 10^9 records
  update     make the tables of --page anew

The figures of the machines, and what is assumed, are in docs/scale.md."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.description = "Predict step time, images/s and efficiency on many devices."
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("what", metavar="CONFIG|SIZES|measure|check|exercise|update", help="see below")
    add("--devices", metavar="N,N", default="8,64,1024,8192", help="default: %(default)s")
    add("--machine", default="ascend910b", help=f"{', '.join(machines.names())} (%(default)s)")
    add("--images", metavar="N", type=_positive, default=16, help="per data set and rank (16)")
    add("--tasks", metavar="K", type=_positive, help="K tasks like the first of CONFIG")
    add(
        "--classes",
        metavar="C",
        type=_positive,
        help="of every task (default: as in CONFIG, in its data if they are there, or else 30)",
    )
    add("--wire", choices=("float32", "float16", "bfloat16"), default="float32")
    add(
        "--overlap",
        metavar="F",
        type=float,
        default=0.0,
        help="part of the gradient reduced while the rest is computed (default: 0, as it is)",
    )
    add(
        "--jitter",
        metavar="F",
        type=float,
        default=0.0,
        help="standard deviation of a rank's compute time (default: 0)",
    )
    add("--latency", metavar="F", type=float, default=1.0, help="factor on the links' latency")
    add("--speed", metavar="F", type=float, default=1.0, help="factor on the devices' speed")
    add("--markdown", action="store_true", help="tables for a Markdown page")
    add("--json", metavar="FILE", type=Path, help="write the figures into a file too")
    add("--measurement", metavar="FILE", type=Path, default=Path("docs/runs/scale.json"))
    add("--out", metavar="FILE", type=Path, help="of measure")
    add("--page", metavar="FILE", type=Path, default=Path("docs/scale.md"), help="of update")


def _positive(word: str) -> int:
    value = int(word)
    if value < 1:
        raise ValueError
    return value


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Runs the command; returns the exit code."""
    if arguments.what == "measure":
        # Imported here since nothing else starts processes.
        from tools.plan_scale.measure import measure

        if arguments.out is None:
            raise UserError("measure: --out FILE is missing")
        measure(arguments.out)
        return 0
    if arguments.what == "update":
        _update(arguments.page)
        return 0
    rows, tree = _result(arguments)
    if arguments.json is not None:
        try:
            arguments.json.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{arguments.json}: cannot be written: {error.strerror}") from None
    print(text.table(rows, arguments.markdown))
    return 0


def table_of(words: list[str]) -> str:
    """The table of a command line, for a Markdown page."""
    parser = argparse.ArgumentParser(prog="plan-scale")
    add_arguments(parser)
    return text.table(_result(parser.parse_args(words))[0], markdown=True)


def _update(file: Path) -> None:
    try:
        before = file.read_text(encoding="utf-8")
        file.write_text(page.updated(before, table_of), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None


def _result(arguments: argparse.Namespace) -> tuple[text.Rows, Any]:
    """The rows of a table, and the figures in it as plain values."""
    known = {"check": _check, "exercise": _exercise}
    return known.get(arguments.what, _predict)(arguments)


def _predict(arguments: argparse.Namespace) -> tuple[text.Rows, Any]:
    machine = machines.machine(arguments.machine)
    for name in ("latency", "speed"):
        if not 0 < getattr(arguments, name) < float("inf"):
            raise UserError(f"--{name} must be a number above 0, not {getattr(arguments, name):g}")
    machine = machine.with_latency(arguments.latency).with_speed(arguments.speed)
    devices = devices_of(arguments.devices, machine.node)
    plans = [replace(plan_of(arguments), branches=branches) for branches in _BRANCHES]
    found = [
        (
            plan,
            predict(plan, machine, ranks),
            images_for(plan, machine, ranks, _EFFICIENCY, _MOST_IMAGES),
        )
        for ranks in devices
        for plan in plans
    ]
    message = {plan.branches: plan.message for plan in plans}
    rows = text.predictions(
        [(plan.branches, step, images) for plan, step, images in found], message
    )
    steps = [text.step_tree(p.branches, step, p.message, images) for p, step, images in found]
    return rows, {"machine": arguments.machine, "network": vars(plans[0].network), "steps": steps}


def _check(arguments: argparse.Namespace) -> tuple[text.Rows, Any]:
    rows = check(read(arguments.measurement))
    tree = [{**vars(row), "predicted": row.predicted, "error": row.error} for row in rows]
    return text.checks(rows), tree


def _exercise(arguments: argparse.Namespace) -> tuple[text.Rows, Any]:
    results = {name: exercise.exercise(name) for name in exercise.names()}
    return exercise.rows(results), results
