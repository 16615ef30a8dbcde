"""From pieces to the files for the user."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tools.predict.scenes.cog import write_cog
from tools.predict.scenes.layers import areas, squares
from tools.predict.scenes.pieces import PIECES, Output, outputs_of
from tools.predict.scenes.plan import Plan
from tools.predict.scenes.reader import parts_of
from tools.predict.scenes.vectors import Feature, coordinates_note, write_layer
from train.files import flush_folder, publish

# Of a class map, what TIFF has no place for: the names of its classes, which QGIS shows.
_SIDECAR = ".aux.xml"


def names_of(plan: Plan, to: Path) -> list[str]:
    """Return the names of the files that a scene gets."""
    rasters = [name for output in outputs_of(plan) for name in _files(output, to)]
    return [*rasters, *(f"{to.name}_{task}.{plan.options.vector}" for task in _layers(plan, to))]


def is_finished(plan: Plan, to: Path) -> bool:
    """Return whether all files are there; then the pieces, which go last, may be gone."""
    return all((to / name).exists() for name in names_of(plan, to))


def finish(plan: Plan, to: Path) -> list[str]:
    """Make the files of a scene, remove the pieces, and return the names of the files.

    Raises:
        UserError: A piece is missing, or a file cannot be written.
        OSError: A piece is missing, or a file cannot be written.
    """
    if not is_finished(plan, to):
        if (note := coordinates_note(plan.scene.place)) is not None:
            print(f"note: {plan.scene.name}: {note}", flush=True)
        _make(plan, to)
    shutil.rmtree(to / PIECES, ignore_errors=True)
    return names_of(plan, to)


def _make(plan: Plan, to: Path) -> None:
    """Make all files among the pieces, and put each into its place once it is whole."""
    made, parts = to / PIECES, parts_of(plan)
    for output in outputs_of(plan):
        names = _files(output, to)
        write_cog(made / names[0], plan.scene, output, parts, to)
        for name in names:
            publish(made / name, to / name)
    for task, features in _layers(plan, to).items():
        name = f"{to.name}_{task}.{plan.options.vector}"
        write_layer(made / name, plan.scene.place, task, features(), plan.options.vector)
        publish(made / name, to / name)
    flush_folder(to)


def _files(output: Output, to: Path) -> list[str]:
    name = output.name(to.name)
    return [name, name + _SIDECAR] if output.probabilities is None else [name]


def _layers(plan: Plan, to: Path) -> dict[str, Callable[[], Iterator[Feature]]]:
    """Return by task what makes the polygons of its layer."""
    layers: dict[str, Callable[[], Iterator[Feature]]] = {
        answer.name: partial(squares, plan, to, answer) for answer in plan.of_cells
    }
    if plan.options.polygons:
        for answer in plan.of_pixels:
            class_map = to / Output(answer, None).name(to.name)
            layers[answer.name] = partial(areas, class_map, answer)
    return layers
