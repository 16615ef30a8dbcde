"""The run folder: resolved configuration, metrics.jsonl, summary.json. Only rank 0 writes it."""

import json
import time
from pathlib import Path
from typing import Any

from train.config import Config
from train.configfile import dump_config
from train.errors import UserError
from train.files import replace_file

Values = dict[str, Any]


class RunFolder:
    """Writes and reads the files of one run.

    Args:
        path: The folder; made when the run starts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._metrics = path / "metrics.jsonl"
        self._summary = path / "summary.json"

    def start(self, config: Config, step: int) -> None:
        """Makes the folder ready for a run that goes on at ``step``.

        Raises:
            UserError: The folder cannot be written.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self._summary.unlink(missing_ok=True)
            replace_file(self.path / "config.yaml", dump_config(config).encode())
            self._cut_metrics(step)
        except OSError as error:
            raise UserError(f"run_dir: {error.filename}: {error.strerror}") from None

    def log(self, step: int, images: int, **values: Any) -> None:
        """Appends a line to metrics.jsonl."""
        line = {"step": step, "time": round(time.time(), 3), "images": images, **values}
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def write_summary(self, summary: Values) -> None:
        """Writes summary.json, the last file of a run."""
        replace_file(self._summary, (json.dumps(summary, indent=1) + "\n").encode())

    def read_summary(self) -> Values | None:
        """The summary of a completed run, or None."""
        try:
            return dict(json.loads(self._summary.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None

    def _cut_metrics(self, step: int) -> None:
        """Drops the lines after ``step``, which the run will write again."""
        lines = (
            self._metrics.read_text(encoding="utf-8").splitlines() if self._metrics.exists() else []
        )
        kept = [line for line in lines if _step_of(line) <= step] if step else []
        replace_file(self._metrics, "".join(f"{line}\n" for line in kept).encode())


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # half a line, of a run that was killed
        return float("inf")
