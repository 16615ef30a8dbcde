"""One attempt of a job on this node: log folder, plan, processes, and why they ended."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launch import failure, supervisor
from launch.description import Job
from launch.devices import Machine
from launch.failure import Cause
from launch.part import Part
from launch.plan import Node, Process, World, make_plan
from launch.signals import Signals
from train.errors import UserError


@dataclass(frozen=True)
class Ended:
    """How an attempt ended on one node, or on all: well if nothing is said.

    Attributes:
        cause: what failed.
        signal_number: the signal that ended it from outside.
    """

    cause: Cause | None = None
    signal_number: int | None = None

    def to_message(self) -> dict[str, Any]:
        """Returns it as plain values."""
        return {"cause": asdict(self.cause) if self.cause else None, "signal": self.signal_number}

    @staticmethod
    def from_message(message: dict[str, Any]) -> "Ended":
        """Reads the plain values."""
        cause = message["cause"]
        return Ended(Cause(**cause) if cause else None, message["signal"])


def run_attempt(
    job: Job,
    part: Part,
    node: Node,
    world: World,
    log_dir: Path,
    machine: Machine,
    signals: Signals,
    nodes: supervisor.Nodes,
) -> Ended:
    """Runs this node's processes until none is left."""
    world = _with_table_file(world, part, log_dir)
    plan = make_plan(job.commands, node, world, machine, os.environ)
    outcome = supervisor.run(plan, log_dir, job.grace, job.hang_timeout, signals, nodes)
    return Ended(failure.explain(outcome, log_dir, job.hang_timeout), outcome.signal_number)


def node_of(part: Part, number: int, host: str, first_rank: int, nproc: int) -> Node:
    """Returns what the plan needs to know of a node."""
    devices = part.devices if number == part.node else None
    return Node(number, host, first_rank, nproc, devices)


def local_plan(job: Job, node: Node, world: World, machine: Machine) -> list[Process]:
    """Returns the plan of a node for a look at it."""
    return make_plan(job.commands, node, world, machine, os.environ)


def log_folder(run_dir: Path, attempt: int) -> Path:
    """Returns where the logs of an attempt go."""
    return run_dir / "logs" / f"attempt_{attempt}"


def next_attempt(run_dir: Path) -> int:
    """Returns the number of the first attempt that has no logs yet."""
    attempt = 0
    while log_folder(run_dir, attempt).exists():
        attempt += 1
    return attempt


def claim_attempt(run_dir: Path) -> int:
    """Makes the log folder of a new attempt; the logs of earlier ones stay.

    Raises:
        UserError: the run folder cannot be written.
    """
    while True:
        attempt = next_attempt(run_dir)
        if make_log_folder(run_dir, attempt, shared=False):
            return attempt


def make_log_folder(run_dir: Path, attempt: int, shared: bool) -> bool:
    """Makes the log folder of an attempt.

    Args:
        run_dir: the run folder.
        attempt: number of the attempt.
        shared: whether it may be there already, made by another node.

    Returns:
        False if it is there already, made by another launcher that was quicker.

    Raises:
        UserError: the run folder cannot be written.
    """
    folder = log_folder(run_dir, attempt)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=shared)
    except FileExistsError:
        if not folder.is_dir():
            raise UserError(f"run folder {run_dir}: {folder.parent} is not a folder") from None
        return False
    except OSError as error:
        raise UserError(f"cannot write run folder {run_dir}: {error.strerror}") from None
    return True


def _with_table_file(world: World, part: Part, log_dir: Path) -> World:
    """Puts the table beside the logs if what was given is not what HCCL reads."""
    if part.table is None or world.size == 1:
        return world
    path = part.table.source
    if part.table.converted:
        path = log_dir / f"rank_table_{part.node}.json"
        path.write_text(part.table.to_json(), encoding="utf-8")
    return World(world.size, rank_table=path.resolve())
