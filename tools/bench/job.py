"""Starts workers as ranks of MindSpore's own cluster: ``... RANKS FOLDER COMMAND ...``."""

from __future__ import annotations

import sys
from pathlib import Path

from launch.job import Job
from launch.run import run_job


def main() -> int:
    """Runs the job to its end; its exit code."""
    ranks, folder, *command = sys.argv[1:]
    return run_job(Job(command, Path(folder), int(ranks)))


if __name__ == "__main__":
    sys.exit(main())
