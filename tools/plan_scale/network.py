"""What a configuration computes and sends, counted in the network and the step training builds.

A forward pass counts the multiplications of all convolutions and linear layers. The reduction of a
step and a consolidation point run once, among ranks that only write down what is sent. Kernels,
launches and waits follow from those that were counted in one network (``steps.yaml``).
"""

from pathlib import Path
from typing import Any, get_args

import mindspore as ms
import numpy as np
import yaml
from mindspore import Tensor, nn

from tools.common.training_parts import Parts
from tools.plan_scale.prediction import Branches, Plan
from train.build import jit_level_of
from train.config.schema import Config
from train.config.sections import BYTES, JitLevel, Precision
from train.data.manifest import Manifest, RecordSet
from train.distributed.collectives import Floats, OneProcess
from train.errors import UserError
from train.tasks.registry import KINDS

# Where neither the configuration nor prepared data tell.
DEFAULT_CLASSES = 30


def build(config: Config, tasks: int | None = None) -> Parts:
    """Build the network of a configuration of MindSpore's own operators, on a CPU, to count it.

    Args:
        config: Where it leaves the classes of a task open they are looked up in its data, and are
            :data:`DEFAULT_CLASSES` without any.
        tasks: Number of tasks like its first one, each with a data set of its own; None: its own
            tasks.
    """
    ms.set_context(mode=ms.PYNATIVE_MODE)
    ms.set_device("CPU")
    known = {
        name: options.model_copy(update={"classes": _classes(config, name)})
        for name, options in config.tasks.items()
    }
    # For another device than a CPU every layer is a cell of its own, which can be looked at; those
    # of whole graphs run on a CPU too, in float32, and are as many.
    changes: dict[str, object] = {"device": "Ascend", "precision": "float32", "jit_level": "O2"}
    changes["tasks"] = known
    if tasks is not None:
        first = next(iter(known))
        dataset = config.datasets[config.dataset_of(first)]
        names = [f"task{i}" for i in range(tasks)]
        weights = {"weights": dict.fromkeys(names, 1.0)}
        balance = config.loss.balance.model_copy(update=weights)
        changes |= {
            "datasets": dict.fromkeys(names, dataset),
            "tasks": {name: known[first].model_copy(update={"dataset": name}) for name in names},
            "loss": config.loss.model_copy(update={"balance": balance}),
        }
    return Parts(config.model_copy(update=changes))


def multiplications(parts: Parts) -> float:
    """Count those of a forward pass, per image of the mixed batch, on average."""
    found = 0

    def count(layer: Any, inputs: object, output: Tensor) -> None:
        nonlocal found
        # Every value of the output is a sum with a product for each weight of its channel.
        found += output.size * layer.weight[0].size

    for layer in _layers(parts):
        layer.register_forward_hook(count)
    size, images = parts.config.image.size, len(parts.sets)
    parts.network.set_train(False)
    parts.network(*[Tensor(np.zeros((1, size, size, 3), np.uint8)) for _ in range(images)])
    return found / images


def kernels(parts: Parts, level: JitLevel) -> tuple[int, int, int]:
    """Return the kernels, launches and waits of a step on an NPU.

    As many kernels per layer as in the network where they were counted. (O1 fuses next to none, and
    counts as O0.)
    """
    by_graph = level == "O2"
    text = Path(__file__).with_name("steps.yaml").read_text(encoding="utf-8")
    counted = yaml.safe_load(text)["O2" if by_graph else "O0"]
    found = round(counted["kernels"] * len(_layers(parts)) / counted["layers"])
    waits = counted["waits"] + counted["waits_per_dataset"] * len(parts.sets)
    return found, 1 if by_graph else found, waits


def messages(parts: Parts, branches: Branches) -> tuple[list[int], list[int]]:
    """Write down the bytes of all messages of a step, and of those of a consolidation point."""
    parts.config = parts.config.model_copy(update={"branches": branches})
    ranks = _Ranks()
    step = parts.step(ranks)
    gradients = [ms.mint.zeros(p.shape) for p in step.parameters[: step.num_reduced]]
    step.reduction(gradients, ms.mint.zeros(sum(step.tail_sizes)))
    in_step, ranks.sent = ranks.sent, []
    # The others come before the gradient, with a number per task.
    each = len(parts.tasks) * BYTES["float32"]
    in_step += [each] * ((step.bytes_reduced - sum(in_step)) // each)
    parts.consolidator(ranks).consolidate()
    return in_step, ranks.sent


def plans_of(config: Config, tasks: int | None = None) -> list[Plan]:
    """Plan a job for each choice of ``branches``; see :func:`build` for the arguments."""
    parts = build(config, tasks)
    # Tasks that are alike, with as many images each, do not change the mean.
    products = multiplications(parts if tasks is None else build(config, 1))
    every = config.schedule.consolidate_every
    return [
        Plan(
            branches,
            products,
            *kernels(parts, jit_level_of(config)),
            len(parts.sets),
            *messages(parts, branches),
            every,
        )
        for branches in get_args(Branches)
    ]


def _layers(parts: Parts) -> list[nn.Cell]:
    cells = [cell for _, cell in parts.network.cells_and_names()]
    return [cell for cell in cells if isinstance(cell, nn.Conv2d | nn.Dense)]


class _Ranks(OneProcess):
    """Two ranks of which the other one is not there: every message is noted and comes back."""

    world_size = 2

    def __init__(self) -> None:
        self.sent: list[int] = []

    def all_reduce_cell(self, precision: Precision = "float32") -> Any:
        """See :class:`train.distributed.collectives.Collectives`."""

        def note(vector: Tensor) -> Tensor:
            self.sent.append(BYTES[precision] * vector.size)
            return vector

        return note

    def mean(self, vector: Floats) -> Floats:
        """See :class:`train.distributed.collectives.Collectives`."""
        self.sent.append(vector.nbytes)
        return vector


def _classes(config: Config, task: str) -> int:
    options = config.tasks[task]
    if options.classes:
        return options.classes
    name = config.dataset_of(task)
    folder = config.records_of(name)
    try:
        record_set = RecordSet(name, folder, Manifest.read_alone(folder))
        return len(KINDS[options.kind].load().resolve(task, config, record_set).classes)
    except UserError:
        return DEFAULT_CLASSES
