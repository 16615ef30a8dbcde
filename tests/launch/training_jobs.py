"""Real training jobs of two ranks, whose processes a test can find and hit at chosen moments."""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.marked import Marked
from train.run.checkpoint_folder import load_newest

_SIGTERM_PENDING = 1 << (signal.SIGTERM - 1)


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

    def hit(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to one of its processes, as soon as that is there."""
        self.wait_until(lambda: self.pid(name) != 0)
        os.kill(self.pid(name), number)

    def wait_for(self, moment: str, rng: random.Random) -> None:
        """Waits for "starting", "compiling" or "training", at a random moment within."""
        if moment == "starting":
            time.sleep(rng.uniform(0.3, 3))
            return
        # Written when the ranks have found each other; the first step is compiled next.
        config = self.run_dir / "config.yaml"
        self.wait_until(lambda: config.exists() and config.stat().st_mtime > self.began)
        time.sleep(rng.uniform(0.2, 1))
        if moment == "training":
            steps = rng.randint(1, 6)
            self.wait_until(lambda: len(steps_in(self.run_dir, self.began)) >= steps)
            time.sleep(rng.uniform(0, 0.1))

    def stop_while_saving(self) -> int:
        """Stops rank 0 in the middle of writing a checkpoint; its process number."""
        self.wait_until(lambda: self.pid("rank 0") != 0)
        pid = self.pid("rank 0")
        folder = self.run_dir / "checkpoints"

        while True:
            while not any(folder.glob(f".step_*.{pid}/*")):  # it is there for milliseconds only
                assert self.process.poll() is None, self.process.communicate()
                time.sleep(0.001)
            os.kill(pid, signal.SIGSTOP)
            self.wait_until(lambda: "(stopped)" in self._status(pid))
            if any(folder.glob(f".step_*.{pid}/*")):
                return pid
            os.kill(pid, signal.SIGCONT)  # it was quicker: the next one

    def wait_for_pending_term(self, pid: int) -> None:
        """Waits until a stopped process has been sent TERM."""
        self.wait_until(lambda: bool(self._pending(pid) & _SIGTERM_PENDING))

    def _pending(self, pid: int) -> int:
        lines = self._status(pid).splitlines()
        return next(int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd:"))

    def _status(self, pid: int) -> str:
        return Path("/proc", str(pid), "status").read_text()
