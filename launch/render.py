"""The plan of a job as text for people and as JSON for programs."""

import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from launch.plan import Process


def as_text(plan: Iterable[Process], log_dir: Path) -> str:
    """Returns a block for every process."""
    blocks = []
    for process in plan:
        cores = "any" if process.cores is None else ",".join(map(str, process.cores))
        lines = [
            process.name,
            f"  host     {process.host}",
            f"  device   {process.device}",
            f"  cores    {cores}",
            f"  log      {log_dir / process.log_name}",
            *(f"  {name}={shlex.quote(value)}" for name, value in process.variables.items()),
            f"  command  {shlex.join(process.command)}",
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def as_json(plan: Iterable[Process], log_dir: Path) -> str:
    """Returns {"processes": [...]}, an object for every process, a line each."""
    lines = (json.dumps(_object(process, log_dir)) for process in plan)
    return '{"processes": [\n' + ",\n".join(lines) + "\n]}"


def _object(process: Process, log_dir: Path) -> Mapping[str, object]:
    return {
        "name": process.name,
        "node": process.node,
        "host": process.host,
        "rank": process.rank,
        "device": process.device,
        "cores": process.cores,
        "log": str(log_dir / process.log_name),
        "variables": process.variables,
        "command": process.command,
    }
