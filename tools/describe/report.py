"""What describe prints: the tables of every data set, and the classes that several have.

Two class names are the same if they are equal once everything but letters and digits is dropped,
case is ignored and a plural ending is taken off: ``parking_lot``, ``ParkingLot`` and ``Parking
Lots``. Names that differ but usually mean the same on land-use images (:data:`SYNONYMS`) are only
*probably* the same, and are told apart from those. Nothing is ever merged: the user decides.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

from tools.common.console import class_table, pixel_table, shares
from train.data.manifest import Manifest

# Names, as `bare` gives them, that usually mean the same thing.
SYNONYMS = (
    ("agricultural", "agriculture", "agriculturalland", "farmland", "cropland", "field"),
    ("airplane", "aeroplane", "plane", "aircraft"),
    ("bareland", "barren", "barrenland", "bare"),
    ("baseballdiamond", "baseballfield", "baseball"),
    ("builtup", "builtuparea", "urban", "urbanarea"),
    ("commercial", "commercialarea"),
    ("denseresidential", "denseresidentialarea"),
    ("forest", "woodland", "wood"),
    ("freeway", "highway", "motorway", "expressway"),
    ("golfcourse", "golf"),
    ("harbor", "harbour", "port"),
    ("industrial", "industrialarea", "industrialland", "industry"),
    ("intersection", "crossroad", "crossing"),
    ("lake", "pond"),
    ("meadow", "grassland", "grass", "pasture"),
    ("overpass", "viaduct", "flyover"),
    ("parking", "parkinglot", "carpark"),
    ("playground", "groundtrackfield"),
    ("railwaystation", "trainstation"),
    ("residential", "residentialarea", "resident"),
    ("river", "stream"),
    ("sealake", "water", "waterbody"),
    ("storagetank", "oiltank", "tank"),
)

_GROUP_OF = {name: names[0] for names in SYNONYMS for name in names}


@dataclass(frozen=True)
class Class:
    """A class of a label space.

    Attributes:
        dataset: Name of the data set.
        space: Name of its label space: the data set's, or with the masks' behind a slash.
        name: Name of the class.
    """

    dataset: str
    space: str
    name: str


def bare(name: str) -> str:
    """Return a name without case, separators and plural ending."""
    text = "".join(letter for letter in name.casefold() if letter.isalnum())
    for ending, rest in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x")):
        if text.endswith(ending) and len(text) > len(ending) + 1:
            return text.removesuffix(ending) + rest
    if text.endswith("s") and not text.endswith(("ss", "us", "is")) and len(text) > 3:
        return text[:-1]
    return text


def shared(classes: Iterable[Class]) -> tuple[dict[str, list[Class]], dict[str, list[Class]]]:
    """Group classes that several data sets have, or one label space has twice.

    Returns:
        The groups of one name, by that name; and those of several names that probably mean the
        same, by the names joined with ``~``. Both sorted.
    """
    by_name: dict[str, list[Class]] = {}
    for item in classes:
        by_name.setdefault(bare(item.name), []).append(item)
    same = {name: items for name, items in sorted(by_name.items()) if _told(items)}
    by_group: dict[str, list[str]] = {}
    for name in sorted(by_name):
        by_group.setdefault(_GROUP_OF.get(name, name), []).append(name)
    probable = {}
    for names in by_group.values():
        items = [item for name in names for item in by_name[name]]
        if len(names) > 1 and _told(items):
            probable[" ~ ".join(names)] = items
    return same, dict(sorted(probable.items()))


def _told(items: Sequence[Class]) -> bool:
    """Return whether a group says something: scenes and masks often share all their names."""
    spaces = [item.space for item in items]
    return len({item.dataset for item in items}) > 1 or len(set(spaces)) < len(spaces)


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
    ranges = [manifest.image[side] for side in ("width", "height")]
    size = " x ".join(f"{low}" if low == high else f"{low}..{high}" for low, high in ranges)
    form, quality = str(manifest.image["format"]).upper(), manifest.image.get("quality")
    form += "" if quality is None else f", quality {quality}"
    lines = [
        f"{manifest.name} ({folder})",
        f"  {total:,} images, {size} pixels, stored as {form}",
        f"  mean {_triple(manifest.mean)}, std {_triple(manifest.std)} (red, green, blue; train)",
    ]
    if manifest.classes:
        lines += [_imbalance(manifest), indent(class_table(manifest), "  ")]
    lines += [_mask_table(manifest, name) for name in manifest.masks]
    return "\n".join(lines)


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
