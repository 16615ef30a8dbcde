"""The run folder: resolved configuration, checkpoints, metrics, summary. Only rank 0 writes it."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from train.config.reader import dump_config
from train.config.schema import Config
from train.errors import UserError
from train.files import read_json, replace_file
from train.run.checkpoint import Checkpoint, checkpoints_in, load_newest, save_checkpoint
from train.run.object_storage import build_uploader
from train.run.ownership import Ownership
from train.storage.run_upload import Outcome

Values = dict[str, Any]


class RunFolder:
    """The files of one run.

    Args:
        config: The run.
        is_first: Whether this is rank 0.
        owner: What keeps other runs out of the folder, until it is closed.

    Attributes:
        path: The folder; made when the run starts.
    """

    def __init__(self, config: Config, is_first: bool, owner: Ownership | None = None) -> None:
        self.path = config.run_folder
        self._owner = owner
        self._config = config
        self._checkpoints = self.path / "checkpoints"
        self._metrics = self.path / "metrics.jsonl"
        self._summary = self.path / "summary.json"
        # Brings what is in the folder to object storage.
        self._uploader = build_uploader(config) if is_first else None

    def start(self, step: int) -> None:
        """Make the folder ready for a run that goes on at ``step``.

        Raises:
            UserError: The folder cannot be written, or object storage does not take it.
        """
        try:
            self._checkpoints.mkdir(parents=True, exist_ok=True)
            self._summary.unlink(missing_ok=True)
            replace_file(self.path / "config.yaml", dump_config(self._config).encode())
            self._cut_metrics(step)
        except OSError as error:
            raise UserError(f"run_dir: {error.filename}: {error.strerror}") from None
        if self._uploader is not None:
            self._uploader.start(step)

    def log(self, step: int, images: int, **values: Any) -> None:
        """Append a line to metrics.jsonl.

        Args:
            step: Steps done.
            images: Images trained, over all ranks.
            values: What the line says.
        """
        line = {"step": step, "time": round(time.time(), 3), "images": images, **values}
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def write_summary(self, summary: Values) -> None:
        """Write summary.json, the last file of a run."""
        replace_file(self._summary, (json.dumps(summary, indent=1) + "\n").encode())

    def read_summary(self) -> Values | None:
        """Return the summary of a completed run, or None."""
        try:
            return dict(read_json(self._summary))
        except (OSError, ValueError):
            return None

    def load_checkpoint(self, say: Callable[[str], None]) -> tuple[Path, Checkpoint] | None:
        """Read the newest whole checkpoint; None if there is no checkpoint.

        Args:
            say: Told of later ones that are not whole.

        Raises:
            UserError: There are checkpoints, but none is whole: nothing of theirs is overwritten.
        """
        newest = load_newest(self._checkpoints)
        found = checkpoints_in(self._checkpoints)
        if found and newest is None:
            raise UserError(
                f"run_dir: no checkpoint in {self._checkpoints} can be read ({found[-1].name} is "
                "damaged or of a newer version): choose another run_dir=..., or remove the folder"
            )
        for path in reversed(found):
            if newest is not None and path == newest[0]:
                break
            say(f"{path} is damaged or not finished: it is not used")
        return newest

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, remove older ones than are kept, and have it uploaded at once."""
        save_checkpoint(self._checkpoints, checkpoint, self._config.checkpoint.keep)
        if self._uploader is not None:
            self._uploader.soon()

    def close(self, seconds: float | None = None) -> None:
        """Wait until object storage has everything, then let others have the folder.

        Args:
            seconds: How long at most; by default ``storage.upload_seconds``.
        """
        try:
            self._finish_upload(seconds)
        finally:
            if self._owner is not None:
                self._owner.release()

    def _finish_upload(self, seconds: float | None) -> None:
        """Upload the rest, the summary last; note in it what is missing."""
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
        """Note in the summary what object storage lacks."""
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
        """Drop the lines after ``step``, which the run will write again."""
        lines = (
            self._metrics.read_text(encoding="utf-8").splitlines() if self._metrics.exists() else []
        )
        kept = [line for line in lines if _step_of(line) <= step] if step else []
        replace_file(self._metrics, "".join(f"{line}\n" for line in kept).encode())


def is_incomplete(summary: Values | None) -> bool:
    """Return whether a summary notes that results are missing in object storage."""
    storage = (summary or {}).get("storage")
    return isinstance(storage, dict) and bool(storage.get("missing"))


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # half a line, of a run that was killed
        return float("inf")
