"""What is told of pictures that look the same: a few on the screen, all of them in a CSV."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tools.common import console, listing
from tools.common.catalogue import Catalogue
from tools.common.duplicates.search import EQUAL

HEADER = "kind,bits,set,split,key,other_set,other_split,other_key\n"

_SHOWN = 5
# A print of the data set that is being made has its split in "samples".
_LOOKS = """
CREATE TEMP VIEW looks AS SELECT prints.id AS id, owner, coalesce(samples.split, prints.split)
AS split, prints.key AS key FROM prints LEFT JOIN samples ON owner = 0 AND samples.id = prints.id
"""
_PAIRS = (
    "SELECT distance, a.owner, a.split, a.key, b.owner, b.split, b.key FROM pairs "
    "JOIN looks AS a ON a.id = one JOIN looks AS b ON b.id = other "
)


@dataclass(frozen=True)
class Counts:
    """How many pairs there are; ``*_across``: in different splits, so that they leak.

    Attributes:
        within: Pairs within one split of one data set.
        across: Pairs in different splits of one data set.
        elsewhere: Pairs of two data sets in the same split.
        elsewhere_across: Pairs of two data sets in different splits.
    """

    within: int
    across: int
    elsewhere: int
    elsewhere_across: int

    @property
    def leaks(self) -> int:
        """Pairs in different splits."""
        return self.across + self.elsewhere_across


def prepare_views(catalogue: Catalogue) -> None:
    """Makes the view that the functions here read."""
    catalogue.run(_LOOKS)


def count(catalogue: Catalogue) -> Counts:
    """Counts the pairs."""
    found = {(False, False): 0, (False, True): 0, (True, False): 0, (True, True): 0}
    query = (
        "SELECT a.owner != b.owner, a.split != b.split, count(*) FROM pairs "
        "JOIN looks AS a ON a.id = one JOIN looks AS b ON b.id = other GROUP BY 1, 2"
    )
    for elsewhere, across, number in catalogue.rows(query):
        found[bool(elsewhere), bool(across)] = number
    return Counts(*found.values())


def shown(catalogue: Catalogue, names: dict[int, str], elsewhere_only: bool = False) -> str:
    """A table of a few pairs, those in different splits first."""
    chosen = "WHERE a.owner != b.owner" if elsewhere_only else ""
    query = f"{_PAIRS} {chosen} ORDER BY a.split = b.split, distance, a.key, b.key LIMIT {_SHOWN}"
    rows: list[list[object]] = [["look the same", "", "differing bits"]]
    for distance, owner, split, key, other_owner, other_split, other_key in catalogue.rows(query):
        one, other = f"{key} ({split})", f"{other_key} ({other_split})"
        if owner != other_owner:
            one, other = f"{names[owner]}: {one}", f"{names[other_owner]}: {other}"
        rows.append([one, other, "equal pixels" if distance == EQUAL else distance])
    return console.table(rows)


def some(catalogue: Catalogue, names: dict[int, str], limit: int) -> str:
    """Pairs in different splits, in a line."""
    query = f"{_PAIRS} WHERE a.split != b.split ORDER BY distance, a.key, b.key LIMIT {limit}"
    texts = []
    for distance, _, split, key, other_owner, other_split, other_key in catalogue.rows(query):
        where = f"{names[other_owner]}: " if other_owner else ""
        sign = "=" if distance == EQUAL else "~"
        texts.append(f"{key} ({split}) {sign} {where}{other_key} ({other_split})")
    return "; ".join(texts)


def write(path: Path, catalogue: Catalogue, names: dict[int, str]) -> None:
    """Writes all pairs to a CSV, those in different splits first."""
    temporary = path.with_name(f".{path.name}.tmp")
    query = f"{_PAIRS} ORDER BY a.split = b.split, distance, a.key, b.key"
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(HEADER)
            for distance, owner, split, key, other_owner, *other in catalogue.rows(query):
                kind, bits = ("equal", 0) if distance == EQUAL else ("alike", distance)
                one = [kind, bits, names[owner], split, key]
                file.write(listing.line([*one, names[other_owner], *other]))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
