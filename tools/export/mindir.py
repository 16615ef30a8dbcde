"""The network as MindIR: what MindSpore runs without our sources, on any of its devices.

Importing this imports MindSpore.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import numpy.typing as npt
from mindspore import Tensor, nn

from tools.export.subject import Answers, Subject
from train.model.backend import Backend
from train.model.mtln import MTLN
from train.model.trunks import build_trunk
from train.tasks.base import Task


class _AllTasks(nn.Cell):
    """Every task's answer to the same pictures."""

    def __init__(self, network: MTLN, tasks: Sequence[Task], copies: int, answers: Answers) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.decisions = tuple(task.decision() for task in tasks)
        self.copies = copies
        self.answers = answers

    def construct(self, images: Tensor) -> tuple[Tensor, ...]:
        """uint8 (n, H, W, 3) -> of every task (n, K[, H, W]), or labels (n[, H, W])."""
        found: tuple[Tensor, ...] = ()
        for logits, decide in zip(self.network(*((images,) * self.copies)), self.decisions):  # noqa: B905
            if self.answers == "labels":
                found = (*found, decide(logits))
            elif self.answers == "probabilities":
                found = (*found, decide.probabilities(logits))
            else:
                found = (*found, logits)
        return found


def write(subject: Subject, path: Path, answers: Answers, batch: int, size: int) -> None:
    """Write the network for batches of so many pictures of this height and width.

    Its shapes are fixed: the network knows where in the batch a data set ends when it is compiled.
    It is made of MindSpore's own operators, whatever the network here is made of.
    """
    cell = _AllTasks(_stock(subject), subject.tasks, len(subject.datasets), answers)
    cell.set_train(False)
    pixels = Tensor(np.zeros((batch, size, size, 3), np.uint8))
    ms.export(cell, pixels, file_name=str(path.with_suffix("")), file_format="MINDIR")


def answers_of(path: Path, images: npt.NDArray[np.uint8], batch: int) -> list[npt.NDArray[Any]]:
    """Load what was written and return the answers of every task; batches are filled up."""
    cell = nn.GraphCell(ms.load(str(path)))
    missing = -len(images) % batch
    padded = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)])
    parts = []
    for first in range(0, len(padded), batch):
        found = cell(Tensor(padded[first : first + batch]))
        parts.append(found if isinstance(found, tuple | list) else (found,))
    of_tasks = zip(*parts, strict=True)
    return [np.concatenate([part.asnumpy() for part in p])[: len(images)] for p in of_tasks]


def _stock(subject: Subject) -> MTLN:
    backend = Backend(subject.model.norm)
    trunk = build_trunk(subject.model, backend, [d.name for d in subject.datasets])
    network = MTLN(trunk, subject.datasets, subject.tasks, backend, subject.model.branch)
    for parameter in network.get_parameters():
        parameter.set_data(Tensor(subject.arrays[parameter.name]))
    network.set_train(False)
    return network
