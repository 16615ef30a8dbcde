"""Which classes several data sets have in common, going by their names.

Two names are the same if they are equal once everything but letters and digits is dropped, case is
ignored and a plural ending is taken off: ``parking_lot``, ``ParkingLot`` and ``Parking Lots``.
Names that differ but usually mean the same on land-use images (:data:`SYNONYMS`) are only
*probably* the same, and are told apart from those. Nothing is ever merged: the user decides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
    """Whether a group says something: a data set's scenes and masks often share all their names."""
    spaces = [item.space for item in items]
    return len({item.dataset for item in items}) > 1 or len(set(spaces)) < len(spaces)
