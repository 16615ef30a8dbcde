"""Networks with random weights and statistics, for what is exported; nothing is trained."""

from collections.abc import Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from tests.train.networks import scene, segmentation, statistics
from tools.export.subject import Subject
from train.config.sections import ModelConfig
from train.model.backend import Backend
from train.model.mtln import MTLN
from train.model.trunks import build_trunk

# Norms far from the identity, as training leaves them.
_RANGES = {
    "gamma": (0.6, 1.4),
    "beta": (-0.3, 0.3),
    "moving_mean": (-0.3, 0.3),
    "moving_variance": (0.6, 1.4),
}
DATASETS = ("fields", "coast")
TASKS = (
    scene("fields", "fields", 3),
    segmentation("shore", "coast", 4),
    scene("coast", "coast", 2),
)
SMALL = {"trunk": "wide_resnet", "depth": 10, "width": 1}


def made(**model: Any) -> tuple[MTLN, Subject]:
    """A network of three tasks over two data sets, in evaluation mode."""
    ms.set_seed(3)
    config = ModelConfig(**model, decoder_channels=6)
    backend = Backend(config.norm)
    infos = [statistics(name, number) for number, name in enumerate(DATASETS)]
    trunk = build_trunk(config, backend, list(DATASETS))
    network = MTLN(trunk, infos, TASKS, backend, config.branch)
    network.set_train(False)
    rng = np.random.default_rng(7)
    for parameter in network.get_parameters():
        leaf = parameter.name.rpartition(".")[2]
        if leaf in _RANGES or leaf == "bias":
            low, high = _RANGES.get(leaf, (-0.2, 0.2))
            values = rng.uniform(low, high, parameter.shape).astype(np.float32)
            parameter.set_data(Tensor(values))
    return network, Subject.of_network(network, config, 16, infos, TASKS)


def pictures(count: int, height: int, width: int) -> np.ndarray:
    """Random pixels (count, height, width, 3)."""
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)


def logits_of(network: MTLN, pixels: np.ndarray) -> Sequence[np.ndarray]:
    """What MindSpore's operators make of pictures, for every task."""
    answers = network(*[Tensor(pixels) for _ in DATASETS])
    return [answer.asnumpy() for answer in answers]
