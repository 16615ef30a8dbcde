"""The pictures of a job: chunk by chunk, with masks and annotated copies on the way."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from tools.common.console import Advance
from tools.predict.annotate import Overlay, annotated
from tools.predict.dark import DarkWarning
from tools.predict.palette import colours_of
from tools.predict.predictor import Answer, Predictor
from tools.predict.recipes import Given, recipe_of
from tools.predict.tables import line, pixel_entry, scene_entry
from tools.predict.windows import Pixels, most_likely
from tools.predict.work import Work
from tools.prepare.images import read_picture
from train.inference.trained_model import TrainedModel
from train.tasks.base import Task

_QUALITY = 90


class PictureJob:
    """What is done with every picture.

    Args:
        model: The network.
        work: Where the results go.
        max_pixels: Most pixels of a picture.
        given: What the user says of bands and values.
        copies: Whether annotated copies are made.
        warning: Warns of pictures that are nearly black.
    """

    def __init__(
        self,
        model: TrainedModel,
        work: Work,
        max_pixels: int,
        given: Given,
        copies: bool,
        warning: DarkWarning,
    ) -> None:
        self._model, self._work, self._copies, self._warning = model, work, copies, warning
        self._predictor = Predictor(model, max_pixels, given)
        self._recipe = replace(recipe_of(model.inputs[0], max_pixels, given), size=None)
        self._colours = {task.name: colours_of(model.blueprint, task) for task in model.tasks}

    def run(self, chunks: Iterable[int], sources: Any, advance: Advance) -> None:
        """Do chunks that are not done yet; ``sources`` gives the pictures of one."""
        for number in chunks:
            lines = []
            for answer in self._predictor.answers(sources(number)):
                lines.append(line(self._entry(answer)))
                if answer.squares is not None:
                    self._warning.look_at(answer.source.file, answer.squares.spread)
                advance(1)
            self._work.finish_chunk(number, lines)

    def _entry(self, answer: Answer) -> dict[str, Any]:
        """Write the files of a picture; return its line."""
        entry, masks = entry_of(self._model.tasks, answer)
        for task, mask in masks.items():
            name = entry["tasks"][task]["mask"]
            self._work.save(name, partial(_write_mask, mask, self._colours[task]))
        if self._copies and answer.squares is not None:
            upright = read_picture(answer.source.read(), self._recipe).image
            overlays = [Overlay(task, mask, self._colours[task]) for task, mask in masks.items()]
            copy = annotated(upright, entry["tasks"], overlays)
            name = f"pictures/{answer.source.stem}.jpg"
            self._work.save(name, partial(copy.save, format="JPEG", quality=_QUALITY))
        return entry


def entry_of(tasks: Sequence[Task], answer: Answer) -> tuple[dict[str, Any], dict[str, Pixels]]:
    """Return what a line of ``predictions.jsonl`` says of a picture, and its masks by task."""
    if answer.squares is None:
        return {"file": answer.source.file, "error": answer.error}, {}
    width, height = answer.squares.size
    told: dict[str, Any] = {}
    masks: dict[str, Pixels] = {}
    for position, task in enumerate(tasks):
        if task.label_space is None:
            told[task.name] = scene_entry(task.classes, answer.scene(position))
            continue
        masks[task.name] = mask = most_likely(answer.pixels(position), (width, height))
        name = f"masks/{task.name}/{answer.source.stem}.png"
        told[task.name] = pixel_entry(task.classes, mask, name)
    return {"file": answer.source.file, "width": width, "height": height, "tasks": told}, masks


def _write_mask(mask: Pixels, colours: Any, path: Path) -> None:
    image = Image.fromarray(mask)
    image.putpalette([value for colour in colours for value in colour])
    image.save(path, "PNG")
