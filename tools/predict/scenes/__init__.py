"""Satellite scenes of any size: class maps, polygons and grids of tiles, where the scene is.

Read pixels.py first. Blocks of a scene are read tile by tile in a thread (reader.py), the network
is asked in batches, and its answers are blended (grid.py) into pieces, each a small file. Scene
tasks have a grid of their own (cells.py). Of the pieces, finish.py makes the files for the user:
Cloud-Optimized GeoTIFFs (cog.py), polygons and grids (layers.py, vectors.py). What a pixel is given
depends on the grid of tiles alone, and not on blocks, processes or restarts.

Needs rasterio, which requirements-predict.txt installs; nothing here imports it, MindSpore or numpy
before a scene is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tools.predict.scenes.gdal import UnreadableScene
from tools.predict.scenes.options import SceneOptions, add_arguments

if TYPE_CHECKING:
    from tools.predict.share import Share
    from train.inference.trained_model import TrainedModel

__all__ = [
    "Look",
    "SceneOptions",
    "UnreadableScene",
    "add_arguments",
    "check_scene",
    "finish_scene",
    "forget_scene",
    "predict_scene",
    "scene_size",
]


class Look(NamedTuple):
    """What is known of a scene before it is computed.

    Attributes:
        spread: Which of its values it uses, if they have more than 8 bits and no range is given.
        done: How many pieces of it an earlier start has left.
        pieces: How many there are in the end.
    """

    spread: tuple[float, float] | None
    done: int
    pieces: int


def scene_size(path: Path) -> tuple[int, int]:
    """Return width and height of a scene in pixels.

    Raises:
        UnreadableScene: It cannot be read.
        UserError: rasterio is not installed.
    """
    from tools.predict.scenes.scene import size_of

    return size_of(path)


def check_scene(
    path: Path, name: str, model: TrainedModel, options: SceneOptions, to: Path
) -> Look:
    """Look at a scene before it is computed; ``to`` is the folder of its files.

    Raises:
        UnreadableScene: It cannot be predicted, as far as that can be told beforehand.
        UserError: The options do not fit, or rasterio is not installed.
    """
    from tools.predict.scenes.plan import Plan
    from tools.predict.scenes.work import count_pieces

    plan = Plan.of(path, name, model, options)
    return Look(plan.scene.try_out(), *count_pieces(plan, to))


def predict_scene(
    model: TrainedModel,
    path: Path,
    name: str,
    to: Path,
    options: SceneOptions,
    share: Share,
    advance: Callable[[int], None],
) -> None:
    """Compute this process's share of the pieces of a scene that are not there yet.

    Args:
        model: The network.
        path: The scene.
        name: What the user calls it.
        to: The folder of this scene's files.
        options: What is made of it.
        share: Which pieces are this process's.
        advance: Takes the number of pixels that are finished; in the end, of all processes
            together, those of the scene.

    Raises:
        UnreadableScene: The scene cannot be read.
        OSError: A piece cannot be written.
    """
    from tools.predict.scenes.plan import Plan
    from tools.predict.scenes.work import work

    work(Plan.of(path, name, model, options), model, to, share, advance)


def finish_scene(
    model: TrainedModel, path: Path, name: str, to: Path, options: SceneOptions
) -> list[str]:
    """Make the files of a scene of all its pieces, which are removed; return their names.

    Raises:
        UserError: A piece is missing, or a file cannot be written.
        OSError: The same.
    """
    from tools.predict.scenes.finish import finish
    from tools.predict.scenes.plan import Plan

    return finish(Plan.of(path, name, model, options), to)


def forget_scene(to: Path) -> None:
    """Remove what is there of a scene that cannot be read to its end."""
    from tools.predict.scenes.work import forget_pieces

    forget_pieces(to)
