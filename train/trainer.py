"""The training loop: steps -> consolidate -> evaluate -> checkpoint."""

import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from train import build
from train.config.schedule import Stretch, learning_rate, stretches
from train.config.schema import Config
from train.data.damage import DamageWatch
from train.data.loader import Batch, TrainLoader
from train.data.manifest import open_record_sets
from train.distributed.cluster import Cluster
from train.errors import UserError
from train.evaluation.evaluator import Metrics
from train.optim.ema import ModelAverage
from train.optim.loss_balance import build_balance
from train.optim.optimizers import scalar
from train.process.heartbeat import Heartbeat
from train.process.stop import StopRequest
from train.run.checkpoint import Checkpoint, load_checkpoint, newest_checkpoint, save_checkpoint
from train.run.display import Display
from train.run.pretrained import start_from
from train.run.run_folder import RunFolder
from train.run.state import TrainingState, require_same_run, run_identity
from train.run.throughput import StepClock, Throughput
from train.step.consolidation import Consolidator
from train.step.train_step import BatchLayout
from train.tasks.resolve import mask_positions, resolve_tasks, wanted_masks

_BRIEF_METRICS = (
    *("accuracy", "average_accuracy", "kappa", "images"),
    *("pixel_accuracy", "mean_iou", "frequency_weighted_iou", "pixels"),
)


