"""The run folder: resolved configuration, checkpoints, metrics, summary. Only rank 0 writes it."""

import errno
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from train.config.reader import dump_config
from train.config.schema import Config
from train.errors import UserError
from train.files import disk_of, free_bytes, read_json, remove_unfinished, replace_file, told
from train.run.checkpoint import VALIDATION, Checkpoint, note_validation
from train.run.checkpoint_folder import (
    Best,
    best_of,
    checkpoints_in,
    load_newest,
    name_best,
    remove_leftovers,
    remove_others,
    save_checkpoint,
    whole_in,
)
from train.run.event_files import FOLDER, EventFiles
from train.run.final_report import REPORT
from train.run.metrics_file import MetricsFile
from train.run.object_storage import build_uploader
from train.run.ownership import Ownership
from train.run.saver import Saver, insist
from train.storage.retry import StorageError
from train.storage.run_download import CHECKPOINTS, CONFIG, METRICS, step_of
from train.storage.run_upload import Outcome
from train.tasks.registry import percent

Values = dict[str, Any]

_say: Callable[[str], None] = partial(print, flush=True)


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
        self._checkpoints = self.path / CHECKPOINTS
        self._metrics = MetricsFile(self.path / METRICS, _say, self._require_own)
        self._events = EventFiles(self.path / FOLDER, _say) if config.tensorboard else None
        self._saver = Saver(self._checkpoints, self._write_checkpoint, _say)
        self._summary = self.path / "summary.json"
        # Brings what is in the folder to object storage.
        self._uploader = build_uploader(config) if is_first else None

    def start(self, step: int, bytes_of_checkpoint: int) -> None:
        """Make the folder ready for a run that goes on at ``step``.

        Raises:
            UserError: The folder cannot be written, has no room for what the run saves, or object
                storage does not take it.
        """
        try:
            self._checkpoints.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self._checkpoints)
            remove_unfinished(self.path, [CONFIG, METRICS, self._summary.name, REPORT])
            self._require_room(step, bytes_of_checkpoint)
            self._summary.unlink(missing_ok=True)
            (self.path / REPORT).unlink(missing_ok=True)
            replace_file(self.path / CONFIG, dump_config(self._config).encode())
            self._metrics.begin(step)
            if self._events is not None:
                self._events.begin(self.path / METRICS)
            self._name_best()
        except OSError as error:
            raise UserError(f"run_dir: {told(error)}") from None
        if self._uploader is not None:
            self._uploader.start(step)

    def _require_room(self, step: int, size: int) -> None:
        """Refuse to begin what cannot be saved: for a while, one checkpoint more than are kept."""
        settings, steps = self._config.checkpoint, self._config.schedule.steps
        every = settings.every or steps
        saves = (steps - 1) // every - step // every + 1
        most = settings.keep + 1 + settings.keep_best - len(whole_in(self._checkpoints))
        # Which of them an evaluation will add, nobody knows.
        number = max(1, most) if settings.keep_best else min(saves, max(1, most))
        if free_bytes(self._checkpoints) < number * size:
            raise UserError(
                f"run_dir: {self.path}: no room for {number} checkpoints of {size / 1e6:,.1f} MB "
                f"({disk_of(self.path, number * size)}): make room, choose another run_dir=..., or "
                "a smaller checkpoint.keep"
            )

    def log(self, step: int, images: int, **values: Any) -> None:
        """Append a line to metrics.jsonl.

        Args:
            step: Steps done.
            images: Images trained, over all ranks.
            values: What the line says.
        """
        line = {"step": step, "time": round(time.time(), 3), "images": images, **values}
        self._metrics.add(json.dumps(line))
        if self._events is not None:
            self._events.add(line)

    def write_summary(self, summary: Values) -> None:
        """Write summary.json, the last file of a run.

        Raises:
            StorageError: It could not be written, however long that was tried.
        """
        self._put_summary(summary, self._config.checkpoint.wait_seconds)

    def _put_summary(self, summary: Values, seconds: float) -> None:
        content = (json.dumps(summary, indent=1) + "\n").encode()
        error = insist(lambda: replace_file(self._summary, content), seconds, lambda: None)
        if error is not None:
            raise StorageError(f"{told(error)}: the same command writes it when it can be written")

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
        """Begin to write a checkpoint; then older ones than are kept go, and it is uploaded."""
        self._saver.save(checkpoint)

    def settle(self, seconds: float, alive: Callable[[], None]) -> str | None:
        """Wait for the newest checkpoint; return why it is not on the disk after so long."""
        return self._saver.settle(seconds, alive)

    def is_best(self, validation: Mapping[str, Any] | None) -> bool:
        """Return whether a validation is better than those of all checkpoints, if that counts."""
        if validation is None or not self._config.checkpoint.keep_best:
            return False
        self._saver.wait()
        best = self._best()
        if best is not None and best[1]["mean"] >= validation["mean"]:
            return False
        _say(f"best so far on val, with a mean of {percent(validation['mean'])}: it is kept")
        return True

    def complete(self, validation: Mapping[str, Any] | None, alive: Callable[[], None]) -> None:
        """Wait for the last checkpoint of the run, and note what its evaluation has given.

        Raises:
            StorageError: It could not be written.
        """
        seconds = self._config.checkpoint.wait_seconds
        if problem := self.settle(seconds, alive):
            whole = whole_in(self._checkpoints)
            where = whole[-1].name if whole else "the beginning"
            raise StorageError(
                f"the last checkpoint could not be written for {seconds:g} s: {problem}: the run "
                f"is not complete, and the same command goes on from {where}"
            )
        settings = self._config.checkpoint
        if validation is not None:
            last = whole_in(self._checkpoints)[-1]

            def note() -> None:
                note_validation(last, validation)
                if settings.keep_best:
                    remove_others(self._checkpoints, last, settings.keep, keep_best=True)

            if error := insist(note, seconds, alive):
                raise StorageError(f"{told(error)}: the same command evaluates again")

    def best(self) -> Values | None:
        """Return which checkpoint is the best, if that is kept, for the summary."""
        found = self._best() if self._config.checkpoint.keep_best else None
        if found is None:
            return None
        path, validation = found
        step = step_of(path.name)
        return {"step": step, "checkpoint": f"{CHECKPOINTS}/{path.name}", VALIDATION: validation}

    def _best(self) -> Best | None:
        return best_of(whole_in(self._checkpoints))

    def _name_best(self) -> None:
        name_best(self._checkpoints, self._best() if self._config.checkpoint.keep_best else None)

    def _write_checkpoint(self, checkpoint: Checkpoint) -> None:
        self._require_own()
        # Where the disk has gone, nothing is written to the one below.
        if not (self.path / CONFIG).exists():
            raise OSError(errno.ENOENT, "the run folder has gone", str(self.path))
        self._checkpoints.mkdir(exist_ok=True)
        settings = self._config.checkpoint
        save_checkpoint(self._checkpoints, checkpoint, settings.keep, settings.keep_best)
        if self._uploader is not None:
            self._uploader.soon()

    def _require_own(self) -> None:
        if self._owner is not None:
            try:
                self._owner.require()
            except UserError as error:
                _say(f"error: {error}")  # the log that the launcher reads has gone, too
                raise

    def close(self, seconds: float | None = None) -> None:
        """Wait until object storage has everything, then let others have the folder.

        Args:
            seconds: How long at most; by default ``storage.upload_seconds``.
        """
        try:
            self._saver.wait()
            if missing := self._metrics.missing():
                _say(f"warning: {missing}")
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
        self._put_summary({**summary, "storage": noted}, 0.0)

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


def is_incomplete(summary: Values | None) -> bool:
    """Return whether a summary notes that results are missing in object storage."""
    storage = (summary or {}).get("storage")
    return isinstance(storage, dict) and bool(storage.get("missing"))
