"""How the pictures of a data set became what its network has learned from."""

from collections.abc import Iterable
from dataclasses import dataclass

from tools.prepare.recipe import MAX_PIXELS, Recipe
from train.data.manifest import RecordSet

_ANY_QUALITY = 95  # of PNG, which has none


@dataclass(frozen=True)
class Given:
    """What the user says of the files, in place of what their data set was prepared with.

    Attributes:
        bands: Numbers of the bands that are red, green and blue; None: as the training data had.
        range: Values that become 0 and 255; None: as the training data had.
    """

    bands: tuple[int, int, int] | None = None
    range: tuple[float, float] | None = None


NOTHING = Given()


def recipe_of(
    record_set: RecordSet, max_pixels: int = MAX_PIXELS, given: Given = NOTHING
) -> Recipe:
    """Return how ``tools prepare`` made the records of a data set, as a checkpoint tells it."""
    image = record_set.manifest.image
    options = record_set.manifest.source.get("options", {})
    bands, span = options.get("bands"), options.get("range")
    return Recipe(
        format=image["format"],
        quality=image["quality"] or _ANY_QUALITY,
        size=image["size"],
        bands=given.bands or (None if bands is None else (bands[0], bands[1], bands[2])),
        range=given.range or (None if span is None else (span[0], span[1])),
        max_pixels=max_pixels,
    )


def recipes_of(
    sets: Iterable[RecordSet], max_pixels: int, given: Given = NOTHING
) -> tuple[tuple[Recipe, ...], list[int]]:
    """Return the different recipes of some data sets, and for each set the position of its own."""
    of_sets = [recipe_of(s, max_pixels, given) for s in sets]
    different = tuple(dict.fromkeys(of_sets))
    return different, [different.index(recipe) for recipe in of_sets]


def described(recipe: Recipe) -> str:
    """Say what pictures a recipe is for."""
    bands = "bands " + ",".join(map(str, recipe.bands)) if recipe.bands else "three bands"
    if recipe.range is None:
        return f"{bands} of 8 bits"
    return f"{bands} with values from {recipe.range[0]:g} to {recipe.range[1]:g}"
