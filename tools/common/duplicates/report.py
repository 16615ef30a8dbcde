"""What is told of pictures that look the same: a few on the screen, all of them in a CSV."""

from dataclasses import dataclass
from pathlib import Path

from tools.common import console, listing
from tools.common.catalogue import Catalogue
from tools.common.duplicates.search import EQUAL
from train.files import replacement

HEADER = "kind,bits,set,split,key,other_set,other_split,other_key\n"

_SHOWN = 5
# Those in different splits first.
_ORDER = "split = other_split, distance, key, other_key"


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


def count(catalogue: Catalogue) -> Counts:
    """Count the pairs."""
    found = {(False, False): 0, (False, True): 0, (True, False): 0, (True, True): 0}
    query = (
        "SELECT owner != other_owner, split != other_split, count(*) FROM named_pairs GROUP BY 1, 2"
    )
    for elsewhere, across, number in catalogue.rows(query):
        found[bool(elsewhere), bool(across)] = number
    return Counts(*found.values())


def shown(catalogue: Catalogue, names: dict[int, str], elsewhere_only: bool = False) -> str:
    """Return a table of a few pairs, those in different splits first."""
    chosen = "WHERE owner != other_owner" if elsewhere_only else ""
    query = f"SELECT * FROM named_pairs {chosen} ORDER BY {_ORDER} LIMIT {_SHOWN}"
    rows: list[list[object]] = [["look the same", "", "differing bits"]]
    for distance, owner, split, key, other_owner, other_split, other_key in catalogue.rows(query):
        one, other = f"{key} ({split})", f"{other_key} ({other_split})"
        if owner != other_owner:
            one, other = f"{names[owner]}: {one}", f"{names[other_owner]}: {other}"
        rows.append([one, other, "equal pixels" if distance == EQUAL else distance])
    return console.table(rows)


def some(catalogue: Catalogue, names: dict[int, str], limit: int) -> str:
    """Return a few pairs in different splits, in a line."""
    chosen = "WHERE split != other_split"
    query = f"SELECT * FROM named_pairs {chosen} ORDER BY {_ORDER} LIMIT {limit}"
    texts = []
    for distance, _, split, key, other_owner, other_split, other_key in catalogue.rows(query):
        where = f"{names[other_owner]}: " if other_owner else ""
        sign = "=" if distance == EQUAL else "~"
        texts.append(f"{key} ({split}) {sign} {where}{other_key} ({other_split})")
    return "; ".join(texts)


def write(path: Path, catalogue: Catalogue, names: dict[int, str]) -> None:
    """Write all pairs to a CSV, those in different splits first."""
    query = f"SELECT * FROM named_pairs ORDER BY {_ORDER}"
    with replacement(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(HEADER)
        for distance, owner, split, key, other_owner, *other in catalogue.rows(query):
            kind, bits = ("equal", 0) if distance == EQUAL else ("alike", distance)
            one = [kind, bits, names[owner], split, key]
            file.write(listing.line([*one, names[other_owner], *other]))
