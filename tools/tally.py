"""Sums up pictures on their way into the records: statistics, duplicates, unreadable ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from tools.images import Picture
from tools.shards import Record
from tools.sources import Sample
from train.errors import UserError

Channels = tuple[float, float, float]

_SHOWN = 3


class Tally:
    """What is known of the pictures seen so far.

    Pixel sums are whole numbers, so the statistics are exact and do not depend on the order or
    the number of workers.

    Attributes:
        unreadable: Unreadable pictures with the reason.
        across: Pairs of equal pictures in different splits.
        within: Number of pictures that equal an earlier one of their split.
        trained: Classes with a train picture.
    """

    def __init__(self, classes: tuple[str, ...], skip_unreadable: bool) -> None:
        """Starts with nothing seen.

        Args:
            classes: Class names in the order of their labels.
            skip_unreadable: Whether an unreadable picture is left out; otherwise the first one
                ends the stream of records, and the others are only counted.
        """
        self.unreadable: list[tuple[str, str]] = []
        self.across: list[tuple[Sample, Sample]] = []
        self.within = 0
        self.trained: set[str] = set()
        self._labels = {name: label for label, name in enumerate(classes)}
        self._skip = skip_unreadable
        self._first: dict[bytes, Sample] = {}
        self._pixels = 0
        self._sums = [0, 0, 0]
        self._squares = [0, 0, 0]
        self._heights: list[int] = []
        self._widths: list[int] = []

    def records(self, pictures: Iterable[tuple[Sample, Picture | str]]) -> Iterator[Record]:
        """Takes pictures (or the reason why there is none) in, and yields their records."""
        for sample, picture in pictures:
            if isinstance(picture, str):
                self.unreadable.append((sample.key, picture))
                continue
            self._add(sample, picture)
            if self._skip or not self.unreadable:
                yield Record(picture.data, self._labels[sample.class_name], sample.key)

    def _add(self, sample: Sample, picture: Picture) -> None:
        first = self._first.setdefault(picture.digest, sample)
        if first.split != sample.split:
            self.across.append((first, sample))
        elif first is not sample:
            self.within += 1
        self._heights = _widen(self._heights, picture.height)
        self._widths = _widen(self._widths, picture.width)
        if sample.split == "train":
            self.trained.add(sample.class_name)
            self._pixels += picture.height * picture.width
            for channel in range(3):
                self._sums[channel] += picture.sums[channel]
                self._squares[channel] += picture.squares[channel]

    def check(self, source: str, allow_duplicates: bool) -> None:
        """Raises a UserError for unreadable pictures or duplicates that are not allowed."""
        if self.unreadable and not self._skip:
            shown = "; ".join(f"{key} ({reason})" for key, reason in self.unreadable[:_SHOWN])
            raise UserError(
                f"{source}: {_count(self.unreadable, 'unreadable picture')}: {shown} "
                "(leave out with --skip-unreadable)"
            )
        if self.across and not allow_duplicates:
            shown = "; ".join(
                f"{one.key} ({one.split}) = {other.key} ({other.split})"
                for one, other in self.across[:_SHOWN]
            )
            raise UserError(
                f"{source}: {_count(self.across, 'picture')} of equal pixels in another split: "
                f"{shown} (remove one of each, or pass --allow-duplicates)"
            )

    def statistics(self, source: str) -> tuple[Channels, Channels]:
        """Mean and standard deviation of each channel over the train pixels, on 0..1.

        Raises:
            UserError: A channel has the same value everywhere.
        """
        means, stds = [], []
        for name, total, squares in zip(
            ("red", "green", "blue"), self._sums, self._squares, strict=True
        ):
            # In whole numbers up to here: the difference of two large floats would lose digits.
            spread = self._pixels * squares - total * total
            if spread == 0:
                raise UserError(
                    f"{source}: {name} has one value in all train pixels: nothing to learn"
                )
            means.append(total / self._pixels / 255)
            stds.append(math.sqrt(spread) / self._pixels / 255)
        return (means[0], means[1], means[2]), (stds[0], stds[1], stds[2])

    def extent(self) -> dict[str, list[int]]:
        """Smallest and largest height and width in pixels."""
        return {"height": self._heights, "width": self._widths}


def _widen(bounds: list[int], value: int) -> list[int]:
    return [min([*bounds[:1], value]), max([*bounds[1:], value])]


def _count(items: list[tuple[str, str]] | list[tuple[Sample, Sample]], noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
