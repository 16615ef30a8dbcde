"""Real training jobs of two ranks, whose processes a test can find and hit at chosen moments."""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.marked import Marked
from train.run.checkpoint_folder import load_newest


def newest_step(run_dir: Path) -> int:
    """The step of the newest whole checkpoint, 0 without one."""
    newest = load_newest(run_dir / "checkpoints")
    return newest[1].step if newest else 0


def steps_in(run_dir: Path, since: float = 0.0) -> list[int]:
    """The steps in metrics.jsonl that were logged since a time."""
    try:
        lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    # The last line may be written at this moment.
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return [row["step"] for row in rows if row["kind"] == "train" and row["time"] >= since]


def write_job(
    folder: Path, tree: dict[str, Any], steps: int, consolidate_every: int, **checkpoint: int
) -> Path:
    """A configuration file of a job of one task: compiling takes longer with every task."""
    schedule = {"steps": steps, "consolidate_every": consolidate_every}
    path = folder / "job.yaml"
    path.write_text(json.dumps({**tree, "schedule": schedule, "checkpoint": checkpoint}))
    return path


class TrainingJob(Marked):
    """``python -m launch CONFIG run_dir=... OPTIONS``.

    Args:
        config: Configuration file.
        run_dir: Run folder, new or that of an earlier start.
        options: Further arguments.
        prefix: A command in whose place the launcher is to run, for instance ``ip netns exec``.
        launcher: What runs the launcher.
        variables: What the environment has on top of this process's.
    """

    def __init__(
        self,
        config: Path,
        run_dir: Path,
        *options: object,
        prefix: Sequence[str] = (),
        launcher: Sequence[str] = (sys.executable, "-m", "launch"),
        **variables: str,
    ) -> None:
        self.run_dir = run_dir
        self.began = time.time()
        command = [*prefix, *launcher, config, f"run_dir={run_dir}"]
        super().__init__([*command, *options], variables)

    def variables(self, pid: int) -> dict[str, str]:
        """The environment of one of its processes; empty if that has ended."""
        try:
            text = Path("/proc", str(pid), "environ").read_bytes().decode(errors="replace")
        except OSError:
            return {}
        return dict(item.split("=", 1) for item in text.split("\0") if "=" in item)

    def pid(self, name: str) -> int:
        """The process number of "launcher", "scheduler" or "rank N", 0 if there is none."""
        if name == "launcher":
            return self.process.pid
        for pid in self.survivors():
            # A process between fork and exec still has the variables of the launcher.
            variables = self.variables(pid)
            if name == "scheduler" and variables.get("MS_ROLE") == "MS_SCHED":
                return pid
            if name == f"rank {variables.get('MS_NODE_ID')}":
                return pid
        return 0

    def listeners(self) -> dict[int, set[str]]:
        """The addresses at which its processes listen, as /proc/net/tcp has them."""
        addresses = {}
        for table in ("tcp", "tcp6"):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == "0A":
                    addresses[f"socket:[{words[9]}]"] = words[1].partition(":")[0]
        found: dict[int, set[str]] = {}
        for pid in self.survivors():
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):  # closed meanwhile
                    if at := addresses.get(str(link.readlink())):
                        found.setdefault(pid, set()).add(at)
        return found

    def hit(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to one of its processes, as soon as that is there."""
        self.wait_until(lambda: self.pid(name) != 0)
        os.kill(self.pid(name), number)
