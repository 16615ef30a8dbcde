"""The formats: each writes a network into a folder, loads it again, and asks it."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from safetensors.numpy import load_file, save_file

from tools.common.command_line import require_packages
from tools.export import torch_files
from tools.export.replay import Comparison, Floats, Pictures, compare, expected
from tools.export.subject import Answers, Subject

# Computes the logits of a network, for every task.
Logits = Callable[[], Sequence[Floats]]
REQUIREMENTS = "requirements-export.txt"
# Pictures that are asked at once, which divides no number of theirs.
_BATCH = 3


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a format.

    Attributes:
        answers: What comes out.
        batch: Pictures at once, where a format fixes it.
        size: Their height and width in pixels, where a format fixes them.
        deepness: Whether it is for the QGIS plugin Deepness.
        resolution: cm per pixel that it was trained at, if known.
        python: An interpreter that has torch.
    """

    answers: Answers
    batch: int
    size: int
    deepness: bool
    resolution: float | None
    python: str


class Form(ABC):
    """A format.

    Attributes:
        file: The name of its file, which holds the network.
        needs: Modules that it needs.
    """

    file: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted

    @classmethod
    def require(cls, name: str) -> None:
        """Raise a UserError if it cannot be written here."""
        require_packages(f"--format {name}", REQUIREMENTS, *cls.needs)

    @abstractmethod
    def write(self, subject: Subject, folder: Path, about: dict[str, Any]) -> None:
        """Write the network; ``about`` is model.json, which is there already."""

    @abstractmethod
    def replay(
        self, subject: Subject, folder: Path, shown: Pictures, logits: Logits
    ) -> Comparison | str:
        """Load what was written and compare its answers with those of the network.

        Args:
            subject: The network.
            folder: What was written.
            shown: The pictures to show both.
            logits: Computes the network's.

        Returns:
            The comparison, or why there is none.
        """


class Onnx(Form):
    """One file for onnxruntime and many others; see :mod:`tools.export.onnx_graph`."""

    file = "model.onnx"
    needs = ("onnx", "onnxruntime")

    def write(self, subject: Subject, folder: Path, about: dict[str, Any]) -> None:
        """See the base class."""
        from tools.export import onnx_file

        wanted, keys = self.wanted, {"mtln": json.dumps(about)}
        if wanted.deepness:
            keys |= onnx_file.deepness_keys(subject, wanted.size, wanted.resolution)
        square = wanted.size if wanted.deepness else None
        onnx_file.write(subject, folder / self.file, wanted.answers, square, keys)

    def replay(
        self, subject: Subject, folder: Path, shown: Pictures, logits: Logits
    ) -> Comparison | str:
        """See the base class."""
        from tools.export import onnx_file

        answers, wanted = self.wanted.answers, self.wanted.deepness
        found, raw = onnx_file.ask(folder / self.file, shown.pixels, _BATCH, wanted)
        right = logits()
        return compare(shown.what, expected(right, answers), found, answers) + compare(
            shown.what, right, raw, "logits"
        )


class MindIR(Form):
    """MindSpore's own format."""

    file = "model.mindir"

    def write(self, subject: Subject, folder: Path, about: dict[str, Any]) -> None:
        """See the base class."""
        from tools.export import mindir

        wanted = self.wanted
        mindir.write(subject, folder / self.file, wanted.answers, wanted.batch, wanted.size)

    def replay(
        self, subject: Subject, folder: Path, shown: Pictures, logits: Logits
    ) -> Comparison | str:
        """See the base class."""
        from tools.export import mindir

        found = mindir.answers_of(folder / self.file, shown.pixels, self.wanted.batch)
        answers = self.wanted.answers
        return compare(shown.what, expected(logits(), answers), found, answers)


class Safetensors(Form):
    """The parameters alone, under the names that they have in train/model."""

    file = "model.safetensors"

    def write(self, subject: Subject, folder: Path, about: dict[str, Any]) -> None:
        """See the base class."""
        save_file(subject.arrays, folder / self.file)

    def replay(
        self, subject: Subject, folder: Path, shown: Pictures, logits: Logits
    ) -> Comparison | str:
        """Compare the arrays themselves: no network reads this file."""
        found = load_file(folder / self.file)
        same = found.keys() == subject.arrays.keys() and all(
            np.array_equal(found[name], values) for name, values in subject.arrays.items()
        )
        told = "all parameters are the same, bit for bit" if same else "parameters differ"
        return Comparison(told, 0.0 if same else np.inf, 0, 0)


class Torch(Form):
    """The parameters under PyTorch's names, and a module that loads them."""

    file = torch_files.STATE

    def write(self, subject: Subject, folder: Path, about: dict[str, Any]) -> None:
        """See the base class."""
        torch_files.write(subject, folder)

    def replay(
        self, subject: Subject, folder: Path, shown: Pictures, logits: Logits
    ) -> Comparison | str:
        """See the base class."""
        python = self.wanted.python
        if missing := torch_files.missing(python):
            return f"{python} has no {' and no '.join(missing)} (--python names one that has)"
        found = torch_files.logits(folder, shown.pixels, _BATCH, python)
        return compare(shown.what, logits(), found, "logits")


FORMS: dict[str, type[Form]] = {
    "onnx": Onnx,
    "mindir": MindIR,
    "safetensors": Safetensors,
    "torch": Torch,
}
