"""What describe prints: the tables of every data set, and the classes that several have."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import indent

from tools.common.console import class_table, pixel_table, shares
from tools.describe.class_names import Class, shared
from train.data.manifest import Manifest


def report(sets: Mapping[Path, Manifest]) -> str:
    """Return the whole text for some data sets, each with its folder."""
    blocks = [_one(folder, manifest) for folder, manifest in sets.items()]
    same, probable = shared(item for manifest in sets.values() for item in _classes(manifest))
    if len(sets) > 1 or same:
        blocks.append(_groups("Classes of the same name in several data sets", same))
        blocks.append(_groups("Probably the same (synonyms)", probable))
    return "\n\n".join(blocks)


def _one(folder: Path, manifest: Manifest) -> str:
    total = sum(split.records for split in manifest.splits.values())
    lines = [
        f"{manifest.name} ({folder})",
        f"  {total:,} images, {_size(manifest)}, stored as {_form(manifest)}",
        f"  mean {_triple(manifest.mean)}, std {_triple(manifest.std)} (red, green, blue; train)",
    ]
    if manifest.classes:
        lines += [_imbalance(manifest), indent(class_table(manifest), "  ")]
    lines += [_mask_table(manifest, name) for name in manifest.masks]
    return "\n".join(lines)


def _size(manifest: Manifest) -> str:
    ranges = [manifest.image[side] for side in ("width", "height")]
    sides = [f"{low}" if low == high else f"{low}..{high}" for low, high in ranges]
    return f"{' x '.join(sides)} pixels"


def _form(manifest: Manifest) -> str:
    quality = manifest.image.get("quality")
    form = str(manifest.image["format"]).upper()
    return f"{form}, quality {quality}" if quality is not None else form


def _triple(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _imbalance(manifest: Manifest) -> str:
    counts = manifest.splits["train"].per_class
    most, least = max(counts), min(counts)
    ratio = f"{most / least:.1f}" if least else "without bound"
    named = [f"{manifest.classes[counts.index(n)]} {n:,}" for n in (most, least)]
    told = " : ".join(named) if most > least else f"{most:,} each"
    return f"  {len(counts)} scene classes; imbalance in train {ratio} ({told})"


def _mask_table(manifest: Manifest, name: str) -> str:
    classes = manifest.masks[name].classes
    in_train = shares(manifest.splits["train"].pixels[name])[:-1]
    used = [share for share in in_train if share > 0]
    ratio = f"{max(used) / min(used):.1f}" if used else "none"
    missing = [c for c, share in zip(classes, in_train, strict=True) if share == 0]
    without = f"; no train pixel of {', '.join(missing)}" if missing else ""
    head = f"  {len(classes)} classes of masks {name}; imbalance in train {ratio}{without}"
    return f"{head}\n{indent(pixel_table(manifest, name), '  ')}"


def _classes(manifest: Manifest) -> list[Class]:
    found = [Class(manifest.name, manifest.name, name) for name in manifest.classes]
    for space, about in manifest.masks.items():
        found += [Class(manifest.name, f"{manifest.name}/{space}", name) for name in about.classes]
    return found


def _groups(title: str, groups: Mapping[str, Sequence[Class]]) -> str:
    lines = [f"{title}: {len(groups) or 'none'}"]
    width = max(map(len, groups), default=0)
    for name, items in groups.items():
        told = ", ".join(f"{item.space}: {item.name}" for item in items)
        lines.append(f"  {name.ljust(width)}  {told}")
    return "\n".join(lines)
