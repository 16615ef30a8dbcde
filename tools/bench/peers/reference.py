"""The schedule of the MTLN reference script: one task after the other.

What it does as the script does it: a graph of its own for the step of every task; every step
updates all parameters by ``nn.Momentum``; and after the update a second forward pass of the same
batch gives the accuracy, still in training mode. Mended: every task has its own head, the pooling
does not depend on the image size. The network is ours out of MindSpore's own operators
(``train/model/backend.py``); nothing else is ours.
"""

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from tools.bench.peers import Peer
from tools.bench.workload import MEAN, OPTIMIZER, STD, Workload
from train.model.backend import Backend
from train.model.layers import ByTask
from train.model.mtln import MTLN, DatasetInfo
from train.model.trunks import WideResNet
from train.tasks.scene import SceneTask


class TaskNetwork(nn.Cell):
    """The network as one task sees it.

    Args:
        network: That of all tasks.
        task: The name of this one.
    """

    def __init__(self, network: MTLN, task: str) -> None:
        super().__init__(auto_prefix=False)
        branch = network.tasks[task]
        self.shared = network.shared
        level = network.backend.attention_level
        self.attention = tuple(level([m], ByTask([0], 1)) for m in branch.attention)
        self.head = branch.head

    def construct(self, x: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) of the task -> its logits (N, classes)."""
        counts = (x.shape[0],)
        extracted: tuple[Tensor, ...] = ()
        for attend, extractor, shared in zip(  # noqa: B905
            self.attention, self.shared.extractors, self.shared.trunk(x, counts)
        ):
            extracted = (extractor(attend(counts, shared, *extracted), counts),)
        return self.head(extracted[0])


class Trainer(Peer):
    """One process that trains.

    Args:
        spec: ``workload``, with a step's images of all tasks in the batch of one task, so that
            both sides compute on batches of the same size.
        rank: 0.
    """

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        ms.set_context(mode=ms.GRAPH_MODE, runtime_num_threads=len(spec["cores"][rank]))
        ms.set_device("CPU")
        ms.set_seed(1)
        work = Workload.of(spec)
        names = [f"set{i}" for i in range(len(work.classes))]
        datasets = [DatasetInfo(name, (MEAN,) * 3, (STD,) * 3) for name in names]
        tasks = [
            SceneTask(name, name, tuple(map(str, range(count))))
            for name, count in zip(names, work.classes, strict=True)
        ]
        network = MTLN(WideResNet(work.depth, work.width), datasets, tasks, Backend())
        network.set_train(True)
        optimizer = nn.Momentum(network.trainable_params(), **OPTIMIZER, use_nesterov=True)
        self.answers = [TaskNetwork(network, name) for name in network.tasks]
        losses = [nn.WithLossCell(own, nn.CrossEntropyLoss()) for own in self.answers]
        self.steps = [nn.TrainOneStepCell(loss, optimizer) for loss in losses]
        images, self.labels = work.batches(rank)[0]
        self.images = [((x / 255 - MEAN) / STD).astype(np.float32) for x in images]
        self.run(1)
        self.info = {"versions": {"mindspore": ms.__version__}}

    def run(self, steps: int) -> None:
        """Train every task for ``steps`` steps, one task after the other."""
        tasks = zip(self.steps, self.answers, self.images, self.labels, strict=True)
        for step, answer, images, target in tasks:
            for _ in range(steps):
                x = Tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
                labels = target.astype(np.int32)
                step(x, Tensor(labels))
                self.accuracy = float((answer(x).asnumpy().argmax(1) == labels).mean())
