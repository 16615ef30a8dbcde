"""The training loop: steps -> consolidate -> evaluate -> checkpoint."""

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from mindspore import Tensor

from train import build
from train.config.schedule import Interval, Schedule, longer_run
from train.config.schema import Config
from train.data.batch import Batch
from train.data.damage import DamageWatch
from train.data.loader import TrainLoader
from train.data.manifest import open_record_sets
from train.data.shares import batch_shares
from train.distributed.ascend import to_device
from train.distributed.cluster import Cluster
from train.distributed.collectives import of_all_ranks
from train.evaluation.evaluator import Metrics
from train.inference.blueprint import NETWORK, describe_network
from train.optim.ema import ModelAverage
from train.optim.loss_balance import build_balance
from train.optim.optimizers import scalar
from train.process.health import Heartbeat
from train.process.save import save_requests
from train.process.stop import StopRequest
from train.run import object_storage
from train.run.checkpoint import VALIDATION
from train.run.clock import RunClock
from train.run.divergence_report import DivergenceReport
from train.run.identity import Changes, require_same_run, run_identity
from train.run.ownership import Ownership
from train.run.pretrained import start_from
from train.run.run_folder import RunFolder
from train.run.run_log import RunLog
from train.run.state import TrainingState
from train.step.consolidation import Consolidator
from train.step.divergence import Diagnosis, SkippedSteps
from train.step.replicas import ReplicaCheck
from train.step.train_step import StepResults
from train.tasks.base import TaskLosses, resolve_tasks, wanted_masks
from train.tasks.registry import validation_of

# Who asks a run to stop may not wait for longer than half a minute.
_SECONDS_FOR_A_STOP = 20.0


