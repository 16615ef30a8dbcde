"""The PyTorch twin's training step: DistributedDataParallel over gloo for several ranks."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from tools.bench.peers.torch_twin import TorchMTLN, load_ours
from tools.bench.workload import (
    LABEL_SMOOTHING,
    LEARNING_RATE,
    MEAN,
    MOMENTUM,
    STD,
    WEIGHT_DECAY,
    Workload,
)


class Peer:
    """A rank that trains.

    Args:
        spec: ``workload``; ``channels_last``; ``weights``: our first parameters, or nothing;
            ``cores``: of every rank; ``folder``: where the ranks meet.
        rank: This rank.
    """

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        begin = time.perf_counter()
        torch.set_num_threads(len(spec["cores"][rank]))
        torch.manual_seed(1)
        work, world = Workload.of(spec["workload"]), len(spec["cores"])
        self.format = torch.channels_last if spec["channels_last"] else torch.contiguous_format
        network = TorchMTLN(work.depth, work.width, work.classes)
        if spec.get("weights"):
            load_ours(network, np.load(spec["weights"]))
        # The memory format of the parameters decides which kernels the convolutions take.
        network = network.to(memory_format=self.format)
        self.optimizer = _optimizer(network)
        self.network: Any = network
        self.joined = world > 1
        if self.joined:
            address = f"file://{spec['folder']}/meeting"
            dist.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
            # As quick as its options make it; every rank keeps its own batch-norm statistics.
            self.network = DistributedDataParallel(
                network, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        self.batches = [
            ([torch.from_numpy(x) for x in images], [torch.from_numpy(y) for y in labels])
            for images, labels in work.batches(rank)
        ]
        self.steps = 0
        ready = time.perf_counter()
        losses = [self._run(1).tolist()]
        started = time.perf_counter()
        losses += [self._run(1).tolist() for _ in range(2)]
        self.info = {
            "versions": {"torch": torch.__version__},
            "losses": losses,
            "build_seconds": ready - begin,
            "compile_seconds": started - ready,
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """``run``: seconds of some steps."""
        begin = time.perf_counter()
        self._run(request["steps"])
        return {"seconds": time.perf_counter() - begin}

    def close(self) -> None:
        """Leaves the other ranks."""
        if self.joined:
            dist.barrier()
            dist.destroy_process_group()

    def _run(self, steps: int) -> Tensor:
        """Some steps; the losses (K,) of the last one on this rank."""
        for _ in range(steps):
            images, labels = self.batches[self.steps % len(self.batches)]
            self.steps += 1
            self.optimizer.zero_grad(set_to_none=True)
            answers = self.network(self._mix(images), [len(x) for x in images])
            losses = torch.stack(
                [
                    cross_entropy(logits, target, label_smoothing=LABEL_SMOOTHING)
                    for logits, target in zip(answers, labels, strict=True)
                ]
            )
            losses.sum().backward()
            self.optimizer.step()
        return losses.detach()

    def _mix(self, images: list[Tensor]) -> Tensor:
        """uint8 (n, H, W, 3) of every task -> normalised (N, 3, H, W)."""
        pixels = torch.cat(images).permute(0, 3, 1, 2)
        # In the wanted format before it becomes four times as large.
        pixels = pixels.contiguous(memory_format=self.format)
        return pixels.float().mul_(1 / (255 * STD)).sub_(MEAN / STD)


def _optimizer(network: TorchMTLN) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; weight decay on weights only."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": WEIGHT_DECAY}, {"params": others}]
    return torch.optim.SGD(groups, LEARNING_RATE, MOMENTUM, nesterov=True, fused=True)
