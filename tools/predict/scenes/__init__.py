"""Satellite scenes: a stand-in until the branch that reads them is merged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tools.predict.scenes.options import SceneOptions, add_arguments
from train.errors import UserError

if TYPE_CHECKING:
    from tools.predict.share import Share
    from train.inference.trained_model import TrainedModel

__all__ = [
    "SceneOptions",
    "add_arguments",
    "check_scene",
    "finish_scene",
    "predict_scene",
    "scene_size",
]


def scene_size(path: Path) -> tuple[int, int]:
    """Return width and height of a scene in pixels."""
    raise UserError(f"{path}: scenes cannot be read yet (--as-pictures takes it as a picture)")


def check_scene(path: Path, name: str, model: TrainedModel, options: SceneOptions) -> None:
    """Raise a UserError if a scene cannot be predicted."""


def predict_scene(
    model: TrainedModel,
    path: Path,
    name: str,
    to: Path,
    options: SceneOptions,
    share: Share,
    advance: Callable[[int], None],
) -> None:
    """Compute this process's share."""


def finish_scene(
    model: TrainedModel, path: Path, name: str, to: Path, options: SceneOptions
) -> list[str]:
    """Make the files of a scene of its pieces."""
    return []
