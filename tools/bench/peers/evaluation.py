"""Our evaluation and our training in one process, both with their loading of records."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from tools.bench.peers.ours import configuration
from tools.bench.workload import LEARNING_RATE, Workload


class Peer:
    """A rank that trains and evaluates in turn.

    Args:
        spec: ``workload``; ``records``: prepared data sets by name.
        rank: This rank.
    """

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        import mindspore as ms
        from mindspore import Tensor

        from train import build
        from train.config.schedule import intervals
        from train.data.damage import DamageWatch
        from train.data.loader import TrainLoader
        from train.data.manifest import open_record_sets
        from train.distributed import cluster
        from train.optim.loss_balance import build_balance
        from train.optim.optimizers import scalar
        from train.step.train_step import BatchLayout
        from train.tasks.base import resolve_tasks

        work = Workload.of(spec["workload"])
        self.place = cluster.identify(os.environ, "CPU")
        cluster.start(self.place)
        datasets = {name: {"records": path} for name, path in spec["records"].items()}
        config = configuration(work, self.place.world_size, {"datasets": datasets})
        sets = open_record_sets(config)
        tasks = resolve_tasks(config, sets)
        self.collectives = build.build_collectives(self.place)
        network = build.build_network(config, sets, tasks)
        watch = DamageWatch(sets)
        shares = build.build_shares(config, sets)
        loader = TrainLoader(config, sets, shares, watch, self.place.rank, self.place.world_size)
        self.step = build.build_step(
            config,
            network,
            build.build_optimizer(config, network),
            build_balance(config.loss.balance, list(config.tasks)),
            self.collectives,
            BatchLayout(loader.weights, [None] * len(tasks), loader.mixes),
        )
        self.evaluator = build.build_evaluator(
            config,
            network,
            sets,
            tasks,
            watch,
            self.collectives,
            self.place.rank,
            lambda: None,
            build.build_graph_cache(config, self.place, self.collectives, sets),
        )
        self.records = sum(s.num_records("val") for s in sets)
        self.images = sum(shares.values())
        self.rate, self.scalar, self.tensor = scalar(LEARNING_RATE), scalar, Tensor
        schedule = config.schedule
        self.batches = self._endless(
            loader, intervals(0, schedule.steps, schedule.consolidate_every, work.size, [])
        )
        self._train(2)
        self._evaluate(1)
        self.info = {
            "versions": {"mindspore": ms.__version__},
            "no_native_operators": build.native_problem(config),
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """``train`` or ``evaluate``, ``times``: seconds, and images of all ranks."""
        begin = time.perf_counter()
        if request["do"] == "train":
            self._train(request["times"])
            images = self.images
        else:
            self._evaluate(request["times"])
            images = self.records
        return {"seconds": time.perf_counter() - begin, "images": images * request["times"]}

    def close(self) -> None:
        """Leaves the other ranks."""
        from train.distributed import cluster

        self.collectives.barrier()
        cluster.close(self.place)

    def _train(self, steps: int) -> None:
        for _ in range(steps):
            tensors = [self.tensor(array) for array in next(self.batches)]
            result = self.step(self.rate, self.scalar(1.0), *tensors)
        result.asnumpy()

    def _evaluate(self, times: int) -> None:
        for _ in range(times):
            self.evaluator.evaluate("val")

    def _endless(self, loader: Any, intervals: Any) -> Iterator[Any]:
        for _, batches in loader.batches(intervals):
            yield from batches
