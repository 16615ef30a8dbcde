"""Our training step and our evaluation, as the trainer builds and calls them."""

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from tools.bench.peers import Peer
from tools.bench.workload import LABEL_SMOOTHING, MEAN, OPTIMIZER, STD, Workload
from tools.common.training_parts import Parts, sets_on_paper
from train import build
from train.config.schedule import Schedule
from train.config.schema import Config
from train.config.sections import Precision
from train.data.damage import DamageWatch
from train.data.loader import TrainLoader
from train.data.manifest import open_record_sets
from train.data.shares import batch_shares
from train.distributed import cluster
from train.distributed.collectives import OneProcess
from train.optim.optimizers import scalar
from train.process.collector import objects_kept
from train.tasks.base import resolve_tasks


class Rank(Peer):
    """A rank that trains.

    Args:
        spec: ``workload``; ``records``: prepared data sets by name, or nothing.
        rank: This rank.
    """

    step: nn.Cell
    batches: Iterator[Any]

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        self.work = Workload.of(spec)
        self.place = cluster.identify(os.environ, "CPU")
        cluster.start(self.place)
        self.config = _configuration(self.work, self.place.world_size, spec.get("records"))
        self.collectives = build.build_collectives(self.place)
        self.rate = scalar(OPTIMIZER["learning_rate"])
        self.info = {
            "versions": {"mindspore": ms.__version__, "numpy": np.__version__},
            "no_native_operators": build.native_problem(self.config),
        }

    def close(self) -> None:
        """Leave the other ranks."""
        self.collectives.barrier()
        cluster.close(self.place)

    def run(self, steps: int) -> dict[str, list[float]]:
        """Train some steps; tell the losses of the last one."""
        for batch in itertools.islice(self.batches, steps):
            tensors = [Tensor(array) for array in batch]
            result = self.step(self.rate, *tensors)
        return {"losses": result.asnumpy().tolist()[: len(self.work.classes)]}


class Trainer(Rank):
    """A rank that trains on batches that are in memory.

    Args:
        spec: ``workload``; ``exchange``: whether the ranks exchange anything (default: yes);
            ``weights``: file to write the first parameters to (rank 0), or nothing.
        rank: This rank.
    """

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        super().__init__(spec, rank)
        self.parts = Parts(self.config, sets_on_paper(self.config, MEAN, STD))
        if rank == 0 and spec.get("weights"):
            values = {p.name: p.asnumpy() for p in self.parts.network.get_parameters()}
            np.savez(spec["weights"], **values)
        alone = not spec.get("exchange", True)
        exchange = _NoExchange(self.place.world_size) if alone else self.collectives
        self.step = self.parts.step(exchange)
        self.batches = itertools.cycle(
            (*images, *(numbers.astype(np.int32) for numbers in labels))
            for images, labels in self.work.batches(rank)
        )
        self.reduction: nn.Cell | None = None
        graphs = build.build_graph_cache(self.config, self.place, exchange, self.parts.sets)
        begin = time.perf_counter()
        with graphs.compiling("step", self.work.size):
            first = self.run(1)
        self.info["compile_seconds"] = time.perf_counter() - begin
        self.info["losses"] = [run["losses"] for run in (first, self.run(1), self.run(1))]
        self.kept = ExitStack()
        self.kept.enter_context(objects_kept())  # as a run does
        self.info["message_bytes"] = self.step.bytes_reduced

    def reduce(self, repeats: int) -> dict[str, Any]:
        """Take the seconds of reductions of a step's message in a graph of their own.

        All ranks come to each at the same time, so nobody waits for another one's work.
        """
        vector = Tensor(np.ones(self.step.bytes_reduced // 4, np.float32))
        if self.reduction is None:
            self.reduction = _Reduction(self.collectives.all_reduce_cell())
            self.reduction(vector).asnumpy()  # compiles
        times = []
        for _ in range(repeats):
            self.collectives.barrier()
            begin = time.perf_counter()
            self.reduction(vector).asnumpy()
            times.append(time.perf_counter() - begin)
        return {"times": times}


class Evaluator(Rank):
    """A rank that trains and evaluates in turn, both with the loading of their records.

    Args:
        spec: ``workload``; ``records``: prepared data sets by name.
        rank: This rank.
    """

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        super().__init__(spec, rank)
        config, place = self.config, self.place
        sets = open_record_sets(config)
        tasks = resolve_tasks(config, sets)
        parts = Parts(config, sets, tasks)
        watch = DamageWatch(sets)
        shares = batch_shares(config, sets)
        loader = TrainLoader(config, sets, shares, watch, place.rank, place.world_size)
        self.step = parts.step(self.collectives, loader)
        graphs = build.build_graph_cache(config, place, self.collectives, sets)
        others = (watch, self.collectives, place.rank, lambda: None, graphs)
        self.evaluator = build.build_evaluator(config, parts.network, sets, tasks, *others)
        planned = loader.batches(Schedule(config).intervals(0))
        self.batches = itertools.chain.from_iterable(batches for _, batches in planned)
        records = sum(s.num_records("val") for s in sets)
        self.info["images"] = {"run": sum(shares.values()), "evaluate": records}
        self.run(2)
        self.evaluate(1)

    def evaluate(self, steps: int) -> None:
        """Evaluate ``steps`` times."""
        for _ in range(steps):
            self.evaluator.evaluate("val")


def _configuration(work: Workload, world_size: int, records: dict[str, str] | None) -> Config:
    """Return the run that a workload stands for."""
    classes = {f"set{i}": number for i, number in enumerate(work.classes)}
    tree = {
        "device": "CPU",
        "run_dir": "none",
        "datasets": {name: {"records": (records or {}).get(name, "none")} for name in classes},
        "tasks": {name: {"classes": number} for name, number in classes.items()},
        "batch": {"images_per_task": work.images * world_size},
        "image": {"size": work.size},
        "model": {"depth": work.depth, "width": work.width},
        "loss": {"label_smoothing": LABEL_SMOOTHING},
        "optimizer": OPTIMIZER,
        "schedule": {"steps": 10**6},
    }
    return Config.model_validate(tree)


class _NoExchange(OneProcess):
    """Collectives of ranks that stay alone, but compute what they would with equal others."""

    def __init__(self, world_size: int) -> None:
        self.world_size = world_size

    def all_reduce_cell(self, precision: Precision = "float32") -> nn.Cell:
        """No messages."""
        return _Multiply(self.world_size)


class _Multiply(nn.Cell):
    """The sum over ranks that all have the same vector."""

    def __init__(self, ranks: int) -> None:
        super().__init__()
        self.ranks = ranks

    def construct(self, vector: Tensor) -> Tensor:
        """(n,) -> (n,)."""
        return vector * self.ranks


class _Reduction(nn.Cell):
    """The reduction behind another operator, as in a step."""

    def __init__(self, all_reduce: Any) -> None:
        super().__init__()
        self.all_reduce = all_reduce

    def construct(self, vector: Tensor) -> Tensor:
        """(n,) -> (1,): only a value is copied to the host."""
        return self.all_reduce(vector * 0.5)[:1]
