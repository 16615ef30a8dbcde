"""Splits: stratified by class, at random from a seed; groups stay together."""

import hashlib
import random
from array import array
from collections.abc import Iterator
from itertools import chain, groupby, repeat

from tools.common.catalogue import Catalogue
from train.data.manifest import SPLITS
from train.errors import UserError

Ratios = tuple[float, float, float]
Counts = list[int]

# The first picture of every group, with each of its pictures.
_OF_ONE_GROUP = (
    "SELECT leader, id FROM samples JOIN pictures USING (id) JOIN (SELECT grp, min(id) AS leader "
    "FROM samples JOIN pictures USING (id) WHERE grp != '' GROUP BY grp) USING (grp)"
)


def make_splits(catalogue: Catalogue, ratios: Ratios, seed: int, together: bool) -> None:
    """Give every picture a split, in ``samples.split``.

    The result depends on nothing but the keys, classes and groups of the pictures, the ratios and
    the seed; without groups, a class's split depends on its own pictures alone.

    Args:
        catalogue: Its pictures have been taken in, and its pairs found.
        ratios: Shares of train, val and test, adding up to 1.
        seed: Another seed makes other splits.
        together: Whether pictures that look the same count as one group; if one is in another
            data set, the group gets the split that it has there.

    Raises:
        UserError: A group looks like pictures in different splits of other data sets.
    """
    catalogue.run("CREATE INDEX samples_by_class ON samples (class, id)")
    catalogue.run("CREATE TABLE units (id INTEGER PRIMARY KEY, unit INTEGER)")
    _find_units(catalogue, together)
    query = "SELECT class, count(*) FROM samples JOIN pictures USING (id) GROUP BY class"
    wanted = {name: list(split_counts(total, ratios)) for name, total in catalogue.rows(query)}
    left = _place_units(catalogue, wanted, ratios, seed, _pins(catalogue) if together else {})
    for name, counts in left.items():
        _place_singles(catalogue, name, counts, seed)


def split_counts(total: int, ratios: Ratios) -> tuple[int, int, int]:
    """Share ``total`` pictures out by largest remainder.

    A split with a ratio above zero gets at least one picture as long as there are enough; train
    comes first.
    """
    counts = [int(total * ratio) for ratio in ratios]
    rests = [total * ratio - count for ratio, count in zip(ratios, counts, strict=True)]
    for index in sorted(range(3), key=lambda i: -rests[i])[: total - sum(counts)]:
        counts[index] += 1
    for index, ratio in enumerate(ratios):
        donor = max(range(3), key=lambda i: counts[i])
        if ratio > 0 and counts[index] == 0 and (counts[donor] > 1 or index == 0):
            counts[donor] -= 1
            counts[index] += 1
    return counts[0], counts[1], counts[2]


def shuffled_splits(class_name: str, counts: Counts, seed: int) -> bytearray:
    """Return the number of the split of every picture of a class, in the order of their keys."""
    # An array, since a class may have a million pictures.
    order = array("I", range(sum(counts)))
    random.Random(f"{seed}/{class_name}").shuffle(order)
    splits = bytearray(len(order))
    numbers = chain.from_iterable(map(repeat, range(len(counts)), counts))
    for position, split in zip(order, numbers, strict=True):
        splits[position] = split
    return splits


def _find_units(catalogue: Catalogue, together: bool) -> None:
    """Note which pictures must stay together; those that are alone are left out."""
    size = catalogue.value("SELECT coalesce(max(id), 0) FROM samples") + 1
    first = array("q", range(size))

    def find(sample: int) -> int:
        while first[sample] != sample:
            first[sample] = first[first[sample]]
            sample = first[sample]
        return sample

    queries = [_OF_ONE_GROUP, f"SELECT one, other FROM pairs WHERE max(one, other) < {size}"]
    for query in queries if together else queries[:1]:
        for pair in catalogue.rows(query):
            one, other = map(find, pair)
            # The smaller number stands for both, so that the order of joining does not matter.
            first[max(one, other)] = min(one, other)
    shared = bytearray(size)
    for sample in range(1, size):
        if first[sample] != sample:
            shared[find(sample)] = 1
    units = ((sample, find(sample)) for sample in range(1, size))
    catalogue.insert("units", (pair for pair in units if shared[pair[1]]))


