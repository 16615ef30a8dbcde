"""What all runs of a drill share: data, configuration, the undisturbed run, and variables."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.drill.job import ROOT
from train.errors import UserError

STEPS = 64
SAVE_EVERY = 8
_IMAGES_PER_CLASS = 12
_SETS = ("demo_farmland", "demo_coast")


@dataclass(frozen=True)
class Site:
    """Where a drill takes place.

    Attributes:
        folder: All that it writes.
        nproc: Ranks of every run.
        config: The configuration file.
        reference: Run folder of the undisturbed run; it has a checkpoint of every point.
    """

    folder: Path
    nproc: int
    config: Path
    reference: Path

    @property
    def shards(self) -> list[Path]:
        """The files with the records that are trained on."""
        return sorted((self.folder / "data/records" / _SETS[0]).glob("train.*"))

    def variables(self, temporary: Path) -> dict[str, str]:
        """Return the environment of a job whose temporary files go to a folder."""
        given = {k: v for k, v in os.environ.items() if not k.startswith(("MTLN_STORAGE", "AWS_"))}
        return {
            **given,
            "TMPDIR": str(temporary),
            "MTLN_STORAGE_CACHE": str(self.folder / "cache"),
        }


def prepare(folder: Path, nproc: int) -> Site:
    """Make data and configuration, and train the undisturbed run.

    Raises:
        UserError: Training does not work here at all.
    """
    data = folder / "data"
    if not (data / "records").exists():
        _run(["-m", "tools", "demo-data", "--out", str(data), "--seed", "7", "--workers", "1",
              "--images-per-class", str(_IMAGES_PER_CLASS)], os.environ, "make data")  # fmt: skip
    config = folder / "drill.yaml"
    config.write_text(json.dumps(_tree(data)))
    reference = folder / "undisturbed"
    site = Site(folder, nproc, config, reference)
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    command = ["-m", "launch", str(config), f"nproc={nproc}", f"run_dir={reference}"]
    command += ["checkpoint.every=2", "checkpoint.keep=1000"]
    _run(command, site.variables(temporary), "train undisturbed")
    return site


def _tree(data: Path) -> dict[str, Any]:
    """Return a run that has as much state as there is: dynamic weights, average, two slots."""
    return {
        "device": "CPU",
        # Apart, so that compiled graphs are found again though the folder is another.
        "data_root": str(data / "records"),
        "datasets": {name: {"records": name} for name in _SETS},
        "batch": {"images_per_task": 6},
        "image": {"size": 16},
        "model": {"depth": 10, "width": 1, "norm": "batch"},
        "optimizer": {"name": "adamw", "learning_rate": 0.002, "clip_norm": 2.0},
        "loss": {"balance": {"rule": "dwa"}},
        "ema": 0.9,
        "schedule": {"steps": STEPS, "consolidate_every": 2},
        "evaluate": {"every": SAVE_EVERY, "images": 12},
        "checkpoint": {"every": SAVE_EVERY, "keep": 3},
        "log_every": 1,
        "report": False,
    }


def _run(arguments: list[str], variables: Mapping[str, str], what: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        text = " ".join(done.stderr.split())[-600:]
        raise UserError(f"the drill cannot {what} here (exit code {done.returncode}): {text}")
