"""What is to be computed of a scene: its tasks, its grids, and the files that come out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tools.predict.palette import colours_of
from tools.predict.recipes import Given, described, recipe_of
from tools.predict.scenes.grid import Axis
from tools.predict.scenes.options import SceneOptions
from tools.predict.scenes.scene import Scene
from tools.prepare.recipe import Recipe
from train.errors import UserError

if TYPE_CHECKING:
    from train.inference.trained_model import TrainedModel

_SEGMENTATION, _SCENE = "segmentation", "scene"
# Smaller tiles are hardly more than edges. Larger ones than these, or than those of the training,
# cost memory: a batch of them is in the network at once.
_TILE = 128
# Of the networks, the product of all strides at most: so that what it halves, it halves evenly.
_MULTIPLE = 32


@dataclass(frozen=True)
class Answer:
    """A task, and where the network's answer to it is.

    Attributes:
        position: Its place among all tasks.
        name: Its name.
        classes: Class names.
        colours: A colour for each class.
    """

    position: int
    name: str
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Plan:
    """What is to be computed.

    Attributes:
        scene: The scene.
        options: What is made of it.
        of_pixels: Its segmentation tasks.
        of_cells: Its scene tasks.
        rows, columns: The tiles of segmentation tasks, down and across.
        cell: Side of a tile of scene tasks in pixels.
    """

    scene: Scene
    options: SceneOptions
    of_pixels: tuple[Answer, ...]
    of_cells: tuple[Answer, ...]
    rows: Axis
    columns: Axis
    cell: int

    @classmethod
    def of(cls, path: Path, name: str, model: TrainedModel, options: SceneOptions) -> Plan:
        """Plan a scene.

        Raises:
            UnreadableScene: The scene cannot be read.
            UserError: The options do not fit, or rasterio is not installed.
        """
        tile = options.tile or max(_TILE, -(-model.image_size // _MULTIPLE) * _MULTIPLE)
        stride = options.stride or max(1, tile * 3 // 4)
        if stride > tile:
            raise UserError(f"--stride {stride}: must not be larger than a tile (--tile {tile})")
        recipe = _recipe(name, model, options)
        scene = Scene.of(path, name, recipe, chosen=options.bands is not None)
        return cls(
            scene,
            options,
            _answers(model, _SEGMENTATION),
            _answers(model, _SCENE),
            Axis(scene.height, tile, stride, options.blend),
            Axis(scene.width, tile, stride, options.blend),
            options.scene_tile or _usual_side(model),
        )


def _answers(model: TrainedModel, kind: str) -> tuple[Answer, ...]:
    return tuple(
        Answer(i, task.name, task.classes, tuple(colours_of(model.blueprint, task)))
        for i, task in enumerate(model.tasks)
        if task.kind == kind
    )


def _recipe(name: str, model: TrainedModel, options: SceneOptions) -> Recipe:
    """Return how pictures became 8-bit RGB: in one way, whatever data set they were of."""
    given = Given(options.bands, options.range)
    of_sets = {s.name: recipe_of(s, given=given) for s in model.inputs}
    if len({(recipe.bands, recipe.range) for recipe in of_sets.values()}) > 1:
        sets = "; ".join(f"{of_set}: {described(recipe)}" for of_set, recipe in of_sets.items())
        raise UserError(
            f"{name}: the data sets of the tasks were prepared with different bands or ranges of "
            f"values ({sets}): say with --bands and --range what those of the scene are, or choose "
            "tasks of one data set with --tasks"
        )
    first = next(iter(of_sets.values()))
    return replace(first, size=None)


def _usual_side(model: TrainedModel) -> int:
    """Return the side of the training pictures: of several data sets, the one in the middle."""
    sides: list[int] = []
    for record_set in model.inputs:
        image = record_set.manifest.image
        shortest = min(image["height"][0], image["width"][0])
        longest = min(image["height"][1], image["width"][1])
        sides.append(image["size"] or (shortest + longest) // 2)
    return sorted(sides)[len(sides) // 2]
