"""From the words of the command line to a plan."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from tools.plan_scale.model import Plan
from tools.plan_scale.network import Network, network_of
from train.config.reader import load_config
from train.config.schema import Config
from train.errors import UserError

_WIRE = {"float32": 4, "float16": 2, "bfloat16": 2}
_SIZES = ("shared", "branches", "multiplications", "tasks")
_MOST_DEVICES = 1_000_000


def plan_of(arguments: argparse.Namespace) -> Plan:
    """The plan of a configuration, or of sizes.

    Raises:
        UserError: Something is wrong with either, or with an option.
    """
    if "=" in arguments.what:
        if arguments.tasks is not None or arguments.classes is not None:
            raise UserError("--tasks and --classes are for a configuration, not for sizes")
        plan = _of_sizes(arguments.what, arguments.images)
    else:
        plan = _of_config(arguments)
    for name in ("overlap", "jitter"):
        if not 0 <= getattr(arguments, name) <= 1:
            raise UserError(f"--{name} must be from 0 to 1, not {getattr(arguments, name):g}")
    return replace(
        plan,
        wire_bytes=_WIRE[arguments.wire],
        overlap=arguments.overlap,
        jitter=arguments.jitter,
    )


def devices_of(text: str, node: int) -> list[int]:
    """Numbers of devices; above one node they must fill the nodes.

    Raises:
        UserError: One of them is no such number.
    """
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


def _of_config(arguments: argparse.Namespace) -> Plan:
    config = load_config(Path(arguments.what))
    if arguments.tasks is not None:
        config = with_tasks(config, arguments.tasks)
    if arguments.classes is not None:
        config = with_classes(config, arguments.classes)
    return Plan(
        network_of(config),
        tasks=len(config.tasks),
        datasets=len(config.datasets),
        images=arguments.images,
        consolidate_every=config.schedule.consolidate_every,
        slots=1 if config.optimizer.name == "sgd" else 2,
    )


def with_tasks(config: Config, number: int) -> Config:
    """The same configuration with so many tasks, each with a data set, like its first one."""
    first = next(iter(config.tasks))
    dataset = config.datasets[config.dataset_of(first)]
    names = [f"task{i}" for i in range(number)]
    return config.model_copy(
        update={
            "datasets": dict.fromkeys(names, dataset),
            "tasks": {
                name: config.tasks[first].model_copy(update={"dataset": name}) for name in names
            },
        }
    )


def with_classes(config: Config, number: int) -> Config:
    """The same configuration with so many classes of every task."""
    tasks = {
        name: task.model_copy(update={"classes": number}) for name, task in config.tasks.items()
    }
    return config.model_copy(update={"tasks": tasks})


def _of_sizes(text: str, images: int) -> Plan:
    given = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        try:
            given[key.strip()] = int(float(value))
        except ValueError:
            raise UserError(f"{key.strip()}: must be a number, not {value!r}") from None
    if set(given) != set(_SIZES) or any(value < 1 for value in given.values()):
        raise UserError(
            f"{text!r}: sizes look like {','.join(f'{key}=N' for key in _SIZES)}, all above 0"
        )
    network = Network(given["shared"], given["branches"], 0, given["multiplications"])
    return Plan(network, given["tasks"], given["tasks"], images)