def _pins(catalogue: Catalogue) -> dict[int, int]:
    """Return the splits that look-alikes in other data sets ask for, by unit."""
    query = (
        "SELECT DISTINCT coalesce(unit, one), split FROM pairs "
        "JOIN prints ON prints.id = other AND owner > 0 LEFT JOIN units ON units.id = one "
        "ORDER BY 1, 2"
    )
    pins: dict[int, int] = {}
    for unit, split in catalogue.rows(query):
        number = SPLITS.index(split)
        if pins.setdefault(unit, number) != number:
            key = catalogue.value("SELECT key FROM samples WHERE id = ?", unit)
            raise UserError(
                f"{key}: looks like pictures in {SPLITS[pins[unit]]} and in {split} of other data "
                "sets, so no split is right for it: remove it, or pass --duplicates allow"
            )
    return pins


def _units(
    catalogue: Catalogue, seed: int, pins: dict[int, int]
) -> Iterator[tuple[int, dict[str, int]]]:
    """Return the units, and how many pictures of each class they hold, in the order of placing.

    First come those with a given split, then large ones.
    """
    for unit in pins:
        catalogue.run("INSERT OR IGNORE INTO units VALUES (?, ?)", unit, unit)
    catalogue.run("CREATE TABLE ordered (unit INTEGER PRIMARY KEY, pin, size INTEGER, mark TEXT)")
    query = "SELECT units.unit, count(*), min(key) FROM units JOIN samples USING (id) GROUP BY 1"
    rows = (
        (unit, unit not in pins, size, hashlib.sha256(f"{seed}/{key}".encode()).hexdigest())
        for unit, size, key in catalogue.rows(query)
    )
    catalogue.insert("ordered", rows)
    members = (
        "SELECT unit, class, count(*) FROM ordered JOIN units USING (unit) "
        "JOIN samples USING (id) GROUP BY unit, class ORDER BY pin, size DESC, mark, class"
    )
    groups = groupby(catalogue.rows(members), key=lambda row: int(row[0]))
    return ((unit, {name: count for _, name, count in rows}) for unit, rows in groups)


def _place_units(
    catalogue: Catalogue, wanted: dict[str, Counts], ratios: Ratios, seed: int, pins: dict[int, int]
) -> dict[str, Counts]:
    """Place the units one by one; return how many pictures of each class are still wanted."""
    units = _units(catalogue, seed, pins)
    left = {name: counts.copy() for name, counts in wanted.items()}
    possible = [split for split in range(3) if ratios[split] > 0]
    empty = possible.copy()
    number, pictures = next(catalogue.rows("SELECT count(*), coalesce(sum(size), 0) FROM ordered"))
    singles = sum(map(sum, wanted.values())) - pictures

    def placed() -> Iterator[tuple[int, str]]:
        for done, (unit, counts) in enumerate(units):
            # The last units must not leave a split without any picture.
            scarce = not singles and number - done <= len(empty)
            split = pins.get(unit)
            if split is None:
                choices = empty if scarce else possible
                split = min(choices, key=lambda choice: _cost(choice, counts, left, wanted))
            if split in empty:
                empty.remove(split)
            for name, count in counts.items():
                left[name][split] -= count
            yield unit, SPLITS[split]

    catalogue.run("CREATE TABLE placed (unit INTEGER PRIMARY KEY, split TEXT)")
    catalogue.insert("placed", placed())
    catalogue.run(
        "UPDATE samples SET split = (SELECT placed.split FROM units JOIN placed USING (unit) "
        "WHERE units.id = samples.id) WHERE id IN (SELECT id FROM units)"
    )
    return left


def _cost(
    split: int, counts: dict[str, int], left: dict[str, Counts], wanted: dict[str, Counts]
) -> float:
    """Return how much farther from the wanted counts a unit brings a split (below 0: nearer)."""
    return sum(
        (count - 2 * left[name][split]) * count / max(1, wanted[name][split])
        for name, count in counts.items()
    )


def _place_singles(catalogue: Catalogue, name: str, left: Counts, seed: int) -> None:
    # What units took too much of is missing elsewhere.
    counts = [max(0, count) for count in left]
    while sum(counts) > sum(left):
        counts[counts.index(max(counts))] -= 1
    query = (
        "SELECT id FROM samples JOIN pictures USING (id) WHERE class = ? "
        "AND id NOT IN (SELECT id FROM units) ORDER BY id"
    )
    placed = zip(shuffled_splits(name, counts, seed), catalogue.rows(query, name), strict=True)
    rows = ((SPLITS[split], sample) for split, (sample,) in placed)
    catalogue.update("UPDATE samples SET split = ? WHERE id = ?", rows)
