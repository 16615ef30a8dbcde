"""The search for pictures that are equal or look the same, across splits and data sets."""

import io
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from PIL import Image

from tools.common.catalogue import Catalogue
from tools.common.duplicates import close_hashes
from tools.common.duplicates.fingerprint import MAX_DISTANCE, alike, fingerprint
from tools.common.stored_records import check_shards, check_table, read_table, rows
from train.data.manifest import SPLITS, Manifest, RecordSet

# In the table "pairs", the distance of pictures of equal pixels.
EQUAL = -1

_CHUNK = 256


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


def find_pairs(
    catalogue: Catalogue,
    prepared: Sequence[RecordSet],
    own_thumb: Callable[[int], bytes] | None = None,
) -> None:
    """Fill the table ``pairs``: the smaller id, the larger id, and in how many bits they differ.

    Of several equal pictures, the first is paired with each of the others, and stands for them
    all in the search for those that only look the same.

    Args:
        catalogue: Its table ``prints`` holds those of owner 0, if there are any.
        prepared: The data sets; they become the owners 1, 2, ...
        own_thumb: The thumbnail of a print of owner 0, which is being made; pairs without one of
            its pictures are then left out.
    """
    for owner, one in enumerate(prepared, 1):
        _add_prints(catalogue, owner, one)
    mine = "AND a.owner = 0" if own_thumb else ""
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
    if own_thumb:
        catalogue.run("DELETE FROM near WHERE one NOT IN (SELECT id FROM prints WHERE owner = 0)")
    _read_thumbs(catalogue, prepared)
    catalogue.insert("pairs", _confirmed(catalogue, own_thumb))
    for column in ("one", "other"):
        catalogue.run(f"CREATE INDEX pairs_by_{column} ON pairs ({column})")


def _read_thumbs(catalogue: Catalogue, prepared: Sequence[RecordSet]) -> None:
    """Decode the pictures of prepared data sets that are in question."""
    catalogue.run("CREATE TABLE thumbs (id INTEGER PRIMARY KEY, thumb BLOB)")
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


def _confirmed(
    catalogue: Catalogue, own_thumb: Callable[[int], bytes] | None
) -> Iterator[tuple[int, int, int]]:
    def thumb(row_id: int) -> bytes:
        for (found,) in catalogue.rows("SELECT thumb FROM thumbs WHERE id = ?", row_id):
            return bytes(found)
        assert own_thumb is not None
        return own_thumb(row_id)

    for one, other, distance in catalogue.rows("SELECT * FROM near ORDER BY one, other"):
        if alike(thumb(one), thumb(other)):
            yield one, other, distance
