"""From the bytes of some pictures to what the server says of them."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tools.predict.legend import hexadecimal
from tools.predict.palette import colours_of
from tools.predict.pictures import entry_of
from tools.predict.predictor import Answer, Predictor
from tools.predict.recipes import recipe_of
from tools.predict.tables import line
from tools.predict.windows import Pixels
from tools.prepare.images import read_picture
from tools.prepare.recipe import MAX_PIXELS
from train.inference.trained_model import TrainedModel

# Classes that the page shows of a task.
_SHOWN = 5
# Longest side of the pictures of the page, in pixels.
_LONGEST = 480
_OPACITY = 0.5


@dataclass(frozen=True)
class Question:
    """A picture that somebody asks about.

    Attributes:
        file: What they call it.
        data: Its bytes.
        with_pictures: Whether they want to see more than figures.
    """

    file: str
    data: bytes
    with_pictures: bool

    @property
    def stem(self) -> str:
        """What a file made of it would be called."""
        return PurePosixPath(self.file).stem

    def read(self) -> bytes:
        """Return its bytes, as the predictor asks for them."""
        return self.data


@dataclass(frozen=True)
class Answered:
    """What is said of a picture.

    Attributes:
        line: Its line of ``predictions.jsonl``.
        pictures: What the page shows of every task; empty if nobody wants to see it.
    """

    line: str
    pictures: list[dict[str, Any]]


class NoPicture(Exception):
    """A picture cannot be read, or the network has not learned from such pictures."""


class Answerer:
    """Answers questions with a network.

    Args:
        model: The network.
        where: What its checkpoint is called.

    Attributes:
        about: What the network is, as plain values.
    """

    def __init__(self, model: TrainedModel, where: str) -> None:
        self._model = model
        self._predictor = Predictor(model, MAX_PIXELS)
        self._recipe = replace(recipe_of(model.inputs[0], MAX_PIXELS), size=None)
        self._colours = [colours_of(model.blueprint, task) for task in model.tasks]
        tasks = [{"name": t.name, "kind": t.kind, "classes": list(t.classes)} for t in model.tasks]
        self.about = {"checkpoint": where, "tasks": tasks, "image_size": model.image_size}

    def warm_up(self) -> None:
        """Compile all that an answer takes, so that the first one does not wait for it."""
        size = self._model.image_size
        buffer = io.BytesIO()
        Image.new("RGB", (size, size)).save(buffer, "PNG")
        self([Question("", buffer.getvalue(), with_pictures=True)])

    def __call__(self, questions: Sequence[Question]) -> list[Answered | Exception]:
        """Return an answer, or why there is none, for every question."""
        return [
            self._answered(question, answer)
            for question, answer in zip(questions, self._predictor.answers(questions), strict=True)
        ]

    def _answered(self, question: Question, answer: Answer) -> Answered | Exception:
        if answer.squares is None:
            return NoPicture(answer.error)
        entry, masks = entry_of(self._model.tasks, answer)
        pictures = self._pictures(question, answer, entry, masks) if question.with_pictures else []
        return Answered(line(entry), pictures)

    def _pictures(
        self,
        question: Question,
        answer: Answer,
        entry: Mapping[str, Any],
        masks: Mapping[str, Pixels],
    ) -> list[dict[str, Any]]:
        upright = read_picture(question.data, self._recipe).image
        upright.thumbnail((_LONGEST, _LONGEST))
        attention = self._attention(answer)
        shown = []
        for task, colours, maps in zip(self._model.tasks, self._colours, attention, strict=True):
            told = entry["tasks"][task.name]
            shares: Mapping[str, float] = told.get("probabilities") or told["shares"]
            bars = sorted(shares.items(), key=lambda pair: -pair[1])[:_SHOWN]
            card: dict[str, Any] = {"task": task.name, "bars": bars, "attention": maps}
            if task.name in masks:
                card["note"] = "Share of the pixels of each class."
                card["overlay"] = _covered(upright, masks[task.name], colours)
                named = zip(task.classes, colours, strict=True)
                card["legend"] = [[name, hexadecimal(colour)] for name, colour in named]
            shown.append(card)
        return shown

    def _attention(self, answer: Answer) -> list[list[str]]:
        """Return of every task the attention on every level, over the square in the middle."""
        if not self._model.has_attention:
            return [[] for _ in self._model.tasks]
        assert answer.squares is not None
        images = self._predictor.inputs([(answer, 0)])
        background = Image.fromarray(images[0][0])
        maps = self._model.attention(images)
        return [[_heat(background, level[0]) for level in of_task] for of_task in maps]


def _covered(picture: Image.Image, mask: Pixels, colours: Sequence[Any]) -> str:
    small = Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST)
    small.putpalette([value for colour in colours for value in colour])
    return _data_uri(Image.blend(picture, small.convert("RGB"), _OPACITY))


def _heat(picture: Image.Image, attention: npt.NDArray[np.float32]) -> str:
    """Lay a map (H, W) over a picture: dark where little passes, of its range in this map."""
    low, high = float(attention.min()), float(attention.max())
    share = (attention - low) / (high - low) if high > low else np.ones_like(attention)
    size = (192, 192)
    light = Image.fromarray((share * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    strength = 0.15 + 0.85 * np.asarray(light, np.float32)[..., None] / 255
    pixels = np.asarray(picture.resize(size, Image.Resampling.BILINEAR), np.float32)
    return _data_uri(Image.fromarray((pixels * strength).astype(np.uint8)))


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
