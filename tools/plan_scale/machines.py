"""The machines of devices.yaml."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tools.plan_scale.links import Level, Link
from train.errors import UserError

_FILE = Path(__file__).with_name("devices.yaml")
# A forward pass, and two products as large for the gradients of a layer's input and weights; a
# multiplication comes with an addition.
OPERATIONS = 3 * 2


@dataclass(frozen=True)
class Machine:
    """A cluster of equal nodes.

    Attributes:
        title: Name for tables.
        node: Devices of a node.
        inside: The links within a node.
        between: The links between nodes, one per device.
        speed: Operations per second that a network really reaches on a device.
        overhead: Seconds of a step that do not depend on the number of images.
    """

    title: str
    node: int
    inside: Level
    between: Level
    speed: float
    overhead: float

    def with_latency(self, factor: float) -> Machine:
        """The same with other latencies of all links."""

        def slowed(level: Level) -> Level:
            return replace(level, link=replace(level.link, alpha=level.link.alpha * factor))

        return replace(self, inside=slowed(self.inside), between=slowed(self.between))

    def with_speed(self, factor: float) -> Machine:
        """The same with devices that compute so much faster."""
        return replace(self, speed=self.speed * factor)


@cache
def _tree() -> dict[str, Any]:
    return dict(yaml.safe_load(_FILE.read_text(encoding="utf-8")))


def names() -> list[str]:
    """The machines that are known."""
    return list(_tree())


def machine(name: str) -> Machine:
    """A machine by name.

    Raises:
        UserError: There is none of this name.
    """
    if name not in _tree():
        raise UserError(f"--machine: {name!r} is not known (there are: {', '.join(names())})")
    tree = _tree()[name]
    compute = tree["compute"]
    return Machine(
        tree["title"],
        tree["node"],
        _level(tree["inside"]),
        _level(tree["between"]),
        compute["rate"] * compute["multiplications"] * OPERATIONS,
        compute["overhead"] * 1e-6,
    )


def _level(tree: dict[str, Any]) -> Level:
    return Level(Link.of(tree["latency"], tree["bandwidth"]), tuple(tree["algorithms"]))
