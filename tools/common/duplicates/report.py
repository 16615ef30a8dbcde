"""What is told of pictures that look the same: a few on the screen, all of them in a CSV."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tools.common import console
from tools.common.catalogue import Catalogue
from tools.common.duplicates.search import EQUAL
from tools.common.stored_records import line
from train.files import replacement

HEADER = "kind,bits,set,split,key,other_set,other_split,other_key\n"

_SHOWN = 5
# Those in different splits first.
_ORDER = "across DESC, distance, key, other_key"


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
    found = dict.fromkeys(product((0, 1), repeat=2), 0)
    query = "SELECT elsewhere, across, count(*) FROM named_pairs GROUP BY 1, 2"
    for elsewhere, across, number in catalogue.rows(query):
        found[elsewhere, across] = number
    return Counts(*found.values())


def shown(catalogue: Catalogue, elsewhere_only: bool = False) -> str:
    """Return a table of a few pairs, those in different splits first."""
    chosen = "WHERE elsewhere" if elsewhere_only else ""
    query = f"SELECT * FROM named_pairs {chosen} ORDER BY {_ORDER} LIMIT {_SHOWN}"
    rows: list[list[object]] = [["look the same", "", "differing bits"]]
    for distance, elsewhere, _, *pair in catalogue.rows(query):
        name, split, key, other_name, other_split, other_key = pair
        one, other = f"{key} ({split})", f"{other_key} ({other_split})"
        if elsewhere:
            one, other = f"{name}: {one}", f"{other_name}: {other}"
        rows.append([one, other, "equal pixels" if distance == EQUAL else distance])
    return console.table(rows)


def some(catalogue: Catalogue, limit: int) -> str:
    """Return a few pairs in different splits, in a line."""
    query = f"SELECT * FROM named_pairs WHERE across ORDER BY {_ORDER} LIMIT {limit}"
    texts = []
    for distance, elsewhere, _, _, *pair in catalogue.rows(query):
        split, key, other_name, other_split, other_key = pair
        where = f"{other_name}: " if elsewhere else ""
        sign = "=" if distance == EQUAL else "~"
        texts.append(f"{key} ({split}) {sign} {where}{other_key} ({other_split})")
    return "; ".join(texts)


def write(path: Path, catalogue: Catalogue) -> None:
    """Write all pairs to a CSV, those in different splits first."""
    query = f"SELECT * FROM named_pairs ORDER BY {_ORDER}"
    with replacement(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(HEADER)
        for distance, _, _, *pair in catalogue.rows(query):
            kind, bits = ("equal", 0) if distance == EQUAL else ("alike", distance)
            file.write(line([kind, bits, *pair]))
