"""Tables of what a prepared data set holds: records and pixels per class and split."""

from __future__ import annotations

from collections.abc import Sequence

from tools import console
from train.data.manifest import Manifest


def class_table(manifest: Manifest) -> str:
    """Records of every class in every split."""
    splits = list(manifest.splits.values())
    rows: list[list[object]] = [["class", *manifest.splits, "total"]]
    for label, name in enumerate(manifest.classes):
        counts = [split.per_class[label] for split in splits]
        rows.append([name, *counts, sum(counts)])
    totals = [split.records for split in splits]
    rows.append(["total", *totals, sum(totals)])
    return console.table(rows)


def pixel_table(manifest: Manifest, space: str) -> str:
    """The share of every class in the pixels of a label space of masks."""
    found = [shares(split.pixels[space]) for split in manifest.splits.values()]
    rows: list[list[object]] = [[f"pixels of {space}", *manifest.splits]]
    for position, name in enumerate([*manifest.masks[space].classes, "(no class)"]):
        rows.append([name, *(f"{of_split[position]:.1%}" for of_split in found)])
    return console.table(rows)


def shares(pixels: Sequence[int]) -> list[float]:
    """Shares of the classes and, last, of what has none, in all pixels."""
    total = max(1, sum(pixels))
    return [count / total for count in pixels]
