"""What the trained network does with the pictures of a run: its mistakes, and where it looks.

Importing this module imports MindSpore.

Shapes: n = images, K = classes of a task, H, W = height and width that the network sees, S = that
of pictures on the page.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from mindspore.dataset.vision import Inter
from PIL import Image, ImageOps

from tools.common.stored_records import check_shards, rows
from tools.report.markup import Pixels
from tools.report.runs import RunRecord
from tools.report.statistics import Matrix, confused_pairs, evenly
from train.config.reader import load_config
from train.data.manifest import MaskSpace, RecordSet, open_record_sets
from train.data.pipeline import Columns, stored_records, transformed_batches
from train.data.records import IGNORE_INDEX
from train.data.transforms import evaluation_transforms
from train.errors import UserError
from train.inference.checkpoint_source import NEWEST, choose_checkpoint
from train.inference.trained_model import Floats, TrainedModel
from train.run.checkpoint import load_checkpoint
from train.run.identity import run_identity
from train.storage.run_download import CONFIG, step_of
from train.tasks.base import Task, wanted_masks
from train.tasks.metrics import confusion_matrix

SIDE = 144
MOST_MISTAKES = 12
PER_PAIR = 3
_EXAMPLES = 3
_ATTENTION_PICTURES = 8
_MOST_AT_ONCE = 32


@dataclass(frozen=True)
class Mistake:
    """A picture that got a wrong answer.

    Attributes:
        number: Of its record in the split.
        true, answered: Positions of the classes.
        probability: Of the answer, 0..1.
    """

    number: int
    true: int
    answered: int
    probability: float


@dataclass(frozen=True)
class Painted:
    """A picture with its mask and the answer.

    Attributes:
        number: Of its record in the split.
        truth, answer: Classes, (H, W).
        right: Share of the labelled pixels that are right.
    """

    number: int
    truth: Pixels
    answer: Pixels
    right: float


@dataclass(frozen=True)
class Look:
    """What was seen of a task.

    Attributes:
        task: The task.
        matrix: Confusion matrix of what was looked at, (K, K).
        mistakes: Of a scene task: all of them, the most probable answers first.
        matrices: Of a segmentation task: confusion matrix of every image, (n, K, K).
        painted: Of a segmentation task: the worst ones, then others spread over the split.
        space: Of a segmentation task: its label space.
    """

    task: Task
    matrix: Matrix
    mistakes: list[Mistake] = field(default_factory=list)
    matrices: Matrix | None = None
    painted: list[Painted] = field(default_factory=list)
    space: MaskSpace | None = None

    def shown(self) -> list[Mistake]:
        """Return the mistakes that are shown, some of them as examples of pairs."""
        chosen = self.mistakes[:MOST_MISTAKES]
        for pair in confused_pairs(self.matrix):
            chosen += self.of_pair(pair.true, pair.answered)
        return chosen

    def of_pair(self, true: int, answered: int) -> list[Mistake]:
        """Return examples of a class that was taken for another."""
        found = [m for m in self.mistakes if (m.true, m.answered) == (true, answered)]
        return found[:PER_PAIR]


@dataclass(frozen=True)
class Original:
    """A picture as it is stored, and the name of its record; uint8 (S, S, 3)."""

    key: str
    pixels: Pixels


@dataclass(frozen=True)
class Attended:
    """Where all tasks look at in one picture.

    Attributes:
        dataset: Its data set.
        number: Of its record in the split.
        maps: For every task, of every level, (H_l, W_l) in 0..1.
    """

    dataset: str
    number: int
    maps: list[list[Floats]]


@dataclass(frozen=True)
class Looks:
    """What was seen of all tasks of a run.

    Attributes:
        split: The split that was looked at, by data set.
        looked_at: How many of its records, and how many there are, by data set.
        step: Of the checkpoint that was asked.
        tasks: By name.
        attention: Pictures of all data sets; empty for a network without attention.
        originals: Pictures to show, by data set and number.
    """

    split: dict[str, str]
    looked_at: dict[str, tuple[int, int]]
    step: int
    tasks: dict[str, Look]
    attention: list[Attended]
    originals: dict[tuple[str, int], Original]


def look(run: RunRecord, most: int, device: str) -> Looks:
    """Ask the network of a run's newest checkpoint for its answers.

    Args:
        run: The run.
        most: Most records of a data set to look at, spread evenly over its split.
        device: See :class:`TrainedModel`.

    Raises:
        UserError: There is no whole checkpoint, or the records are not on this disk or others.
    """
    config = load_config(run.folder / CONFIG, [])
    sets = open_record_sets(config)
    path = choose_checkpoint(run.folder, NEWEST, run.name)
    checkpoint = load_checkpoint(path)
    _require_same_records(checkpoint.state["run"], run_identity(config, sets))
    splits = {s.name: "test" if s.num_records("test") else "val" for s in sets}
    for record_set in sets:
        if not record_set.num_records(splits[record_set.name]):
            raise UserError(f"{record_set.folder}: neither a test nor a val split")
        check_shards(record_set.folder, record_set.manifest, splits[record_set.name])
    flips = config.evaluate.flips
    # As many as the run's own evaluation takes at once, which its memory was enough for.
    images = config.evaluate.images // (len(sets) * (4 if flips else 1))
    at_once = max(1, min(images, _MOST_AT_ONCE))
    model = TrainedModel(checkpoint, path, flips=flips, batch=at_once, device=device)
    numbers = {s.name: evenly(s.num_records(splits[s.name]), most) for s in sets}
    masks = wanted_masks(model.tasks)
    tallies = [
        _tally(task, sets, numbers[task.dataset], masks.get(task.dataset, ()))
        for task in model.tasks
    ]
    pipelines = [
        _batches(model, s, splits[s.name], numbers[s.name], masks.get(s.name, ())) for s in sets
    ]
    empty = np.zeros((0, model.image_size, model.image_size, 3), np.uint8)
    for batches in itertools.zip_longest(*pipelines):
        own = {s.name: batch for s, batch in zip(sets, batches, strict=True)}
        answers = model.own_probabilities([empty if b is None else b[0] for b in batches])
        for tally, answer in zip(tallies, answers, strict=True):
            if (batch := own[tally.task.dataset]) is not None:
                tally.add(answer, batch)
    looks = {tally.task.name: tally.look() for tally in tallies}
    attention = _attention(model, sets, splits, numbers) if model.has_attention else []
    looked_at = {s.name: (len(numbers[s.name]), s.num_records(splits[s.name])) for s in sets}
    originals = _originals(sets, splits, looks.values(), attention)
    return Looks(splits, looked_at, step_of(path.name), looks, attention, originals)


def _require_same_records(saved: dict[str, object], now: dict[str, object]) -> None:
    if saved.get("datasets") != now["datasets"]:
        raise UserError("the records on this disk are not those that the run was trained on")


def _batches(
    model: TrainedModel,
    record_set: RecordSet,
    split: str,
    numbers: Sequence[int],
    masks: Sequence[str] = (),
) -> Iterator[Columns]:
    stored = stored_records(record_set, split, np.asarray(numbers), masks)
    of_images = evaluation_transforms(model.image_size)
    of_masks = evaluation_transforms(model.image_size, Inter.NEAREST)
    return transformed_batches(stored, masks, of_images, of_masks, model.batch)


class _SceneTally:
    def __init__(self, task: Task, numbers: Sequence[int]) -> None:
        self.task = task
        self._numbers = iter(numbers)
        self._matrix = np.zeros((len(task.classes),) * 2, np.int64)
        self._mistakes: list[Mistake] = []

    def add(self, answers: Floats, batch: Columns) -> None:
        labels, answered = batch[1], answers.argmax(1)
        self._matrix += confusion_matrix(labels, answered, len(self.task.classes))
        for number, true, own, scores in zip(
            itertools.islice(self._numbers, len(labels)), labels, answered, answers, strict=True
        ):
            if true not in (own, -1):
                self._mistakes.append(Mistake(number, int(true), int(own), float(scores[own])))

    def look(self) -> Look:
        mistakes = sorted(self._mistakes, key=lambda m: (-m.probability, m.number))
        return Look(self.task, self._matrix, mistakes)


class _PixelTally:
    def __init__(
        self, task: Task, numbers: Sequence[int], masks: Sequence[str], space: MaskSpace
    ) -> None:
        self.task = task
        self._numbers = iter(numbers)
        self._spread = {numbers[i] for i in evenly(len(numbers), _EXAMPLES)}
        self._column = 2 + list(masks).index(str(task.label_space))
        self._space = space
        self._matrices: list[Matrix] = []
        self._others: list[Painted] = []
        self._worst: list[Painted] = []

    def add(self, answers: Floats, batch: Columns) -> None:
        masks, answered = batch[self._column], answers.argmax(1).astype(np.uint8)
        for number, mask, own in zip(
            itertools.islice(self._numbers, len(masks)), masks, answered, strict=True
        ):
            valid = mask != IGNORE_INDEX
            matrix = confusion_matrix(mask[valid], own[valid], len(self.task.classes))
            self._matrices.append(matrix)
            right = np.trace(matrix) / max(1, matrix.sum())
            painted = Painted(number, mask, own, float(right))
            if number in self._spread:
                self._others.append(painted)
            elif valid.any():
                worst = sorted([*self._worst, painted], key=lambda p: (p.right, p.number))
                self._worst = worst[:_EXAMPLES]

    def look(self) -> Look:
        matrices = np.array(self._matrices)
        painted = [*self._worst, *self._others]
        return Look(self.task, matrices.sum(0), [], matrices, painted, self._space)


def _tally(
    task: Task, sets: Sequence[RecordSet], numbers: Sequence[int], masks: Sequence[str]
) -> _SceneTally | _PixelTally:
    if task.label_space is None:
        return _SceneTally(task, numbers)
    [record_set] = [s for s in sets if s.name == task.dataset]
    return _PixelTally(task, numbers, masks, record_set.manifest.masks[task.label_space])


def _attention(
    model: TrainedModel,
    sets: Sequence[RecordSet],
    splits: dict[str, str],
    numbers: dict[str, Sequence[int]],
) -> list[Attended]:
    """Return the attention of all tasks on some pictures of every data set."""
    each = max(1, min(2, _ATTENTION_PICTURES // len(sets)))
    chosen, pixels = [], []
    for record_set in sets[:_ATTENTION_PICTURES]:
        name, own = record_set.name, numbers[record_set.name]
        # Neither the first nor the last: those are often alike.
        of_set = sorted({own[(2 * i + 1) * len(own) // (2 * each)] for i in range(each)})
        pixels += [batch[0] for batch in _batches(model, record_set, splits[name], of_set)]
        chosen += [(name, number) for number in of_set]
    maps = model.attention(np.concatenate(pixels))
    return [
        Attended(name, number, [[level[i] for level in of_task] for of_task in maps])
        for i, (name, number) in enumerate(chosen)
    ]


def _originals(
    sets: Sequence[RecordSet],
    splits: dict[str, str],
    looks: Iterable[Look],
    attention: Sequence[Attended],
) -> dict[tuple[str, int], Original]:
    wanted: dict[str, set[int]] = {s.name: set() for s in sets}
    for seen in looks:
        wanted[seen.task.dataset] |= {mistake.number for mistake in seen.shown()}
        wanted[seen.task.dataset] |= {painted.number for painted in seen.painted}
    for attended in attention:
        wanted[attended.dataset].add(attended.number)
    found = {}
    for record_set in sets:
        numbers = sorted(wanted[record_set.name])
        paths = record_set.manifest.shard_paths(record_set.folder, splits[record_set.name])
        stored = rows(paths, ["image", "key"], numbers)
        for number, row in zip(numbers, stored, strict=True):
            image = Image.open(io.BytesIO(row["image"].tobytes())).convert("RGB")
            pixels = np.asarray(ImageOps.fit(image, (SIDE, SIDE)))
            found[record_set.name, number] = Original(str(row["key"]), pixels)
    return found


def resized(values: npt.NDArray[np.generic], side: int = SIDE) -> npt.NDArray[np.float32]:
    """Return a map (H, W) of numbers as (side, side), smoothly."""
    image = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
