"""How the pictures of a data set became what its network has learned from."""

from collections.abc import Iterable

from tools.prepare.recipe import MAX_PIXELS, Recipe
from train.data.manifest import RecordSet

_ANY_QUALITY = 95  # of PNG, which has none


def recipe_of(record_set: RecordSet, max_pixels: int = MAX_PIXELS) -> Recipe:
    """Return how ``tools prepare`` made the records of a data set, as a checkpoint tells it."""
    image = record_set.manifest.image
    options = record_set.manifest.source.get("options", {})
    bands, span = options.get("bands"), options.get("range")
    return Recipe(
        format=image["format"],
        quality=image["quality"] or _ANY_QUALITY,
        size=image["size"],
        bands=None if bands is None else (bands[0], bands[1], bands[2]),
        range=None if span is None else (span[0], span[1]),
        max_pixels=max_pixels,
    )


def recipes_of(sets: Iterable[RecordSet], max_pixels: int) -> tuple[tuple[Recipe, ...], list[int]]:
    """Return the different recipes of some data sets, and for each set the position of its own."""
    of_sets = [recipe_of(s, max_pixels) for s in sets]
    different = tuple(dict.fromkeys(of_sets))
    return different, [different.index(recipe) for recipe in of_sets]