class Trainer:
    """One rank of one run.

    Args:
        config: The run.
        cluster: This rank's place among the others.
        owner: What keeps other runs out of the run folder, on rank 0.
        heartbeat: Where the rank tells how far it is; by default, where the environment says.
        weights: Where what ``init_from`` names is on this machine, if it was downloaded.
    """

    def __init__(
        self,
        config: Config,
        cluster: Cluster,
        owner: Ownership | None = None,
        heartbeat: Heartbeat | None = None,
        weights: Path | None = None,
    ) -> None:
        # Parts that are put together from several sections of the configuration come from build.
        self.config = config = build.with_precision(config)
        self.cluster = cluster
        self.weights = weights
        build.configure_device(config, cluster)
        self.folder = RunFolder(config, cluster.is_first, owner)
        self.schedule = Schedule(config)
        self.sets = open_record_sets(config)
        self.tasks = resolve_tasks(config, self.sets)
        self.shares = batch_shares(config, self.sets)
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
        self.replicas = ReplicaCheck(self.state.everything, self.collectives, cluster.rank)
        self.loader = TrainLoader(
            config,
            self.sets,
            self.shares,
            self.watch,
            cluster.rank,
            cluster.world_size,
            wanted_masks(self.tasks),
        )
        losses = TaskLosses(
            self.tasks, self.loader.layout, self.loader.weights, self.network.backend
        )
        new_step = partial(
            build.build_step,
            config,
            self.network,
            losses,
            optimizer,
            self.balance,
            self.collectives,
            self.loss_scale,
        )
        self.train_step = new_step()
        self.frozen_steps = config.optimizer.freeze_trunk
        self.frozen_step = new_step(frozen_trunk=True) if self.frozen_steps else self.train_step
        self.compiled: set[tuple[int, bool]] = set()
        self.graphs = build.build_graph_cache(config, cluster, self.collectives, self.sets)
        self.heartbeat = heartbeat or Heartbeat(os.environ)
        self.evaluator = build.build_evaluator(
            config,
            self.network,
            self.sets,
            self.tasks,
            self.watch,
            self.collectives,
            cluster.rank,
            alive=self.heartbeat.beat,
            graphs=self.graphs,
        )
        self.stop_request = StopRequest()
        self.clock = RunClock()
        self.changes: Changes = {}
        self.saved: int | None = None  # the step of the newest checkpoint
        self.skipped = SkippedSteps()
        self.diagnosis = Diagnosis(
            self.train_step, list(config.tasks), self.collectives, cluster.rank
        )
        self.log = RunLog(config, cluster, self.folder, self.clock, self.shares)
        self.divergence = DivergenceReport(config, self.loader, self.log)

    def run(self) -> None:
        """Train to the end of the schedule, from the newest checkpoint if there is one."""
        try:
            start = self._resume()
            if start == self.schedule.steps and self._sum(self.log.show_old_summary(self.changes)):
                return
            self.log.begin(start)
            self._tell_what_is_used()
            if self.cluster.is_first:
                if self.config.init_from is not None and start == 0:
                    self.log.say(self._start_from(self.config.init_from))
                self.folder.start(start, self.state.num_bytes)
                self.log.changed(start, self.changes)
            self.state.broadcast(self.collectives)
            with self.stop_request:
                for interval, batches in self.loader.batches(self.schedule.intervals(start)):
                    self._train(interval, batches)
                    self._consolidate(interval)
                    metrics = self._evaluate_if_due(interval.last)
                    stop, damaged, save = self._requests()
                    self._save_if_due(interval.last, stop or damaged or save, metrics)
                    if damaged:
                        self.watch.stop(interval.last, self._is_saved(interval.last))
                    if stop:
                        return self._stop(interval.last)
            self._finish()
        finally:
            self.log.close()

    # --- start -----------------------------------------------------------------------------

    def _resume(self) -> int:
        """Load the newest whole checkpoint on rank 0; return the step to go on from to all."""
        step = 0
        if self.cluster.is_first and (newest := self.folder.load_checkpoint(self.log.say)):
            path, checkpoint = newest
            identity = run_identity(self.config, self.sets)
            run_dir = str(self.folder.path)
            self.changes = require_same_run(checkpoint.state["run"], identity, run_dir)
            self.state.load(checkpoint)
            self.clock.load(checkpoint.state)
            self.skipped.load(checkpoint.state)
            step = checkpoint.step
            self.log.say(f"Resuming from {path}")
            self.log.resumed(step, checkpoint.state.get("world_size"))
            if lengths := self.changes.get("schedule.steps"):
                self.log.say(longer_run(self.config, lengths[0], step))
        start = self._sum(step)
        self.heartbeat.enter("prepare", start)
        self.saved = start or None
        return start

    def _start_from(self, source: Path | str) -> str:
        """Start the shared branch from ``init_from``; return a line on what was taken."""
        if isinstance(source, Path):
            return start_from(self.network, source)
        # There may have been a checkpoint to resume from, which turned out to be damaged.
        weights = self.weights or object_storage.download(self.config, source, self.heartbeat.beat)
        return start_from(self.network, weights, source)

    def _tell_what_is_used(self) -> None:
        """Show what is unusual about operators and data, if anything is."""
        problem = build.native_problem(self.config)
        if problem is not None and self.cluster.device_target == "CPU":
            self.log.say(f"MindSpore's own CPU operators, which are slower: {problem}")
        if self.cluster.device_target == "Ascend":
            self.log.say(build.describe_device(self.config))
        if self.config.cache == "ram":
            self.log.say(self.loader.describe_cache())

    # --- the steps between two consolidation points ----------------------------------------

    def _train(self, interval: Interval, batches: Iterator[Batch]) -> None:
        """Make the steps of an interval, and log some of them."""
        self.clock.restart()
        results: list[Tensor] = []
        self.heartbeat.enter("data")
        for step, batch in enumerate(self.clock.waited(batches), start=interval.first):
            kind = interval.size, step < self.frozen_steps
            self.heartbeat.enter("step" if kind in self.compiled else "compile")
            inputs = scalar(self.schedule.learning_rate(step)), *map(Tensor, batch)
            results.append(self._update(*kind, to_device(inputs)))
            done = step + 1
            if done % self.config.log_every == 0 or done == interval.last:
                self._report(done, results, inputs[1:])
                results = []
            self.heartbeat.enter("data", done)

    def _update(self, size: int, frozen: bool, inputs: tuple[Tensor, ...]) -> Tensor:
        """Make a step; the first one with images of a size compiles, which is no training time.

        So does the first one after those with a frozen trunk.
        """
        train_step = self.frozen_step if frozen else self.train_step
        if (size, frozen) in self.compiled:
            result = train_step(*inputs)
            self.clock.count(sum(self.shares.values()), size)
            return result
        if self.frozen_steps:
            self.network.freeze_trunk(frozen)
        with self.graphs.compiling("frozen step" if frozen else "step", size):
            result = train_step(*inputs)
        result.asnumpy()
        self.compiled.add((size, frozen))
        self.clock.restart()
        return result

    def _report(self, done: int, vectors: list[Tensor], batch: tuple[Tensor, ...]) -> None:
        """Read what the last steps gave, the only time the host waits for the device."""
        results = StepResults.of([vector.asnumpy() for vector in vectors])
        scale = None if self.loss_scale is None else self.loss_scale.current()
        self.log.steps(done, results, scale)
        self.skipped.count(results, scale)
        if self.skipped.diverged or (self.skipped.doubtful and done == self.schedule.steps):
            self.log.say(f"Looking for what is not finite in step {done} ...")
            found, skipped = self.diagnosis.of(batch), self.skipped.in_a_row
            raise self.divergence.of_steps(done, skipped, found, self.saved)

    # --- consolidation points --------------------------------------------------------------

    def _consolidate(self, interval: Interval) -> None:
        self.heartbeat.enter("consolidation")
        self.consolidator.consolidate(frozen_trunk=interval.last <= self.frozen_steps)
        self.balance.consolidate()
        values = self.state.read()
        self.replicas.require_equal(interval.last, values)
        if names := self.state.not_finite():
            raise self.divergence.of_model(interval.last, names, self.saved)
        model = values[: len(self.state.parameters)]
        self.average.update(interval.first, interval.last, model)
        self.clock.lap()  # it is part of training, so its time counts
        times = self.clock.take_interval().to_counts()
        self.log.ranks(interval.last, of_all_ranks(self.collectives, self.cluster.rank, times))

    def _evaluate_if_due(self, step: int) -> Metrics | None:
        every = self.config.evaluate.every
        if every and step % every == 0 and step < self.schedule.steps:
            return self._evaluate(step, "val")
        return None

    def _evaluate(self, step: int, split: str) -> Metrics:
        self.heartbeat.enter("evaluation")
        with self.average.in_place():
            metrics = self.evaluator.evaluate(split)
        self.log.evaluation(step, split, metrics)
        return metrics

    def _requests(self) -> tuple[bool, bool, bool]:
        """Return whether any rank was asked to stop, has met damaged records, was asked to save.

        Signals come to the ranks at different times, and each reads records of its own.
        """
        numbers = self.stop_request.number, len(self.watch.damages), save_requests.take()
        asked, damaged, save = self.collectives.sum_counts(np.array(numbers))
        return bool(asked), bool(damaged), bool(save)

    def _save_if_due(self, step: int, asked: bool, metrics: Metrics | None) -> None:
        """Begin to save, where it is due: training goes on while the checkpoint is written."""
        self.heartbeat.enter("checkpoint")  # due or not, as rank 0 alone may know
        validation, every = validation_of(metrics), self.config.checkpoint.every
        must = asked or step == self.schedule.steps
        due = must or (every and step % every == 0)
        is_best = self.cluster.is_first and self.folder.is_best(validation)
        if not (due or is_best):
            return
        if self.skipped.forbid_saving(must):
            count = self.skipped.since_update
            self.log.say(f"step {step}: not saved, since the last {count} step(s) were skipped")
            return
        if self.cluster.is_first:
            facts = {
                "run": run_identity(self.config, self.sets),
                "classes": {task.name: task.classes for task in self.tasks},
                NETWORK: describe_network(self.config, self.sets),
                "world_size": self.cluster.world_size,
                **self.clock.to_state(),
                **self.skipped.to_state(),
                **({} if validation is None else {VALIDATION: validation}),
            }
            with self.clock.saving():
                self.folder.save_checkpoint(self.state.to_checkpoint(step, facts))
        self.saved = step
        self.heartbeat.beat()

    def _is_saved(self, step: int) -> bool:
        """Return, on all ranks, whether a step is on the disk, before the run is ended there."""
        problem = None
        if self.cluster.is_first:
            seconds = min(self.config.checkpoint.wait_seconds, _SECONDS_FOR_A_STOP)
            problem = self.folder.settle(seconds, self.heartbeat.beat)
        if problem is not None:
            self.log.say(f"warning: step {step} is not saved: {problem}")
        return not self._sum(problem is not None) and self.saved == step

    # --- the end ---------------------------------------------------------------------------

    def _stop(self, step: int) -> None:
        """End the run before its time, as it was asked to; the same command goes on from here."""
        self.log.close()
        where = "there" if self._is_saved(step) else "the checkpoint before"
        if self.cluster.is_first:
            self.log.say(f"Stopped at step {step}; the same command goes on from {where}.")
            self.folder.close()
        sys.stdout.flush()
        self.stop_request.obey()

    def _finish(self) -> None:
        """Evaluate the final model and write the summary."""
        steps = self.schedule.steps
        splits = {split: self._evaluate(steps, split) for split in ("val", "test")}
        _, damaged, _ = self._requests()
        if damaged:
            self.watch.stop(steps, self._is_saved(steps))
        self.heartbeat.enter("checkpoint")
        if self.cluster.is_first:
            with self.clock.saving():
                self.folder.complete(validation_of(splits["val"]), self.heartbeat.beat)
        self.log.summary(splits, self.train_step, self.skipped.total)
        self.collectives.barrier()

    def _sum(self, number: int) -> int:
        """Return the sum of a number over the ranks."""
        return int(self.collectives.sum_counts(np.array([number]))[0])
