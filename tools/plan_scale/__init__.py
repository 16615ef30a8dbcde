"""python -m tools plan-scale: how long a step takes on many devices, by a model, before there are.

``network`` counts what a configuration computes and sends; ``prediction`` makes a step of that, by
the published figures of devices (``devices.yaml``) and the formulas of reductions.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from tools.common import console
from tools.common.command_line import refused
from tools.plan_scale.prediction import Machine, images_for, known_machines, predict
from train.config.reader import load_config
from train.config.schema import Config
from train.errors import UserError

_MOST_DEVICES = 1_000_000
_HEADINGS = "ranks, branches|step|images/s|efficiency|reduced|reduction|of the step|images for 90 %"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.description = "Predict step time, images/s and efficiency on many devices."
    parser.epilog = "The figures of the machines, and what is assumed, are in docs/scale.md."
    add = parser.add_argument
    add("config", metavar="CONFIG", type=Path, help="YAML file, see configs/")
    add("--devices", metavar="N,N", default="8,64,1024,8192", help="default: %(default)s")
    add("--machine", default="ascend910b", help=f"{', '.join(known_machines())} (%(default)s)")
    add("--images", metavar="N", type=_positive, default=16, help="per data set and rank (16)")
    add("--tasks", metavar="K", type=_positive, help="K tasks like the first of CONFIG")
    text = "of every task (default: as in CONFIG, in its data if they are there, or else 30)"
    add("--classes", metavar="C", type=_positive, help=text)
    text = "type of the gradients on the way (default: as in CONFIG)"
    add("--wire", choices=("float32", "float16", "bfloat16"), help=text)
    text = "part of the reduction that is hidden behind the computing (default: 0)"
    add("--overlap", metavar="F", type=float, default=0.0, help=text)
    text = "standard deviation of a rank's compute time (default: 0)"
    add("--jitter", metavar="F", type=float, default=0.0, help=text)
    add("--latency", metavar="F", type=float, default=1.0, help="factor on the links' latency")
    add("--speed", metavar="F", type=float, default=1.0, help="factor on the devices' speed")
    add("--markdown", action="store_true", help="a table for a Markdown page")
    add("--json", metavar="FILE", type=Path, help="write the figures into a file too")


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code."""
    machine = _machine_of(arguments)
    devices = _devices_of(arguments.devices, machine.node)
    config = _config_of(arguments)
    # Not before: it imports MindSpore, which takes seconds.
    from tools.plan_scale import network

    options = {name: getattr(arguments, name) for name in ("images", "overlap", "jitter")}
    plans = [replace(plan, **options) for plan in network.plans_of(config, arguments.tasks)]
    rows, steps = [_HEADINGS.split("|")], []
    for ranks in devices:
        for plan in plans:
            step = predict(plan, machine, ranks)
            images = images_for(plan, machine, ranks, efficiency=0.9, most=1 << 20)
            rows.append(
                [
                    f"{step.ranks:,} {plan.branches}",
                    f"{1e3 * step.seconds:.2f} ms",
                    f"{step.images_per_second:,.0f}",
                    f"{100 * step.efficiency:.1f} %",
                    f"{sum(plan.messages) / 1e6:.2f} MB",
                    f"{1e3 * step.reduction:.2f} ms",
                    f"{100 * step.reduction_share:.1f} %",
                    "-" if images is None else f"{images:,}",
                ]
            )
            steps.append({"branches": plan.branches, **vars(step), "images_for_90_percent": images})
    if arguments.json is not None:
        tree = {"machine": arguments.machine, "plans": list(map(vars, plans)), "steps": steps}
        with refused(arguments.json, "cannot be written"):
            arguments.json.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")
    print(console.table(rows, arguments.markdown))
    return 0


def _machine_of(arguments: argparse.Namespace) -> Machine:
    known = known_machines()
    if arguments.machine not in known:
        names = ", ".join(known)
        raise UserError(f"--machine: {arguments.machine!r} is not known (there are: {names})")
    for name in ("latency", "speed"):
        if not 0 < getattr(arguments, name) < float("inf"):
            raise UserError(f"--{name} must be a number above 0, not {getattr(arguments, name):g}")
    for name in ("overlap", "jitter"):
        if not 0 <= getattr(arguments, name) <= 1:
            raise UserError(f"--{name} must be from 0 to 1, not {getattr(arguments, name):g}")
    return known[arguments.machine].scaled(arguments.latency, arguments.speed)


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
    config = load_config(arguments.config)
    classes = {} if arguments.classes is None else {"classes": arguments.classes}
    wire = {} if arguments.wire is None else {"precision": arguments.wire}
    tasks = {name: task.model_copy(update=classes) for name, task in config.tasks.items()}
    reduction = config.reduction.model_copy(update=wire)
    return config.model_copy(update={"tasks": tasks, "reduction": reduction})


def _positive(word: str) -> int:
    value = int(word)
    if value < 1:
        raise ValueError
    return value
