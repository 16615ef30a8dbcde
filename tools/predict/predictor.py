"""Pictures in, answers out: files are decoded in threads while the network computes.

Shapes: K = classes of a task, H, W = height and width.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tools.predict.ahead import ahead
from tools.predict.decoding import Decoder, Squares
from tools.predict.recipes import NOTHING, Given, described, recipes_of
from tools.predict.windows import Floats, Pixels, blended
from tools.prepare.recipe import DoesNotFit, Recipe
from train.errors import UserError
from train.inference.trained_model import TrainedModel
from train.preflight.limits import usable_cores
from train.storage.retry import StorageError

_MOST_THREADS = 8


class Picture(Protocol):
    """What is asked about (:class:`tools.predict.inputs.Source`)."""

    @property
    def file(self) -> str:
        """What outputs call it."""

    @property
    def stem(self) -> str:
        """What files made of it are called."""

    def read(self) -> bytes:
        """Return the content of its file."""


@dataclass
class Answer:
    """What the network says of a picture, or why it was not asked.

    Attributes:
        source: The picture.
        error: Why it cannot be read; empty if it can.
        squares: The picture as the network sees it.
        parts: For every square so far, the probabilities of every task, (K,) or (K, S, S).
    """

    source: Picture
    error: str = ""
    squares: Squares | None = None
    parts: list[list[Floats]] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether all has been computed."""
        return self.squares is None or len(self.parts) == len(self.squares.begins)

    def scene(self, task: int) -> Floats:
        """Return the probabilities (K,) of a scene task: those of the square in the middle."""
        return self.parts[0][task]

    def pixels(self, task: int) -> Floats:
        """Return the probabilities (K, H, W) of a segmentation task, of the whole picture."""
        assert self.squares is not None
        of_task = [part[task] for part in self.parts]
        return blended(of_task, self.squares.begins, self.squares.shape)


class Predictor:
    """A network that is asked about pictures, as its evaluation asked it.

    Args:
        model: The network.
        max_pixels: Most pixels of a picture.
        given: What the user says of bands and values; None: there is no way to say it.
    """

    def __init__(self, model: TrainedModel, max_pixels: int, given: Given | None = None) -> None:
        self._model = model
        recipes, self._recipe_of = recipes_of(model.inputs, max_pixels, given or NOTHING)
        self._may_choose = given is not None
        whole = any(task.label_space is not None for task in model.tasks)
        self._decoder = Decoder(recipes, model.image_size, whole)

    def answers(self, sources: Iterable[Picture]) -> Iterator[Answer]:
        """Return an answer for every picture, in their order.

        Raises:
            UserError: Object storage refuses.
            StorageError: It does not answer.
        """
        threads = min(_MOST_THREADS, usable_cores())
        most = threads + self._model.batch
        return self.computed(ahead(self.decoded, sources, threads, most=most))

    def computed(self, pictures: Iterable[Answer]) -> Iterator[Answer]:
        """Yield the answers for what was decoded, in the same order."""
        begun: deque[Answer] = deque()
        squares: list[tuple[Answer, int]] = []
        batch = self._model.batch
        for answer in pictures:
            begun.append(answer)
            if answer.squares is not None:
                squares += [(answer, i) for i in range(len(answer.squares.begins))]
            while len(squares) >= batch:
                self._compute(squares[:batch])
                del squares[:batch]
            while begun and begun[0].is_whole:
                yield begun.popleft()
        if squares:
            self._compute(squares)
        yield from begun

    def decoded(self, source: Picture) -> Answer:
        """Return what there is for the network, or why there is nothing.

        Raises:
            UserError: Object storage refuses.
            StorageError: It does not answer.
        """
        try:
            return Answer(source, squares=self._decoder.squares(source.read()))
        except (UserError, StorageError):
            raise
        except DoesNotFit as error:
            learned = _wanted(recipes_of(self._model.inputs, 0)[0])
            told = f"{error};" if self._may_choose else f"{error.what}:"
            return Answer(source, f"{told} {learned}")
        except Exception as error:
            # Decoders raise nearly anything on damaged files; one must not end the whole job.
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return Answer(source, " ".join(text.split()) or type(error).__name__)

    def inputs(self, squares: Sequence[tuple[Answer, int]]) -> list[Pixels]:
        """Return what the network sees of squares, given by picture and number.

        Returns:
            For each of the network's inputs, uint8 (n, S, S, 3).
        """
        return [
            np.stack([a.squares.pixels[recipe][i] for a, i in squares if a.squares is not None])
            for recipe in self._recipe_of
        ]

    def _compute(self, squares: Sequence[tuple[Answer, int]]) -> None:
        answers = self._model.probabilities(self.inputs(squares))
        for row, (answer, _) in enumerate(squares):
            answer.parts.append([of_task[row] for of_task in answers])


def _wanted(recipes: Sequence[Recipe]) -> str:
    """Say what pictures the network has learned from."""
    texts = dict.fromkeys(map(described, recipes))
    return f"the network has learned from pictures of {' or '.join(texts)}"
