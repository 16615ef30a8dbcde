"""What the command line asks for, checked as far as it can be without the run."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.common.command_line import check_ranges
from train.config.nearest import did_you_mean
from train.errors import UserError

FORMATS = ("onnx", "mindir", "safetensors", "torch")
ANSWERS = ("probabilities", "labels", "logits")
# Of these, a file fixes what comes out.
_WITH_ANSWERS = ("onnx", "mindir")


@dataclass(frozen=True)
class Options:
    """The options of ``tools export``; see its --help."""

    run: str
    form: str
    out: Path
    checkpoint: str
    tasks: list[str] | None
    seen_as: str | None
    answers: Any
    batch: int
    size: int | None
    deepness: bool
    resolution: float | None
    python: str
    license: str | None
    cite: str | None
    stac: bool
    overwrite: bool

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Options:
        """Check a command line.

        Raises:
            UserError: Names the option and what is allowed.
        """
        form, answers = arguments.format, arguments.answers
        _require("--format", "format", form, FORMATS)
        _require("--answers", "answer", answers or ANSWERS[0], ANSWERS)
        check_ranges(arguments, {"batch": (1, 4096), "size": (8, 8192)})
        if answers and form not in _WITH_ANSWERS:
            raise UserError(f"--answers: is of {' and '.join(_WITH_ANSWERS)}, not of {form}")
        if arguments.batch is not None and form != "mindir":
            raise UserError(f"--batch: is of mindir, not of {form}, which takes any number")
        if arguments.deepness and form != "onnx":
            raise UserError(f"--deepness: is of onnx, not of {form}")
        if arguments.deepness and answers not in (None, "probabilities"):
            raise UserError("--deepness: the plugin needs --answers probabilities")
        if arguments.size is not None and not (form == "mindir" or arguments.deepness):
            raise UserError("--size: is of mindir and of --deepness; others take any size")
        resolution = arguments.resolution
        if resolution is not None and not (arguments.deepness and 0 < resolution < 1e6):
            raise UserError(f"--resolution {resolution:g}: must be above 0, with --deepness")
        values = vars(arguments) | {
            "form": form,
            "tasks": _names(arguments.tasks),
            "answers": answers or ANSWERS[0],
            "batch": arguments.batch or 1,
        }
        del values["format"]
        return cls(**values)


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UserError(f"--tasks {text!r}: must be names with commas between them")
    return names


def _require(option: str, kind: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        hint = did_you_mean(value, known)
        raise UserError(f"{option}: no {kind} {value!r:.40} (there are: {', '.join(known)}){hint}")
