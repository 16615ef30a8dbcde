"""Network and step as the trainer builds them, for tools that count or measure them.

No other module of the tools builds a network. Importing this one imports MindSpore.
"""

from collections.abc import Sequence
from pathlib import Path

from train import build
from train.config.schema import Config
from train.data.batch import BatchLayout
from train.data.loader import TrainLoader
from train.data.manifest import Listing, Manifest, MaskSpace, RecordSet
from train.distributed.collectives import Collectives
from train.optim.loss_balance import build_balance
from train.step.consolidation import Consolidator
from train.step.train_step import TrainStep
from train.tasks.base import Task, TaskLosses, wanted_masks
from train.tasks.registry import KINDS


def sets_on_paper(config: Config, mean: float = 0.5, std: float = 0.5) -> list[RecordSet]:
    """Return the data sets of a configuration without records; mean and deviation are in 0..1."""
    return [_set_on_paper(name, mean, std) for name in config.datasets]


def tasks_on_paper(config: Config) -> list[Task]:
    """Return the tasks of a configuration that gives the number of classes of every task."""
    tasks = []
    for name, options in config.tasks.items():
        classes = tuple(f"class{i}" for i in range(options.classes or 0))
        masks = {options.masks or "masks": MaskSpace(classes)}
        record_set = _set_on_paper(config.dataset_of(name), 0.5, 0.5, classes, masks)
        tasks.append(KINDS[options.kind].load().resolve(name, config, record_set))
    return tasks


def _set_on_paper(
    name: str,
    mean: float,
    std: float,
    classes: tuple[str, ...] = (),
    masks: dict[str, MaskSpace] | None = None,
) -> RecordSet:
    channels = (mean,) * 3, (std,) * 3
    manifest = Manifest(name, classes, {}, *channels, {}, Listing(0, ""), {}, "", masks or {})
    return RecordSet(name, Path(), manifest)


class Parts:
    """What a rank trains: a new network and its optimizer.

    Args:
        config: The run.
        sets: Its data sets; by default such as have no records.
        tasks: Its tasks; by default as the configuration says.
    """

    def __init__(
        self,
        config: Config,
        sets: Sequence[RecordSet] | None = None,
        tasks: Sequence[Task] | None = None,
    ) -> None:
        self.config = config
        self.sets = sets_on_paper(config) if sets is None else sets
        self.tasks = tasks_on_paper(config) if tasks is None else tasks
        self.network = build.build_network(config, self.sets, self.tasks)
        self.optimizer = build.build_optimizer(config, self.network)

    def step(self, collectives: Collectives, loader: TrainLoader | None = None) -> TrainStep:
        """Return the training step for the batches of a loader, or for batches of equal shares."""
        if loader is None:
            names, weights = [s.name for s in self.sets], [1.0] * len(self.sets)
            layout = BatchLayout(names, wanted_masks(self.tasks))
        else:
            layout, weights = loader.layout, loader.weights
        losses = TaskLosses(self.tasks, layout, weights, self.network.backend)
        balance = build_balance(self.config.loss.balance, list(self.config.tasks))
        return build.build_step(
            self.config, self.network, losses, self.optimizer, balance, collectives
        )

    def consolidator(self, collectives: Collectives) -> Consolidator:
        """Return what makes one model of the ranks' replicas."""
        return Consolidator(
            self.network, self.optimizer, collectives, self.config.branches == "local"
        )
