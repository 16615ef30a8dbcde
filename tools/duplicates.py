"""Finds pictures that are equal or look the same, within and across splits and data sets."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image

from tools import hashes, listing, reading
from tools.catalogue import Catalogue
from tools.fingerprint import MAX_DISTANCE, alike, fingerprint
from train.data.manifest import SPLITS, Manifest

# In the table "pairs", the distance of pictures of equal pixels.
EQUAL = -1

_CHUNK = 256


@dataclass(frozen=True)
class Prepared:
    """Another prepared data set whose pictures are looked at."""

    folder: Path
    manifest: Manifest


def open_prepared(folder: Path) -> Prepared:
    """Opens a prepared data set.

    Raises:
        UserError: It is none, or its manifest or table of records is damaged.
    """
    manifest = Manifest.read(folder)
    listing.check(folder, manifest)
    return Prepared(folder, manifest)


def add_prints(catalogue: Catalogue, owner: int, prepared: Prepared) -> None:
    """Adds what the pictures of a prepared data set look like to the table ``prints``."""
    start = catalogue.value("SELECT coalesce(max(id), 0) + 1 FROM prints")

    def rows() -> Iterator[tuple[object, ...]]:
        numbers = dict.fromkeys(SPLITS, 0)
        for row_id, row in enumerate(listing.read(prepared.folder), start):
            split = row["split"]
            value = int(row["hash"]) if row["hash"] else None
            yield row_id, owner, split, row["key"], numbers[split], row["pixels"], value
            numbers[split] += 1

    catalogue.insert("prints", rows())


def find_pairs(
    catalogue: Catalogue,
    prepared: dict[int, Prepared],
    own_thumb: Callable[[int], bytes] | None = None,
) -> None:
    """Fills the table ``pairs``: the smaller id, the larger id, and in how many bits they differ.

    Of several equal pictures, the first is paired with each of the others, and stands for them
    all in the search for those that only look the same.

    Args:
        catalogue: Holds the table ``prints``.
        prepared: The data sets by ``prints.owner``.
        own_thumb: The thumbnail of a print of owner 0, which is being made; pairs without one of
            its pictures are then left out.
    """
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
    hashes.write(path, catalogue.rows("SELECT hash, id FROM firsts WHERE hash IS NOT NULL"))
    catalogue.run("CREATE TABLE near (one INTEGER, other INTEGER, distance INTEGER)")
    catalogue.insert("near", hashes.close_pairs(path, MAX_DISTANCE))
    if own_thumb:
        catalogue.run("DELETE FROM near WHERE one NOT IN (SELECT id FROM prints WHERE owner = 0)")
    _read_thumbs(catalogue, prepared)
    catalogue.insert("pairs", _confirmed(catalogue, own_thumb))
    for column in ("one", "other"):
        catalogue.run(f"CREATE INDEX pairs_by_{column} ON pairs ({column})")


def _read_thumbs(catalogue: Catalogue, prepared: dict[int, Prepared]) -> None:
    """Decodes the pictures of prepared data sets that are in question."""
    catalogue.run("CREATE TABLE thumbs (id INTEGER PRIMARY KEY, thumb BLOB)")
    query = (
        "SELECT record, id FROM prints WHERE owner = ? AND split = ? "
        "AND id IN (SELECT one FROM near UNION SELECT other FROM near) ORDER BY record"
    )
    for owner, one in prepared.items():
        for split in one.manifest.splits:
            rows = catalogue.rows(query, owner, split)
            checked = False
            while chunk := list(islice(rows, _CHUNK)):
                if not checked:
                    reading.check_shards(one.folder, one.manifest, split)
                    checked = True
                paths = one.manifest.shard_paths(one.folder, split)
                images = reading.read_images(paths, [record for record, _ in chunk])
                for (_, row_id), data in zip(chunk, images, strict=True):
                    with Image.open(io.BytesIO(data)) as image:
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
