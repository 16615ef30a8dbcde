"""The size of an MTLN network on paper: parameters, and multiplications per image.

It follows ``train/model`` layer by layer (a test compares the counts), so that a plan needs neither
MindSpore nor the data. C = channels, H = height and width of a square map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from train.config.schema import Config
from train.data.manifest import Manifest
from train.errors import UserError

# Where neither the configuration nor prepared data tell.
DEFAULT_CLASSES = 30


@dataclass(frozen=True)
class Network:
    """What the model of a step needs to know of a network.

    Attributes:
        shared: Trainable values of the shared branch.
        branches: Trainable values of all task branches together.
        statistics: Running means of the batch norms; there are as many variances.
        multiplications: Of a forward pass, per image of the mixed batch, on average.
    """

    shared: int
    branches: int
    statistics: int
    multiplications: float


@dataclass
class _Count:
    """Sums over layers."""

    values: int = 0
    statistics: int = 0
    multiplications: float = 0.0

    def conv(self, c_in: int, c_out: int, kernel: int, height: int) -> None:
        """A convolution with bias whose output is (C_out, H, H)."""
        weights = c_in * c_out * kernel**2
        self.values += weights + c_out
        self.multiplications += weights * height**2

    def norm(self, channels: int, keeps_statistics: bool, domains: int = 1) -> None:
        self.values += 2 * channels * domains
        self.statistics += channels * domains if keeps_statistics else 0


def network_of(config: Config) -> Network:
    """Counts the network of a configuration.

    Raises:
        UserError: Its trunk is no wide ResNet.
    """
    if config.model.trunk != "wide_resnet":
        raise UserError(
            f"model.trunk: {config.model.trunk}: only the size of wide_resnet is known here; give "
            "the sizes instead: shared=...,branches=...,multiplications=..."
        )
    classes = {name: _classes(config, name) for name in config.tasks}
    return _Counter(config, classes).network()


def _classes(config: Config, task: str) -> int:
    options = config.tasks[task]
    if options.classes:
        return options.classes
    try:
        manifest = Manifest.read_alone(config.records_of(config.dataset_of(task)))
    except UserError:
        return DEFAULT_CLASSES
    if options.kind == "scene":
        return len(manifest.classes)
    space = options.masks or next(iter(manifest.masks), "")
    return len(manifest.masks[space].classes) if space in manifest.masks else DEFAULT_CLASSES


class _Counter:
    """Counts one network.

    Args:
        config: Of the run.
        classes: Classes of every task.
    """

    def __init__(self, config: Config, classes: Mapping[str, int]) -> None:
        self.config = config
        self.classes = classes
        model = config.model
        self.channels = (16, 16 * model.width, 32 * model.width, 64 * model.width)
        self.heights = _halved(config.image.size, len(self.channels))
        self.batch_norm = model.norm != "group"
        self.domain_norm = model.norm == "domain"
        self.attends = model.branch == "attention"

    def network(self) -> Network:
        """The counts of the whole."""
        trunk, extractors = self._trunk(), self._extractors()
        branches = [self._branch(name) for name in self.classes]
        own = sum(branch.multiplications + extractors.multiplications for branch in branches)
        return Network(
            shared=trunk.values + extractors.values,
            branches=sum(branch.values for branch in branches),
            statistics=sum(part.statistics for part in (trunk, extractors, *branches)),
            # A task sees the images of its data set alone.
            multiplications=trunk.multiplications + own / len(self.config.datasets),
        )

    def _trunk(self) -> _Count:
        count, domains = _Count(), len(self.config.datasets) if self.domain_norm else 1
        count.conv(3, self.channels[0], 3, self.heights[0])
        for level in range(1, len(self.channels)):
            for block in range((self.config.model.depth - 4) // 6):
                self._block(count, level, first=block == 0, domains=domains)
        count.norm(self.channels[-1], self.batch_norm, domains)
        return count

    def _block(self, count: _Count, level: int, first: bool, domains: int) -> None:
        c_in = self.channels[level - 1] if first else self.channels[level]
        c, height = self.channels[level], self.heights[level]
        count.norm(c_in, self.batch_norm, domains)
        # The second convolution has the stride.
        count.conv(c_in, c, 3, self.heights[level - 1] if first else height)
        count.norm(c, self.batch_norm, domains)
        count.conv(c, c, 3, height)
        if first:
            count.conv(c_in, c, 1, height)

    def _extractors(self) -> _Count:
        """The shared extractors, with the multiplications of one task's images."""
        count = _Count()
        if self.attends:
            outputs = [*self.channels[1:], self.channels[-1]]
            domains = len(self.classes) if self.domain_norm else 1
            for c, c_out, height in zip(self.channels, outputs, self.heights, strict=True):
                count.conv(c, c_out, 3, height)
                count.norm(c_out, self.batch_norm, domains)
        return count

    def _branch(self, task: str) -> _Count:
        count = _Count()
        if self.attends:
            for level, (c, height) in enumerate(zip(self.channels, self.heights, strict=True)):
                count.conv(2 * c if level else c, c, 1, height)
                count.conv(c, c, 1, height)
                count.norm(c, self.batch_norm)
                count.norm(c, self.batch_norm)
        if self.config.tasks[task].kind == "scene":
            count.conv(self.channels[-1], self.classes[task], 1, 1)
        else:
            self._decoder(count, self.classes[task])
        return count

    def _decoder(self, count: _Count, classes: int) -> None:
        width = self.config.model.decoder_channels
        for c, height in zip(self.channels, self.heights, strict=True):
            count.conv(c, width, 1, height)
        count.conv(width, width, 3, self.heights[0])
        count.norm(width, self.batch_norm)
        count.conv(width, classes, 1, self.heights[0])


def _halved(size: int, levels: int) -> Sequence[int]:
    """Heights of the maps of all levels; each is half the one before, rounded up."""
    heights = [size]
    for _ in range(levels - 1):
        heights.append((heights[-1] + 1) // 2)
    return heights
