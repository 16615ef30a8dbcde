"""Data sets of noise for a configuration whose own are not here, so that the trainer can run."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from tools.prepare.make import prepare
from tools.prepare.options import Options
from train.config.schema import Config
from train.data.manifest import Manifest
from train.errors import UserError

# Of a task, where neither the configuration nor prepared data tell.
DEFAULT_CLASSES = 10
_PIXELS = 16
# Batches of the evaluation on val: the first one compiles, the second one is counted.
EVALUATION_BATCHES = 3


@dataclass(frozen=True)
class SetOnPaper:
    """What a data set has to have.

    Attributes:
        scenes: Number of its scene classes.
        masks: Number of classes by label space of its masks.
        held_out: Pictures of val.
    """

    scenes: int
    masks: tuple[tuple[str, int], ...]
    held_out: int


def with_made_up_data(config: Config, folder: Path, ranks: int) -> Config:
    """Return the configuration with data sets that are made up, and written to a folder."""
    images = EVALUATION_BATCHES * config.evaluate.images * ranks
    held_out = -(-images // len(config.datasets))
    changed = {}
    for name, dataset in config.datasets.items():
        wanted = _wanted(config, name, held_out)
        masks = "".join(f"-{space}-{classes}" for space, classes in wanted.masks)
        path = folder / f"{wanted.scenes}{masks}-{held_out}"
        if not path.is_dir():
            make(wanted, path)
        changed[name] = dataset.model_copy(update={"records": path})
    tasks = {name: task.model_copy(update={"classes": None}) for name, task in config.tasks.items()}
    return config.model_copy(update={"datasets": changed, "tasks": tasks, "data_root": Path()})


def _wanted(config: Config, dataset: str, held_out: int) -> SetOnPaper:
    """Return what the tasks of a data set need it to have."""
    known = _manifest(config.records_of(dataset))
    scenes = len(known.classes) if known else DEFAULT_CLASSES
    masks = {name: len(space.classes) for name, space in known.masks.items()} if known else {}
    for name, task in config.tasks.items():
        if config.dataset_of(name) != dataset:
            continue
        if task.kind != "segmentation":
            scenes = task.classes or scenes
        else:
            space = task.masks or next(iter(masks), "mask")
            masks[space] = task.classes or masks.get(space, DEFAULT_CLASSES)
    return SetOnPaper(scenes, tuple(masks.items()), held_out)


def _manifest(folder: Path) -> Manifest | None:
    try:
        return Manifest.read_alone(folder)
    except UserError:
        return None


def make(wanted: SetOnPaper, out: Path) -> None:
    """Write a prepared data set of noise."""
    source = out.with_name(f"{out.name}-pictures")
    rows = [["file", "class", "split"]]
    rng = np.random.default_rng(0)
    for number, (label, split) in enumerate(_records(wanted)):
        name = f"{number}.png"
        _noise(rng, (_PIXELS, _PIXELS, 3), 256, source / "images" / name)
        for space, classes in wanted.masks:
            _noise(rng, (_PIXELS, _PIXELS), classes, source / space / name)
        rows.append([name, f"class{label}", split])
    table = source / "table.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    spaces = {space: source / f"{space}.json" for space, _ in wanted.masks}
    for space, classes in wanted.masks:
        spaces[space].write_text(json.dumps([f"class{i}" for i in range(classes)]))
    masks = tuple(f"{space}={source / space}" for space in spaces)
    names = tuple(f"{space}={path}" for space, path in spaces.items())
    options = Options(source / "images", out, table=table, format="png", duplicates="allow")
    prepare(replace(options, masks=masks, mask_classes=names))


def _records(wanted: SetOnPaper) -> Iterator[tuple[int, str]]:
    """Yield class and split of every picture: each class is in train."""
    for split, count in {"train": wanted.scenes, "val": wanted.held_out, "test": 1}.items():
        yield from ((number % wanted.scenes, split) for number in range(count))


def _noise(rng: np.random.Generator, shape: tuple[int, ...], values: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, values, shape, np.uint8)).save(path)
