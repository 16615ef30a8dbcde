"""What is exported: a network in evaluation mode, as plain values.

Importing this imports MindSpore.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from train.config.sections import ModelConfig
from train.data.manifest import RecordSet
from train.inference.trained_model import TrainedModel
from train.model.mtln import MTLN, DatasetInfo
from train.run.checkpoint import Arrays
from train.tasks.base import Task

Answers = Literal["probabilities", "labels", "logits"]


@dataclass(frozen=True)
class Subject:
    """A network, in terms that no framework is needed for.

    Attributes:
        model: What it is made of.
        image_size: Height and width that it was trained for, in pixels.
        datasets: How pictures are normalised, once per data set that a task sees them as.
        tasks: Its tasks, in the order of the answers.
        arrays: Parameters and batch-norm statistics by name.
        steps: Of every level, by how much the next one is smaller; 1 for the last.
        symmetric: Whether the max-pool of a ResNet pads as much above and left as below and right.
    """

    model: ModelConfig
    image_size: int
    datasets: Sequence[DatasetInfo]
    tasks: Sequence[Task]
    arrays: Arrays
    steps: Sequence[int]
    symmetric: bool

    @classmethod
    def of(cls, trained: TrainedModel, sets: Sequence[RecordSet]) -> Subject:
        """Return the network of a trained model that sees pictures as those of data sets."""
        infos = [DatasetInfo(s.name, s.manifest.mean, s.manifest.std) for s in sets]
        model = trained.blueprint.config.model
        return cls.of_network(trained.network, model, trained.image_size, infos, trained.tasks)

    @classmethod
    def of_network(
        cls,
        network: MTLN,
        model: ModelConfig,
        image_size: int,
        datasets: Sequence[DatasetInfo],
        tasks: Sequence[Task],
    ) -> Subject:
        """Return a network that is there already."""
        arrays = {p.name: p.asnumpy().astype(np.float32) for p in network.get_parameters()}
        trunk = network.shared.trunk
        symmetric = model.max_pool == "symmetric"
        pairs = zip(trunk.strides, [*trunk.strides[1:], trunk.strides[-1]], strict=True)
        steps = [coarser // finer for finer, coarser in pairs]
        return cls(model, image_size, datasets, tasks, arrays, steps, symmetric)

    @property
    def input_name(self) -> str:
        """The name of the input where it needs one, which no task has."""
        name = "images"
        while name in {task.name for task in self.tasks}:
            name += "_"
        return name

    @property
    def parameters(self) -> int:
        """How many values it has, without the statistics of norms."""
        return sum(v.size for name, v in self.arrays.items() if ".moving_" not in name)
