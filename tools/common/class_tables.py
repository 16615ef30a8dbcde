"""Tables of what a prepared data set holds: records and pixels per class and split."""

from collections.abc import Sequence

from tools.common import console
from train.data.manifest import Manifest


def class_table(manifest: Manifest) -> str:
    """Return the records of every class in every split, as a table."""
    splits = manifest.splits.values()
    rows: list[list[object]] = [["class", *manifest.splits, "total"]]
    for label, name in enumerate(manifest.classes):
        counts = [split.per_class[label] for split in splits]
        rows.append([name, *counts, sum(counts)])
    totals = [split.records for split in splits]
    return console.table([*rows, ["total", *totals, sum(totals)]])


def pixel_table(manifest: Manifest, space: str) -> str:
    """Return the share of every class in the pixels of a label space of masks, as a table."""
    found = [shares(split.pixels[space]) for split in manifest.splits.values()]
    rows: list[list[object]] = [[f"pixels of {space}", *manifest.splits]]
    for position, name in enumerate([*manifest.masks[space].classes, "(no class)"]):
        rows.append([name, *(f"{of_split[position]:.1%}" for of_split in found)])
    return console.table(rows)


def shares(pixels: Sequence[int]) -> list[float]:
    """Return the shares of the classes and, last, of what has none, in all pixels."""
    total = max(1, sum(pixels))
    return [count / total for count in pixels]
