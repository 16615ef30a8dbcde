"""Pairs of pictures that are equal or look the same: found across data sets, counted and shown."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

from PIL import Image

from tools.common import console
from tools.common.catalogue import Catalogue
from tools.common.duplicates import close_hashes
from tools.common.duplicates.fingerprint import MAX_DISTANCE, alike, fingerprint
from tools.common.stored_records import check_shards, check_table, line, read_table, rows
from train.data.manifest import SPLITS, Manifest, RecordSet
from train.files import replacement

# In the table "pairs", the distance of pictures of equal pixels.
EQUAL = -1
# The first line of a file of all pairs.
HEADER = "kind,bits,set,split,key,other_set,other_split,other_key\n"

_CHUNK = 256
_SHOWN = 5
# Those in different splits first.
_ORDER = "across DESC, distance, key, other_key"


def open_prepared(folder: Path) -> RecordSet:
    """Open a prepared data set.

    Raises:
        UserError: It is none, or its manifest or table of records is damaged.
    """
    manifest = Manifest.read(folder)
    check_table(folder, manifest)
    return RecordSet(manifest.name, folder, manifest)


def _add_prints(catalogue: Catalogue, owner: int, prepared: RecordSet) -> None:
    """Add what the pictures of a prepared data set look like to the table ``prints``."""
    catalogue.run("INSERT INTO owners VALUES (?, ?)", owner, prepared.name)
    start = catalogue.value("SELECT coalesce(max(id), 0) + 1 FROM prints")

    def added() -> Iterator[tuple[object, ...]]:
        numbers = dict.fromkeys(SPLITS, 0)
        for row_id, row in enumerate(read_table(prepared.folder), start):
            split = row["split"]
            value = int(row["hash"]) if row["hash"] else None
            yield row_id, owner, split, row["key"], numbers[split], row["pixels"], value
            numbers[split] += 1

    catalogue.insert("prints", added())


def find_pairs(catalogue: Catalogue, prepared: Sequence[RecordSet]) -> None:
    """Fill the table ``pairs``: the smaller id, the larger id, and in how many bits they differ.

    Of several equal pictures, the first is paired with each of the others, and stands for them
    all in the search for those that only look the same.

    Args:
        catalogue: Its tables ``prints`` and ``thumbs`` hold those of owner 0, if there is one;
            pairs without one of its pictures are then left out.
        prepared: The data sets; they become the owners 1, 2, ...
    """
    for owner, one in enumerate(prepared, 1):
        _add_prints(catalogue, owner, one)
    own = catalogue.value("SELECT count(*) FROM owners WHERE owner = 0")
    mine = "AND a.owner = 0" if own else ""
    catalogue.run("CREATE INDEX prints_by_pixels ON prints (pixels, id)")
    catalogue.run("CREATE TABLE firsts AS SELECT min(id) AS id, hash FROM prints GROUP BY pixels")
    catalogue.run(
        "INSERT INTO pairs SELECT a.id, b.id, ? FROM "
        "(SELECT pixels, min(id) AS id FROM prints GROUP BY pixels HAVING count(*) > 1) AS first "
        "JOIN prints AS a ON a.id = first.id "
        f"JOIN prints AS b ON b.pixels = a.pixels AND b.id > a.id {mine}",
        EQUAL,
    )
    path = catalogue.folder / "hashes"
    close_hashes.write(path, catalogue.rows("SELECT hash, id FROM firsts WHERE hash IS NOT NULL"))
    catalogue.run("CREATE TABLE near (one INTEGER, other INTEGER, distance INTEGER)")
    catalogue.insert("near", close_hashes.close_pairs(path, MAX_DISTANCE))
    if own:
        catalogue.run("DELETE FROM near WHERE one NOT IN (SELECT id FROM prints WHERE owner = 0)")
    _read_thumbs(catalogue, prepared)
    catalogue.insert("pairs", _confirmed(catalogue))
    for column in ("one", "other"):
        catalogue.run(f"CREATE INDEX pairs_by_{column} ON pairs ({column})")


def _read_thumbs(catalogue: Catalogue, prepared: Sequence[RecordSet]) -> None:
    """Decode the pictures of prepared data sets that are in question."""
    query = (
        "SELECT record, id FROM prints WHERE owner = ? AND split = ? "
        "AND id IN (SELECT one FROM near UNION SELECT other FROM near) ORDER BY record"
    )
    for owner, one in enumerate(prepared, 1):
        for split in one.manifest.splits:
            asked = catalogue.rows(query, owner, split)
            checked = False
            while chunk := list(islice(asked, _CHUNK)):
                if not checked:
                    check_shards(one.folder, one.manifest, split)
                    checked = True
                paths = one.manifest.shard_paths(one.folder, split)
                records = rows(paths, ["image"], [record for record, _ in chunk])
                for (_, row_id), record in zip(chunk, records, strict=True):
                    with Image.open(io.BytesIO(record["image"].tobytes())) as image:
                        looks = fingerprint(image.convert("RGB"))
                    catalogue.run("INSERT INTO thumbs VALUES (?, ?)", row_id, looks.thumb)


def _confirmed(catalogue: Catalogue) -> Iterator[tuple[int, int, int]]:
    thumb = "SELECT thumb FROM thumbs WHERE id = ?"
    for one, other, distance in catalogue.rows("SELECT * FROM near ORDER BY one, other"):
        if alike(catalogue.value(thumb, one), catalogue.value(thumb, other)):
            yield one, other, distance


@dataclass(frozen=True)
class Counts:
    """How many pairs there are.

    Attributes:
        within: Pairs within one split of one data set.
        across: Pairs in different splits of one data set, so that they leak.
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


def count_pairs(catalogue: Catalogue) -> Counts:
    """Count the pairs."""
    found = dict.fromkeys(product((0, 1), repeat=2), 0)
    query = "SELECT elsewhere, across, count(*) FROM named_pairs GROUP BY 1, 2"
    for elsewhere, across, number in catalogue.rows(query):
        found[elsewhere, across] = number
    return Counts(*found.values())


def pairs_table(catalogue: Catalogue, elsewhere_only: bool = False) -> str:
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


def pairs_line(catalogue: Catalogue) -> str:
    """Return a few pairs in different splits, in a line."""
    query = f"SELECT * FROM named_pairs WHERE across ORDER BY {_ORDER} LIMIT 3"
    texts = []
    for distance, elsewhere, _, _, *pair in catalogue.rows(query):
        split, key, other_name, other_split, other_key = pair
        where = f"{other_name}: " if elsewhere else ""
        sign = "=" if distance == EQUAL else "~"
        texts.append(f"{key} ({split}) {sign} {where}{other_key} ({other_split})")
    return "; ".join(texts)


def write_pairs(path: Path, catalogue: Catalogue) -> None:
    """Write all pairs to a CSV, those in different splits first."""
    query = f"SELECT * FROM named_pairs ORDER BY {_ORDER}"
    with replacement(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(HEADER)
        for distance, _, _, *pair in catalogue.rows(query):
            kind, bits = ("equal", 0) if distance == EQUAL else ("alike", distance)
            file.write(line([kind, bits, *pair]))
