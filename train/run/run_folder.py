"""The run folder: resolved configuration, metrics.jsonl, summary.json. Only rank 0 writes it."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from train.config.reader import dump_config
from train.config.schema import Config
from train.errors import UserError
from train.files import replace_file
from train.run.object_storage import uploader_of
from train.storage.upload import Outcome, Uploader

Values = dict[str, Any]


class RunFolder:
    """Writes and reads the files of one run.

    Args:
        path: The folder; made when the run starts.
        uploader: Brings what is in it to object storage.
    """

    def __init__(self, path: Path, uploader: Uploader | None = None) -> None:
        self.path = path
        self._uploader = uploader
        self.checkpoints = path / "checkpoints"
        self._metrics = path / "metrics.jsonl"
        self._summary = path / "summary.json"

    @classmethod
    def of(cls, config: Config, is_first: bool) -> "RunFolder":
        """The run folder of a configuration, for rank 0 or one that does not write to it."""
        return cls(config.run_folder, uploader_of(config) if is_first else None)

    def start(self, config: Config, step: int) -> None:
        """Makes the folder ready for a run that goes on at ``step``.

        Raises:
            UserError: The folder cannot be written, or object storage does not take it.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self._summary.unlink(missing_ok=True)
            replace_file(self.path / "config.yaml", dump_config(config).encode())
            self._cut_metrics(step)
        except OSError as error:
            raise UserError(f"run_dir: {error.filename}: {error.strerror}") from None
        if self._uploader is not None:
            self._uploader.start(step)

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

    def upload_soon(self) -> None:
        """There is a new checkpoint."""
        if self._uploader is not None:
            self._uploader.soon()

    def close(self, seconds: float | None = None) -> None:
        """Waits until object storage has everything, the summary last; notes in it what is missing.

        Args:
            seconds: How long at most; by default ``storage.upload_seconds``.
        """
        uploader, summary = self._uploader, self.read_summary()
        if uploader is None or (not uploader.started and not is_incomplete(summary)):
            return
        self._uploader = None
        if not uploader.started:  # completed before, when the store was not to be reached
            uploader.start(None)
        deadline = time.monotonic() + (uploader.seconds if seconds is None else seconds)
        outcome = uploader.finish(deadline)
        if summary is not None:
            if not outcome.missing:
                self.note_storage(summary, uploader.address, outcome)
                outcome = uploader.finish(deadline, with_summary=True)
            if outcome.missing:
                missing = sorted({*outcome.missing, self._summary.name})
                outcome = replace(outcome, missing=missing)
                self.note_storage(summary, uploader.address, outcome)
        uploader.close()
        self._tell(uploader.address, outcome)

    def note_storage(self, summary: Values, address: str, outcome: Outcome) -> None:
        """Notes in the summary what object storage lacks."""
        noted: Values = {"run_dir": address, "missing": outcome.missing}
        if outcome.error is not None:
            noted["error"] = outcome.error
        self.write_summary({**summary, "storage": noted})

    def _tell(self, address: str, outcome: Outcome) -> None:
        if outcome.missing:
            what = f"{len(outcome.missing)} of the results, among them {outcome.missing[0]},"
            print(
                f"warning: {what} could not be uploaded to {address}: {outcome.error}; they are in "
                f"{self.path}, and the same command tries again",
                flush=True,
            )
        else:
            print(f"Results are in {address}", flush=True)

    def _cut_metrics(self, step: int) -> None:
        """Drops the lines after ``step``, which the run will write again."""
        lines = (
            self._metrics.read_text(encoding="utf-8").splitlines() if self._metrics.exists() else []
        )
        kept = [line for line in lines if _step_of(line) <= step] if step else []
        replace_file(self._metrics, "".join(f"{line}\n" for line in kept).encode())


def is_incomplete(summary: Values | None) -> bool:
    """Whether a summary notes that results are missing in object storage."""
    storage = (summary or {}).get("storage")
    return isinstance(storage, dict) and bool(storage.get("missing"))


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # half a line, of a run that was killed
        return float("inf")
