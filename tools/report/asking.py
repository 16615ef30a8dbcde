"""Asking the trained network of a run for its answers.

Importing this module imports MindSpore.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from mindspore.dataset.vision import Inter
from PIL import Image, ImageOps

from tools.common.stored_records import check_shards, rows
from tools.report.looks import SIDE, Attended, Look, Looks, Original
from tools.report.runs import RunRecord
from tools.report.statistics import evenly
from tools.report.tallies import tally_of
from train.config.reader import load_config
from train.data.manifest import RecordSet, open_record_sets
from train.data.pipeline import Columns, stored_records, transformed_batches
from train.data.transforms import evaluation_transforms
from train.errors import UserError
from train.inference.checkpoint_source import NEWEST, choose_checkpoint
from train.inference.trained_model import TrainedModel
from train.run.checkpoint import load_checkpoint
from train.run.identity import run_identity
from train.storage.run_download import CONFIG, step_of
from train.tasks.base import wanted_masks

_ATTENTION_PICTURES = 8
_MOST_AT_ONCE = 32


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
        tally_of(task, sets, numbers[task.dataset], masks.get(task.dataset, ()))
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
