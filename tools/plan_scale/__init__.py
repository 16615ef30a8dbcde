"""python -m tools plan-scale: how long a step takes on many devices, by a model, before there are.

``network`` counts what a configuration computes, launches and sends; ``prediction`` makes a step of
that, by the published figures of devices (``devices.yaml``) and the formulas of reductions. Every
prediction is a range, since most figures are.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from tools.common import console
from tools.common.command_line import refused
from tools.plan_scale.prediction import Machine, known_machines, predict, spans
from train.config.reader import load_config
from train.config.schema import Config
from train.errors import UserError

_MOST_DEVICES = 1_000_000
_HEADINGS = "ranks, branches|step|images/s|efficiency|reduced|reduction|of the step"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.description = "Predict step time, images/s and efficiency on many devices."
    parser.epilog = "The figures of the machines, and what is assumed, are in docs/scale.md."
    add = parser.add_argument
    add("config", metavar="CONFIG", type=Path, help="YAML file, see configs/")
    text = "replaces a value of the file, such as jit_level or reduction.precision"
    add("overrides", metavar="key.sub=value", nargs="*", help=text)
    add("--devices", metavar="N,N", default="8,64,1024,8192", help="default: %(default)s")
    add("--machine", default="ascend910b", help=f"{', '.join(known_machines())} (%(default)s)")
    add("--images", metavar="N", type=_positive, default=16, help="per data set and rank (16)")
    add("--tasks", metavar="K", type=_positive, help="K tasks like the first of CONFIG")
    text = "of every task (default: as in CONFIG, in its data if they are there, or else 30)"
    add("--classes", metavar="C", type=_positive, help=text)
    text = "part of the reduction that is hidden behind the computing (default: 0)"
    add("--overlap", metavar="F", type=float, default=0.0, help=text)
    add("--markdown", action="store_true", help="a table for a Markdown page")
    add("--json", metavar="FILE", type=Path, help="write the figures into a file too")


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code."""
    machines = _machines_of(arguments)
    devices = _devices_of(arguments.devices, machines[0].node)
    config = _config_of(arguments)
    # Not before: it imports MindSpore, which takes seconds.
    from tools.plan_scale import network

    options = {name: getattr(arguments, name) for name in ("images", "overlap")}
    plans = [replace(plan, **options) for plan in network.plans_of(config, arguments.tasks)]
    rows, steps = [_HEADINGS.split("|")], []
    for ranks in devices:
        for plan in plans:
            found = spans([predict(plan, machine, ranks) for machine in machines])
            rows.append(
                [
                    f"{ranks:,} {plan.branches}",
                    f"{_span(found['seconds'], 1e3)} ms",
                    _span(found["images_per_second"]),
                    f"{_span(found['efficiency'], 100)} %",
                    f"{sum(plan.messages) / 1e6:.2f} MB",
                    f"{_span(found['reduction'], 1e3)} ms",
                    f"{_span(found['reduction_share'], 100)} %",
                ]
            )
            steps.append({"branches": plan.branches, **found})
    if arguments.json is not None:
        tree = {"machine": arguments.machine, "plans": list(map(vars, plans)), "steps": steps}
        with refused(arguments.json, "cannot be written"):
            arguments.json.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
    print(console.table(rows, arguments.markdown))
    return 0


def _span(ends: tuple[float, float], factor: float = 1.0) -> str:
    """Write down a range with two digits, which is more than is known."""
    low, high = (f"{float(f'{end * factor:.2g}'):,.10g}" for end in ends)
    return low if low == high else f"{low}-{high}"


def _machines_of(arguments: argparse.Namespace) -> list[Machine]:
    known = known_machines()
    if arguments.machine not in known:
        names = ", ".join(known)
        raise UserError(f"--machine: {arguments.machine!r} is not known (there are: {names})")
    if not 0 <= arguments.overlap <= 1:
        raise UserError(f"--overlap must be from 0 to 1, not {arguments.overlap:g}")
    return known[arguments.machine]


def _devices_of(text: str, node: int) -> list[int]:
    """Return numbers of devices; above one node they must fill the nodes."""
    found = []
    for part in text.split(","):
        word = part.strip()
        number = int(word) if word.isascii() and word.isdecimal() else 0
        if not 1 <= number <= _MOST_DEVICES or (number > node and number % node):
            raise UserError(
                f"--devices: {word!r} must be a whole number from 1 to {_MOST_DEVICES}, and a "
                f"multiple of {node} above {node}"
            )
        found.append(number)
    return found


def _config_of(arguments: argparse.Namespace) -> Config:
    config = load_config(arguments.config, arguments.overrides)
    if config.precision == "float32":
        raise UserError(
            "precision: must be auto, float16 or bfloat16 for a prediction, not 'float32': no rate "
            "was published"
        )
    if arguments.machine == "ascend910" and config.jit_level not in ("auto", "O2"):
        raise UserError(
            f"jit_level: must be auto or O2 on an Ascend 910 (A), not {config.jit_level!r}"
        )
    classes = {} if arguments.classes is None else {"classes": arguments.classes}
    tasks = {name: task.model_copy(update=classes) for name, task in config.tasks.items()}
    return config.model_copy(update={"tasks": tasks})


def _positive(word: str) -> int:
    value = int(word)
    if value < 1:
        raise ValueError
    return value
