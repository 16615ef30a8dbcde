"""From the bytes of some pictures to what the server says of them.

Shapes: H, W = of an attention map.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tools.predict.palette import colours_of
from tools.predict.pictures import entry_of
from tools.predict.predictor import Answer, Predictor
from tools.predict.recipes import recipe_of
from tools.predict.tables import line
from tools.prepare.bands import Tiff
from tools.prepare.images import read_picture
from tools.serve.shown import LONGEST, Shown, card, whole
from train.inference.trained_model import TrainedModel


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
class Opened(Question):
    """A picture that is decoded; its bytes are not needed any more.

    Attributes:
        answer: What there is for the network.
        upright: What the page shows of it, if somebody wants to see more than figures.
    """

    answer: Answer
    upright: Image.Image | None


@dataclass(frozen=True)
class Seen:
    """A picture that the network has seen.

    Attributes:
        opened: The picture.
        answer: What the network says of it.
        attention: Of every task, of every level, (H, W) in 0..1.
    """

    opened: Opened
    answer: Answer
    attention: list[list[npt.NDArray[np.float32]]] = field(default_factory=list)


@dataclass(frozen=True)
class Answered:
    """What is said of a picture.

    Attributes:
        line: Its line of ``predictions.jsonl``.
        shown: What the page shows; empty if nobody wants to see it.
    """

    line: str
    shown: Shown


class NoPicture(Exception):
    """A picture cannot be read, or the network has not learned from such pictures."""


class Answerer:
    """What is done with a picture, step by step (:class:`tools.serve.desk.Steps`).

    Args:
        model: The network.
        where: What its checkpoint is called.
        max_pixels: Most pixels of a picture.

    Attributes:
        about: What the network is, as plain values.
    """

    def __init__(self, model: TrainedModel, where: str, max_pixels: int) -> None:
        self._model = model
        self._max_pixels = max_pixels
        self._predictor = Predictor(model, max_pixels)
        self._recipe = replace(recipe_of(model.inputs[0], max_pixels), size=None)
        self._colours = [colours_of(model.blueprint, task) for task in model.tasks]
        tasks = [{"name": t.name, "kind": t.kind, "classes": list(t.classes)} for t in model.tasks]
        self.about = {"checkpoint": where, "tasks": tasks, "image_size": model.image_size}

    def warm_up(self) -> None:
        """Compile all that an answer takes, so that the first one does not wait for it."""
        size = self._model.image_size
        buffer = io.BytesIO()
        Image.new("RGB", (size, size)).save(buffer, "PNG")
        opened = self.open(Question("", buffer.getvalue(), with_pictures=True))
        self.tell(self.compute([opened])[0])

    def pixels(self, question: Question) -> int:
        """Return how many pixels a picture has, from its header; 0 if that cannot be read.

        Raises:
            NoPicture: They are too many.
        """
        width, height = _size(question.data)
        if width * height > self._max_pixels:
            raise NoPicture(
                f"{width}x{height} are {width * height} pixels, more than the {self._max_pixels} "
                "that are taken (--max-pixels)"
            )
        return width * height

    def open(self, question: Question) -> Opened:
        """Decode a picture.

        Raises:
            NoPicture: It cannot be used.
        """
        answer = self._predictor.decoded(question)
        if answer.squares is None:
            raise NoPicture(answer.error)
        upright = None
        if question.with_pictures:
            upright = read_picture(question.data, self._recipe).image
            upright.thumbnail((LONGEST, LONGEST))
        return Opened(question.file, b"", question.with_pictures, answer, upright)

    def compute(self, pictures: Sequence[Opened]) -> list[Seen]:
        """Show pictures to the network: the one step that is done for several, in one thread."""
        answers = list(self._predictor.computed(picture.answer for picture in pictures))
        curious = [a for p, a in zip(pictures, answers, strict=True) if p.with_pictures]
        maps = iter(self._attention(curious) if curious else [])
        return [
            Seen(picture, answer, next(maps) if picture.with_pictures else [])
            for picture, answer in zip(pictures, answers, strict=True)
        ]

    def tell(self, seen: Seen) -> Answered:
        """Say and draw what the network has seen."""
        entry, masks = entry_of(self._model.tasks, seen.answer)
        upright = seen.opened.upright
        if upright is None:
            return Answered(line(entry), {})
        cards: list[Mapping[str, Any]] = []
        each = zip(self._model.tasks, self._colours, seen.attention, strict=True)
        for task, colours, maps in each:
            mask = masks.get(task.name)
            cards.append(card(task, entry["tasks"][task.name], upright, maps, mask, colours))
        return Answered(line(entry), {"picture": whole(upright), "cards": cards})

    def _attention(self, answers: Sequence[Answer]) -> list[list[list[npt.NDArray[np.float32]]]]:
        """Return, of every picture, the maps of every task over the square in the middle."""
        if not self._model.has_attention:
            return [[[] for _ in self._model.tasks] for _ in answers]
        found = self._model.attention(self._predictor.inputs([(answer, 0) for answer in answers]))
        return [[[level[i] for level in task] for task in found] for i in range(len(answers))]


def _size(data: bytes) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.size
    except Exception:  # decoders raise nearly anything on damaged files
        return _size_of_tiff(data)


def _size_of_tiff(data: bytes) -> tuple[int, int]:
    """Return the size of a TIFF that Pillow does not read, as one of many bands."""
    try:
        tiff = Tiff.open(data)
    except Exception:
        return 0, 0
    return (0, 0) if tiff is None else tiff.size
