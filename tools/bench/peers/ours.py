"""Our training step, as the trainer builds and calls it, on batches that are in memory."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from tools.bench.workload import (
    LABEL_SMOOTHING,
    LEARNING_RATE,
    MEAN,
    MOMENTUM,
    STD,
    WEIGHT_DECAY,
    Workload,
)
from train.config.precision import Precision
from train.config.schema import Config
from train.data.manifest import Listing, Manifest, RecordSet, Split


class Peer:
    """A rank that trains.

    Args:
        spec: ``workload``; ``exchange``: whether the ranks exchange anything (default: yes);
            ``weights``: file to write the first parameters to (rank 0), or nothing;
            ``set``: values of the configuration to replace.
        rank: This rank.
    """

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        begin = time.perf_counter()
        import mindspore as ms
        from mindspore import Tensor

        from train import build
        from train.distributed import cluster
        from train.optim.loss_balance import build_balance
        from train.optim.optimizers import scalar
        from train.step.train_step import BatchLayout
        from train.tasks.base import resolve_tasks

        work = Workload.of(spec["workload"])
        self.place = cluster.identify(os.environ, "CPU")
        cluster.start(self.place)
        world = self.place.world_size
        config = configuration(work, world, spec.get("set", {}))
        sets = [_record_set(f"set{i}", n, work.images) for i, n in enumerate(work.classes)]
        tasks = resolve_tasks(config, sets)
        self.collectives = build.build_collectives(self.place)
        network = build.build_network(config, sets, tasks)
        optimizer = build.build_optimizer(config, network)
        balance = build_balance(config.loss.balance, list(config.tasks))
        if rank == 0 and spec.get("weights"):
            _write_weights(Path(spec["weights"]), network)
        exchange = self.collectives if spec.get("exchange", True) else _no_exchange(world)
        layout = BatchLayout([1.0] * len(sets), [None] * len(sets))
        self.step = build.build_step(config, network, optimizer, balance, exchange, layout)
        self.batches = [
            (*images, *(numbers.astype(np.int32) for numbers in labels))
            for images, labels in work.batches(rank)
        ]
        self.rate, self.scalar, self.tensor = scalar(LEARNING_RATE), scalar, Tensor
        self.steps = 0
        self.bare: Any = None
        graphs = build.build_graph_cache(config, self.place, exchange, sets)
        ready = time.perf_counter()
        with graphs.compiling("step", work.size):
            losses = [self._run(1)[: len(tasks)].tolist()]
        compiled = time.perf_counter()
        losses += [self._run(1)[: len(tasks)].tolist() for _ in range(2)]
        self.info = {
            "versions": {"mindspore": ms.__version__, "numpy": np.__version__},
            "losses": losses,
            "build_seconds": ready - begin,
            "compile_seconds": compiled - ready,
            "message_bytes": self.step.bytes_reduced,
            "no_native_operators": build.native_problem(config),
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """``run``: seconds of some steps; ``reduce``: of some bare reductions."""
        if request["do"] == "reduce":
            return {"seconds": self._reduce(request["repeats"])}
        begin = time.perf_counter()
        self._run(request["steps"])
        return {"seconds": time.perf_counter() - begin}

    def close(self) -> None:
        """Leaves the other ranks."""
        from train.distributed import cluster

        self.collectives.barrier()
        cluster.close(self.place)

    def _run(self, steps: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Some steps; what the last one returned."""
        for _ in range(steps):
            batch = self.batches[self.steps % len(self.batches)]
            self.steps += 1
            tensors = [self.tensor(array) for array in batch]
            result = self.step(self.rate, self.scalar(float(self.steps)), *tensors)
        returned: np.ndarray[Any, np.dtype[np.float32]] = result.asnumpy()
        return returned

    def _reduce(self, repeats: int) -> list[float]:
        """Seconds of reductions of a step's message in a graph of their own.

        All ranks come to each at the same time, so nobody waits for another one's work.
        """
        vector = self.tensor(np.ones(self.step.bytes_reduced // 4, np.float32))
        if self.bare is None:
            self.bare = _bare_reduction(self.collectives.all_reduce_cell())
            self.bare(vector).asnumpy()  # compiles
        times = []
        for _ in range(repeats):
            self.collectives.barrier()
            begin = time.perf_counter()
            self.bare(vector).asnumpy()
            times.append(time.perf_counter() - begin)
        return times


def configuration(work: Workload, world_size: int, replaced: dict[str, Any]) -> Config:
    """The run that a workload stands for."""
    names = [f"set{i}" for i in range(len(work.classes))]
    tree = {
        "device": "CPU",
        "run_dir": "none",
        "datasets": {name: {"records": "none"} for name in names},
        "tasks": {name: {} for name in names},
        "batch": {"images_per_task": work.images * world_size},
        "image": {"size": work.size},
        "model": {"depth": work.depth, "width": work.width},
        "loss": {"label_smoothing": LABEL_SMOOTHING},
        "optimizer": {
            "learning_rate": LEARNING_RATE,
            "momentum": MOMENTUM,
            "weight_decay": WEIGHT_DECAY,
        },
        "schedule": {"steps": 10**6},
    }
    return Config.model_validate({**tree, **replaced})


def _record_set(name: str, num_classes: int, records: int) -> RecordSet:
    """A data set that exists on paper only: the step never opens its records."""
    classes = tuple(f"class{i}" for i in range(num_classes))
    split = Split(records, (records,) + (0,) * (num_classes - 1), ())
    nothing = Listing(0, "")
    mean, std = (MEAN, MEAN, MEAN), (STD, STD, STD)
    manifest = Manifest(name, classes, {}, mean, std, {"train": split}, nothing, {}, "")
    return RecordSet(name, Path("none"), manifest)


def _write_weights(path: Path, network: Any) -> None:
    np.savez(path, **{p.name: p.asnumpy() for p in network.get_parameters()})


def _no_exchange(world_size: int) -> Any:
    """Collectives of ranks that stay alone, but compute what they would with equal others."""
    from mindspore import Tensor, nn

    from train.distributed.collectives import OneProcess

    class Multiply(nn.Cell):
        """The sum over ranks that all have the same vector."""

        def construct(self, vector: Tensor) -> Tensor:
            return vector * world_size

    class Alone(OneProcess):
        """No messages."""

        def all_reduce_cell(self, precision: Precision = "float32") -> nn.Cell | None:
            return Multiply()

    alone = Alone()
    alone.world_size = world_size
    return alone


def _bare_reduction(cell: Any) -> Any:
    from mindspore import Tensor, nn

    class Reduction(nn.Cell):
        """The reduction behind another operator, as in a step."""

        def __init__(self) -> None:
            super().__init__()
            self.all_reduce = cell

        def construct(self, vector: Tensor) -> Tensor:
            """(n,) -> (1,): only a value is copied to the host."""
            return self.all_reduce(vector * 0.5)[:1]

    return Reduction()
