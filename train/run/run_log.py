"""What a run tells: metrics.jsonl and summary.json in the run folder, and the terminal."""

import platform
from collections import deque
from collections.abc import Mapping
from typing import Any

import mindspore as ms
import numpy as np

from train.config.schedule import Schedule
from train.config.schema import Config
from train.distributed.cluster import Cluster
from train.distributed.collectives import Counts
from train.evaluation.evaluator import Metrics
from train.run.clock import RunClock
from train.run.code_version import code_version
from train.run.display import Display
from train.run.identity import Changes
from train.run.run_folder import RunFolder
from train.step.train_step import StepResults, TrainStep
from train.tasks.registry import KINDS, kind_of

# Of those before it diverged, a run tells so many.
_LOSSES = 5


class RunLog:
    """The record of a run.

    Rank 0 alone writes to the run folder; every rank that has an output of its own shows what
    happens.

    Args:
        config: The run.
        cluster: This rank's place among the others.
        folder: The run folder.
        clock: Times the steps.
        shares: Images of every data set in the mixed batch.

    Attributes:
        say: Shows a line of text.
        begin: Shows after which step the run begins.
        close: Leaves the terminal as it stands.
    """

    def __init__(
        self,
        config: Config,
        cluster: Cluster,
        folder: RunFolder,
        clock: RunClock,
        shares: Mapping[str, int],
    ) -> None:
        self._tasks = list(config.tasks)
        self._norm = config.model.norm
        self._schedule = Schedule(config)
        self._cluster = cluster
        self._folder = folder
        self._clock = clock
        self._shares = dict(shares)
        self._images_per_step = sum(shares.values())
        # Now: until the end of the run, a checkout may have changed.
        self._code = code_version() if cluster.is_first else ""
        self._losses: deque[tuple[int, float]] = deque(maxlen=_LOSSES)
        self._display = Display(self._schedule.steps, cluster.shows_progress, cluster.under_mpirun)
        self.say, self.close = self._display.say, self._display.close
        self.begin = self._display.begin

    def resumed(self, step: int, ranks: int | None) -> None:
        """Log that the run goes on from a checkpoint, and tell if other ranks have saved it.

        Args:
            step: Steps done.
            ranks: By how many; None where that is not known.
        """
        now = self._cluster.world_size
        self._write(step, kind="resumed", ranks_before=ranks, ranks=now)
        if ranks in (None, now):
            return
        norm = "" if self._norm == "group" else ", but every rank normalises its own part of it"
        saved = "1 rank" if ranks == 1 else f"{ranks} ranks"
        self.say(f"Saved by {saved}, goes on with {now}: the mixed batch is the same{norm}.")

    def steps(self, done: int, results: StepResults, loss_scale: float | None) -> None:
        """Log the steps since the last ones that were logged.

        Args:
            done: Steps done.
            results: What those steps gave.
            loss_scale: What it is now; None where there is none.
        """
        lap = self._clock.lap()
        scale = {} if loss_scale is None else {"loss_scale": loss_scale}
        if results.skipped:
            self._tell_skipped(done, results, loss_scale)
        if not results.updates:
            self._write(done, kind="skipped", skipped_steps=results.skipped, **scale)
            return
        self._losses.append((done, sum(results.losses)))
        losses = dict(zip(self._tasks, results.losses, strict=True))
        weights = dict(zip(self._tasks, results.weights, strict=True))
        pixels_left = self._images_per_step * self._schedule.pixels_left(done)
        seconds_left = self._clock.seconds_for(pixels_left)
        self._display.update(done, losses, lap.images_per_second, seconds_left)
        self._write(
            done,
            kind="train",
            loss=sum(results.losses),
            tasks={t: {"loss": losses[t], "weight": weights[t]} for t in self._tasks},
            learning_rate=self._schedule.learning_rate(done - 1),
            gradient_norm=results.gradient_norm,
            skipped_steps=results.skipped,
            **scale,
            images_per_second=round(lap.images_per_second, 2),
            data_wait=round(lap.waiting_share, 4),
            saving=round(lap.saving_share, 4),
        )

    def _tell_skipped(self, done: int, results: StepResults, loss_scale: float | None) -> None:
        scale = "" if loss_scale is None else f"; the loss scale is now {loss_scale:g}"
        self.say(
            f"step {done}: {results.skipped} of the last {results.updates + results.skipped} "
            f"step(s) skipped, since the gradient was not finite{scale}"
        )

    def ranks(self, done: int, times: Counts) -> None:
        """Log how long the steps of an interval took on every rank, if there are several.

        A step ends on all ranks together, so they differ little in its length: the rank that holds
        the others up is the one that waits for its data.

        Args:
            done: Steps done.
            times: Of every rank, see :meth:`train.run.clock.Throughput.to_counts`: (ranks, 3).
        """
        steps = times[:, 2] / self._images_per_step  # without those that compiled
        if len(times) == 1 or not steps.all():
            return
        seconds, waiting = times[:, :2].T / 1e6
        self._write(
            done,
            kind="ranks",
            step_seconds=[round(float(s), 5) for s in seconds / steps],
            data_wait=[round(float(share), 4) for share in waiting / seconds],
        )

    def told_losses(self) -> str:
        """Return the losses that were logged last, as a line of text."""
        return ", ".join(f"{loss:.4g} at step {step}" for step, loss in self._losses)

    def changed(self, step: int, changes: Changes) -> None:
        """Log that a run goes on with other settings from a step on."""
        for key, (before, now) in changes.items():
            if key != "schedule.steps":
                self.say(f"From step {step:,} on {key} is {now}, after {before}.")
            self._write(step, kind="changed", key=key, before=before, now=now)

    def evaluation(self, step: int, split: str, metrics: Metrics) -> None:
        """Log the metrics of all tasks on a split."""
        self._display.metrics(f"step {step}, {split}", metrics)
        logged = {
            task: {key: values[key] for key in KINDS[kind_of(values)].logged}
            for task, values in metrics.items()
        }
        self._write(step, kind="evaluation", split=split, tasks=logged)

    def summary(self, splits: Mapping[str, Metrics], step: TrainStep, skipped: int) -> None:
        """Write and show the summary of the completed run.

        Args:
            splits: The metrics of all tasks by split.
            step: The training step.
            skipped: Number of steps whose gradient was not finite.
        """
        if not self._cluster.is_first:
            return
        steps, total = self._schedule.steps, self._clock.total
        summary = {
            "status": "completed",
            "step": steps,
            "world_size": self._cluster.world_size,
            "device": self._cluster.device_target,
            "skipped_steps": skipped,
            "images_seen": steps * self._images_per_step,
            "images_per_step": self._shares,
            "wall_seconds": round(self._clock.wall_seconds, 2),
            "images_per_second": round(total.images_per_second, 2),
            "data_wait": round(total.waiting_share, 4),
            "saving": round(total.saving_share, 4),
            "bytes_reduced_per_step": step.bytes_reduced,
            "parameters": {"shared": step.num_shared, "tasks": step.num_values - step.num_shared},
            "tasks": {t: {split: m[t] for split, m in splits.items()} for t in self._tasks},
            "versions": {
                "mtln": self._code,
                "python": platform.python_version(),
                "mindspore": ms.__version__,
                "numpy": np.__version__,
                "machine": platform.machine(),
            },
            "bad_records": {"found": 0, "records": []},  # with some, the run has stopped
        }
        if best := self._folder.best():
            summary["best"] = best
        self._folder.write_summary(summary)
        self._display.summary(summary, str(self._folder.path))

    def show_old_summary(self, changes: Changes) -> bool:
        """Show the summary, if the run is completed already; return whether it is.

        Only rank 0 can tell.

        Args:
            changes: Settings with which it would go on, if it could.
        """
        summary = self._folder.read_summary() if self._cluster.is_first else None
        if summary is None:
            return False
        self.say(
            "This run is completed (a larger schedule.steps makes it longer; for a new one choose "
            "another run_dir=...)."
        )
        for key, (before, now) in changes.items():
            self.say(f"It was trained with {key}={before}: {now} is not used.")
        self._display.summary(summary, str(self._folder.path))
        return True

    def _write(self, step: int, **values: Any) -> None:
        if self._cluster.is_first:
            self._folder.log(step, step * self._images_per_step, **values)
