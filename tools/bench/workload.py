"""What is trained in the measurements of a step: network, image size, batch, tasks.

Needs numpy only: the peers that read it run in other Python environments too.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# Classes of UC Merced, of AID and of a part of NWPU-RESISC45.
SCENES = (21, 30, 12)

# Statistics of every data set's channels, on the scale 0..1, those of uniform noise.
MEAN, STD = 0.5, 0.289

OPTIMIZER = {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
LABEL_SMOOTHING = 0.1

_BATCHES = 4


@dataclass(frozen=True)
class Workload:
    """One network and one size of its batches.

    Attributes:
        depth: Of the wide ResNet.
        width: Of the wide ResNet.
        size: Height and width of the images in pixels.
        images: Images of every task per rank and step.
        classes: Classes of every task, each with a data set of its own.
    """

    depth: int
    width: int
    size: int
    images: int
    classes: tuple[int, ...] = SCENES

    @classmethod
    def of(cls, spec: dict[str, Any]) -> "Workload":
        """Return the workload that a peer was given."""
        tree = spec["workload"]
        return cls(**{**tree, "classes": tuple(tree["classes"])})

    def spec(self, **others: object) -> dict[str, Any]:
        """Return what a peer is given: the inverse of :meth:`of`, and other values."""
        return {"workload": asdict(self), **others}

    @property
    def images_per_step(self) -> int:
        """Images of one rank in one step."""
        return self.images * len(self.classes)

    def __str__(self) -> str:
        tasks = f"{self.images} images x {len(self.classes)} tasks"
        return f"WRN-{self.depth}-{self.width}, {self.size} px, {tasks}"

    def batches(
        self, rank: int
    ) -> list[tuple[list[npt.NDArray[np.uint8]], list[npt.NDArray[np.int64]]]]:
        """Return some mixed batches of random pixels and labels, the same for every peer.

        Of every batch for every task the images (n, size, size, 3) and the labels (n,).
        """
        rng = np.random.default_rng([rank, self.size])
        shape = (self.images, self.size, self.size, 3)
        return [
            (
                [rng.integers(0, 256, shape, np.uint8) for _ in self.classes],
                [rng.integers(0, classes, self.images) for classes in self.classes],
            )
            for _ in range(_BATCHES)
        ]


NETWORKS = (Workload(16, 2, 48, 8), Workload(28, 4, 72, 8), Workload(10, 1, 32, 4))
# Only to try the command.
TINY = Workload(10, 1, 16, 2, (3,))
