"""Whether MindSpore really computes."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.doctor.finding import FAIL, OK, Finding, Machine, output_of

# Long enough to compile operators on an NPU whose caches are cold.
_SECONDS = 300
_ROOT = Path(__file__).resolve().parents[2]
_REMEDIES = {
    "CPU": 'reinstall: rm -rf .venv, then "bash launch/setup.sh"',
    "GPU": "see the lines about the GPU above",
    "Ascend": "see the lines about Ascend above; CANN's own log is in ~/ascend/log",
}


def examine(machine: Machine) -> Iterator[Finding]:
    """Compiles and runs a small graph, in a process of its own since it may crash."""
    name = f"MindSpore on {machine.device}"
    command = [sys.executable, "-m", "tools.doctor.graph", machine.device]
    try:
        # MindSpore leaves folders where it runs.
        with tempfile.TemporaryDirectory() as folder:
            output = output_of(
                command, _SECONDS, Path(folder), PYTHONPATH=_with_project(machine), GLOG_v="3"
            )
    except (OSError, RuntimeError) as error:
        yield Finding(name, FAIL, str(error), _REMEDIES[machine.device])
    else:
        yield Finding(name, OK, output.splitlines()[-1])


def _with_project(machine: Machine) -> str:
    """Returns PYTHONPATH with the project; CANN's own entries stay in front."""
    return ":".join(filter(None, (machine.environment.get("PYTHONPATH"), str(_ROOT))))