class Trainer:
    """One rank of one run.

    Args:
        config: The run.
        cluster: This rank's place among the others.
    """

    def __init__(self, config: Config, cluster: Cluster) -> None:
        self.config = config
        self.cluster = cluster
        build.require_precisions(config, cluster)
        self.folder = RunFolder.of(config, cluster.is_first)
        self.sets = open_record_sets(config)
        self.tasks = resolve_tasks(config, self.sets)
        self.shares = build.build_shares(config, self.sets)
        self.images_per_step = sum(self.shares.values())
        self.watch = DamageWatch(self.sets)
        if config.check_records:
            self.watch.check_all()
        self.collectives = build.build_collectives(cluster)
        self.network = build.build_network(config, self.sets, self.tasks)
        optimizer = build.build_optimizer(config, self.network)
        self.balance = build_balance(config.loss.balance, list(config.tasks))
        self.average = ModelAverage(self.network, config.ema)
        self.loss_scale = build.build_loss_scale(config)
        self.state = TrainingState(
            self.network, optimizer, self.balance, self.average, self.loss_scale
        )
        self.consolidator = Consolidator(
            self.network, optimizer, self.collectives, config.branches == "local"
        )
        self.loader = TrainLoader(
            config,
            self.sets,
            self.shares,
            self.watch,
            cluster.rank,
            cluster.world_size,
            wanted_masks(self.tasks),
        )
        layout = BatchLayout(
            self.loader.weights, mask_positions(self.tasks, self.sets), self.loader.mixes
        )
        self.train_step = build.build_step(
            config,
            self.network,
            optimizer,
            self.balance,
            self.collectives,
            layout,
            self.loss_scale,
        )
        self.graphs = build.build_graph_cache(config, cluster, self.collectives, self.sets)
        self.evaluator = build.build_evaluator(
            config,
            self.network,
            self.sets,
            self.tasks,
            self.watch,
            self.collectives,
            cluster.rank,
            alive=self._beat,
            graphs=self.graphs,
        )
        self.display = Display(config.schedule.steps, cluster.shows_progress, cluster.under_mpirun)
        self.heartbeat = Heartbeat(os.environ)
        self.stop_request = StopRequest()
        self.step = 0
        self.throughput = Throughput()
        self.clock = StepClock(self.throughput)
        self.compiled_sizes: set[int] = set()
        self.wall_seconds = 0.0
        self.since = time.perf_counter()

    def run(self) -> None:
        """Trains to the end of the schedule, from the newest checkpoint if there is one."""
        try:
            start = self._resume()
            if start == self.config.schedule.steps and self._is_completed():
                return
            self._tell_about_operators()
            self._tell_about_data()
            if self.cluster.is_first:
                self._start_from_pretrained(start)
                self.folder.start(self.config, start)
            self.state.broadcast(self.collectives)
            with self.stop_request:
                for stretch, batches in self.loader.batches(self._stretches(start)):
                    self._train(stretch, batches)
                    self._consolidate(stretch)
                    self._evaluate_if_due(stretch.last)
                    stop, damaged = self._reasons_to_stop()
                    self._save_if_due(stretch.last, stop or damaged)
                    if damaged:
                        self.watch.stop(stretch.last)
                    if stop:
                        return self._stop(stretch.last)
            self._finish()
        finally:
            self.display.close()

    # --- start -----------------------------------------------------------------------------

    def _resume(self) -> int:
        """Loads the newest whole checkpoint on rank 0; the step to go on from, on all ranks."""
        step = 0
        if self.cluster.is_first and (path := self._newest_checkpoint()):
            checkpoint = load_checkpoint(path)
            identity = run_identity(self.config, self.sets)
            require_same_run(checkpoint.state["run"], identity, str(self.folder.path))
            self.state.load(checkpoint)
            self.throughput = Throughput(**checkpoint.state["throughput"])
            self.clock = StepClock(self.throughput)
            self.wall_seconds = checkpoint.state["wall_seconds"]
            step = checkpoint.step
            self.display.say(f"Resuming from {path}")
        self.step = int(self.collectives.sum_counts(np.array([step]))[0])
        return self.step

    def _newest_checkpoint(self) -> Path | None:
        newest = newest_checkpoint(self.folder.checkpoints)
        for path in sorted(self.folder.checkpoints.glob("step_*")):
            if newest is None or path > newest:
                self.display.say(f"{path} is damaged or not finished: it is not used")
        return newest

    def _start_from_pretrained(self, start: int) -> None:
        if self.config.init_from is not None and start == 0:
            self.display.say(start_from(self.network, self.config.init_from))

    def _is_completed(self) -> bool:
        """Whether a summary is there already; if so, shows it."""
        summary = self.folder.read_summary() if self.cluster.is_first else None
        if summary is not None:
            self.display.say("This run is completed (for a new one choose another run_dir=...).")
            self.display.summary(summary, str(self.folder.path))
        return bool(self.collectives.sum_counts(np.array([summary is not None]))[0])

    def _tell_about_operators(self) -> None:
        problem = build.native_problem(self.config)
        if problem is not None and self.cluster.device_target == "CPU":
            self.display.say(f"MindSpore's own CPU operators, which are slower: {problem}")

    def _tell_about_data(self) -> None:
        if self.config.cache == "ram":
            self.display.say(self.loader.describe_cache())

    def _stretches(self, start: int) -> Iterator[Stretch]:
        schedule, image = self.config.schedule, self.config.image
        unit = schedule.consolidate_every
        return stretches(start, schedule.steps, unit, image.size, image.stages)

    # --- the steps between two consolidation points ----------------------------------------

    def _train(self, stretch: Stretch, batches: Iterator[Batch]) -> None:
        self.clock.restart()
        results: list[Tensor] = []
        for step, batch in enumerate(self.clock.waited(batches), start=stretch.first):
            tensors = [Tensor(array) for array in batch]
            inputs = scalar(self._rate(step)), scalar(step + 1), *tensors
            if stretch.size in self.compiled_sizes:
                results.append(self.train_step(*inputs))
                self.clock.count(self.images_per_step, stretch.size)
            else:
                results.append(self._first_step(stretch.size, inputs))
            self.step = done = step + 1
            self._beat()
            if done % self.config.log_every == 0 or done == stretch.last:
                self._log(done, results)
                results = []

    def _first_step(self, size: int, inputs: tuple[Tensor, ...]) -> Tensor:
        """The first step with images of a size: it compiles, which does not count as training."""
        with self.graphs.compiling("step", size):
            result = self.train_step(*inputs)
        result.asnumpy()
        self.compiled_sizes.add(size)
        self.clock.restart()
        return result

    def _beat(self) -> None:
        self.heartbeat.beat(self.step)

    def _rate(self, step: int) -> float:
        options, schedule = self.config.optimizer, self.config.schedule
        return learning_rate(step, schedule.steps, options.learning_rate, schedule.warmup)

    def _log(self, done: int, results: list[Tensor]) -> None:
        """Reads what the last steps gave, the only time the host waits for the device."""
        rows = np.stack([r.asnumpy() for r in results])
        updates = rows[rows[:, -1] == 1]  # losses and norm of a skipped step are no numbers
        lap = self.clock.lap()
        if not len(updates):
            return self._without_update(done, len(rows))
        *by_loss, norm, _ = (float(v) for v in updates.mean(axis=0))
        losses, weights = np.split(np.array(by_loss), 2)
        by_task = dict(zip(self.config.tasks, losses.tolist(), strict=True))
        left = self.clock.seconds_for(self._pixels_left(done))
        self.display.update(done, by_task, lap.images_per_second, left)
        if self.cluster.is_first:
            self.folder.log(
                done,
                done * self.images_per_step,
                kind="train",
                loss=sum(by_task.values()),
                tasks={
                    task: {"loss": loss, "weight": weight}
                    for (task, loss), weight in zip(by_task.items(), weights.tolist(), strict=True)
                },
                learning_rate=self._rate(done - 1),
                gradient_norm=norm,
                skipped_steps=len(rows) - len(updates),
                **({} if self.loss_scale is None else {"loss_scale": self.loss_scale.current()}),
                images_per_second=round(lap.images_per_second, 2),
                data_wait=round(lap.waiting_share, 4),
            )

    def _without_update(self, done: int, steps: int) -> None:
        """Ends the run, unless its loss scale is still on the way down to where gradients fit."""
        scale = 1.0 if self.loss_scale is None else self.loss_scale.current()
        if scale == 1:
            raise UserError(
                f"training has diverged: no gradient of the {steps} steps up to {done} was "
                "finite (try a smaller optimizer.learning_rate, or optimizer.clip_norm)"
            )
        self.display.say(f"step {done}: no gradient was finite, the loss scale is now {scale:g}")
        if self.cluster.is_first:
            images = done * self.images_per_step
            self.folder.log(done, images, kind="skipped", skipped_steps=steps, loss_scale=scale)

    def _pixels_left(self, done: int) -> float:
        unit = self.config.schedule.consolidate_every
        rest = self._stretches(done - done % unit)
        steps = ((s.last - max(s.first, done), s.size) for s in rest)
        return float(sum(n * self.images_per_step * size * size for n, size in steps))

    # --- consolidation points --------------------------------------------------------------

    def _consolidate(self, stretch: Stretch) -> None:
        self.consolidator.consolidate()
        self.balance.consolidate()
        self.average.update(stretch.first, stretch.last)
        self.clock.lap()  # it is part of training, so its time counts

    def _evaluate_if_due(self, step: int) -> None:
        every = self.config.evaluate.every
        if every and step % every == 0 and step < self.config.schedule.steps:
            self._evaluate(step, "val")

    def _evaluate(self, step: int, split: str) -> Metrics:
        with self.average.in_place():
            metrics = self.evaluator.evaluate(split)
        self.display.metrics(f"step {step}, {split}", metrics)
        if self.cluster.is_first:
            brief = {t: {k: m[k] for k in _BRIEF_METRICS if k in m} for t, m in metrics.items()}
            images = step * self.images_per_step
            self.folder.log(step, images, kind="evaluation", split=split, tasks=brief)
        return metrics

    def _save_if_due(self, step: int, stop: bool) -> None:
        every = self.config.checkpoint.every
        if stop or (every and step % every == 0) or step == self.config.schedule.steps:
            self._save(step)
            self._beat()

    def _reasons_to_stop(self) -> tuple[bool, bool]:
        """Whether any rank was asked to stop, and whether any has met damaged records.

        Signals come to the ranks at different times, and each reads records of its own.
        """
        reasons = np.array([self.stop_request.number, len(self.watch.damages)])
        asked, damaged = self.collectives.sum_counts(reasons)
        return bool(asked), bool(damaged)

    def _save(self, step: int) -> None:
        if self.cluster.is_first:
            model, optimizer = self.state.to_arrays()
            state = {
                "run": run_identity(self.config, self.sets),
                "classes": {task.name: task.classes for task in self.tasks},
                "throughput": asdict(self.throughput),
                "wall_seconds": self._wall_seconds(),
            }
            checkpoint = Checkpoint(step, model, optimizer, state, self.average.to_arrays())
            save_checkpoint(self.folder.checkpoints, checkpoint, self.config.checkpoint.keep)
            self.folder.upload_soon()
        self.collectives.barrier()

    def _wall_seconds(self) -> float:
        return self.wall_seconds + time.perf_counter() - self.since

    # --- the end ---------------------------------------------------------------------------

    def _stop(self, step: int) -> None:
        """Ends the run before its time, as it was asked to; the same command goes on from here."""
        self.display.close()
        if self.cluster.is_first:
            self.display.say(f"Stopped at step {step}; the same command goes on from there.")
            self.folder.close()
        sys.stdout.flush()
        self.stop_request.obey()

    def _finish(self) -> None:
        """Evaluates the final model and writes the summary."""
        steps = self.config.schedule.steps
        splits = {split: self._evaluate(steps, split) for split in ("val", "test")}
        _, damaged = self._reasons_to_stop()
        if damaged:
            self.watch.stop(steps)
        if self.cluster.is_first:
            summary = self._summary(splits)
            self.folder.write_summary(summary)
            self.display.summary(summary, str(self.folder.path))
        self.collectives.barrier()

    def _summary(self, splits: dict[str, Metrics]) -> dict[str, Any]:
        steps = self.config.schedule.steps
        return {
            "status": "completed",
            "step": steps,
            "world_size": self.cluster.world_size,
            "device": self.cluster.device_target,
            "images_seen": steps * self.images_per_step,
            "images_per_step": self.shares,
            "wall_seconds": round(self._wall_seconds(), 2),
            "images_per_second": round(self.throughput.images_per_second, 2),
            "data_wait": round(self.throughput.waiting_share, 4),
            "bytes_reduced_per_step": self.train_step.bytes_reduced,
            "parameters": {
                "shared": self.train_step.num_shared,
                "tasks": self.train_step.num_values - self.train_step.num_shared,
            },
            "tasks": {t: {s: m[t] for s, m in splits.items()} for t in self.config.tasks},
            "versions": {
                "python": platform.python_version(),
                "mindspore": ms.__version__,
                "numpy": np.__version__,
                "machine": platform.machine(),
            },
            "bad_records": {"found": 0, "records": []},  # with some, the run has stopped
        }
