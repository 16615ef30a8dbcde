"""Prepared data on disk: MindRecord shards per split and the manifest that describes them.

A prepared data set is one flat folder::

    manifest.json
    records.csv
    train.mindrecord0  train.mindrecord0.db  train.mindrecord1  ...
    val.mindrecord0    val.mindrecord0.db    ...

Every record has an ``image`` (an encoded JPEG or PNG), a ``label`` (the position of its scene class
in ``Manifest.classes``; -1 where the data set has no scene classes), a ``key`` (the path of the
picture relative to its source folder, so that a damaged record can be named), a ``crc`` (see
:func:`checksum`: it tells which records of a damaged shard are whole) and, for every label space of
masks, ``mask_<name>``: an 8-bit grey PNG of the image's size whose values are positions in
``MaskSpace.classes``, or :data:`IGNORE_INDEX` where a pixel has no class.

``records.csv`` lists the records in their order with what they were made of; training does not
need it. ``tools.shards`` writes the records.

Nothing here imports MindSpore: reading a manifest costs nothing.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from train.errors import UserError

FORMAT = "mtln-records"
VERSION = 2
MANIFEST = "manifest.json"
LISTING = "records.csv"
IGNORE_INDEX = 255
NO_LABEL = -1
SPLITS = ("train", "val", "test")
IMAGE_FORMATS = ("jpeg", "png")

T = TypeVar("T")


def schema(masks: Iterable[str] = ()) -> dict[str, dict[str, str]]:
    """The MindRecord schema of a data set with these label spaces of masks."""
    columns = {"image": "bytes", "label": "int32", "key": "string", "crc": "int64"}
    columns |= {mask_column(name): "bytes" for name in masks}
    return {name: {"type": kind} for name, kind in columns.items()}


def checksum(image: bytes, masks: Iterable[bytes] = ()) -> int:
    """The ``crc`` of a record: CRC-32 of its image, then of its masks in the manifest's order."""
    value = zlib.crc32(image)
    for mask in masks:
        value = zlib.crc32(mask, value)
    return value


def mask_column(name: str) -> str:
    """The column that holds the masks of a label space."""
    return f"mask_{name}"


@dataclass(frozen=True)
class Shard:
    """One MindRecord file and the index beside it (``<file>.db``), which reading needs too.

    Attributes:
        file: File name inside the data set's folder. MindRecord keeps it inside the file as
            well: the folder may be renamed, the file may not.
        records: Records in the file, at least 1.
        bytes: Size of the file.
        sha256: Digest of the file, in hexadecimal.
        index_bytes: Size of the index.
        index_sha256: Digest of the index, in hexadecimal.
    """

    file: str
    records: int
    bytes: int
    sha256: str
    index_bytes: int
    index_sha256: str


@dataclass(frozen=True)
class Listing:
    """The table of all records, :data:`LISTING`.

    Attributes:
        bytes: Size of the file.
        sha256: Digest of the file, in hexadecimal.
    """

    bytes: int
    sha256: str


@dataclass(frozen=True)
class MaskSpace:
    """A label space of masks: what the pixels of one column of masks mean.

    Attributes:
        classes: Class names; a pixel's value is a position in here.
        ignore_index: Value of the pixels that have no class, always :data:`IGNORE_INDEX`.
    """

    classes: tuple[str, ...]
    ignore_index: int = IGNORE_INDEX


@dataclass(frozen=True)
class Split:
    """One split.

    Attributes:
        records: Number of records, at least 1.
        per_class: Number of records of each class, in the order of ``Manifest.classes``.
        shards: The files. Their order is the order in which a dataset over
            ``Manifest.shard_paths`` numbers the records.
        pixels: For every label space of masks, the number of pixels of each class and, last, of
            those that have none.
    """

    records: int
    per_class: tuple[int, ...]
    shards: tuple[Shard, ...]
    pixels: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What a prepared data set holds.

    Attributes:
        name: Name of the data set.
        classes: Names of the scene classes; a record's label is a position in here. Empty for a
            data set that has masks only.
        masks: Label spaces of the masks by name.
        image: Stored form: ``format`` (``"jpeg"`` or ``"png"``), ``size`` (pixels of the shorter
            side, None where pictures were kept as they are), ``quality`` (of JPEG, else None),
            ``height`` and ``width`` (``[smallest, largest]`` in pixels, over all splits).
        mean: Red, green, blue mean over all pixels of the train split, on the scale 0..1.
        std: Standard deviations on the same scale, all above zero.
        splits: Splits by name, among ``train``, ``val`` and ``test``; ``train`` is always there.
        listing: The table of all records.
        source: What the records were made of, as the user gave it.
        command: The command that made them.
        notes: Counts worth knowing, such as unreadable pictures left out.
        versions: Versions of the software that made the records.
    """

    name: str
    classes: tuple[str, ...]
    image: dict[str, Any]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    splits: dict[str, Split]
    listing: Listing
    source: dict[str, Any]
    command: str
    masks: dict[str, MaskSpace] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Reads and checks ``folder/manifest.json``, and that its shards have the right sizes.

        Raises:
            UserError: The folder, the manifest or a shard is missing, or does not fit; the
                message says which and why.
        """
        manifest = cls.read_alone(folder)
        for split in manifest.splits.values():
            for shard in split.shards:
                _check_size(folder / shard.file, shard.bytes)
                _check_size(folder / f"{shard.file}.db", shard.index_bytes)
        return manifest

    @classmethod
    def read_alone(cls, folder: Path) -> Manifest:
        """Reads and checks ``folder/manifest.json`` without looking at the shards.

        Raises:
            UserError: The folder or the manifest is missing, or does not fit.
        """
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder (make it with: python -m tools prepare)")
        path = folder / MANIFEST
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{folder}: no {MANIFEST} in it, so not a prepared data set") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read as JSON: {error}") from None
        return _parse(_Node(data, str(path)))

    def write(self, folder: Path) -> None:
        """Writes ``folder/manifest.json`` and flushes it to the disk."""
        data = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        with (folder / MANIFEST).open("w", encoding="utf-8") as file:
            file.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def shard_paths(self, folder: Path, split: str) -> list[str]:
        """Paths for ``mindspore.dataset.MindDataset``, in the order that numbers the records.

        Raises:
            UserError: There is no such split.
        """
        if split not in self.splits:
            raise UserError(f"{folder}: no split {split!r} (there are: {', '.join(self.splits)})")
        return [str(folder / shard.file) for shard in self.splits[split].shards]


class _Node:
    """One JSON object of the manifest, with its place in the file for messages."""

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, dict):
            raise UserError(f"{where}: must be a JSON object")
        self.data: dict[str, object] = data
        self.where = where

    def get(self, key: str, kind: type[T]) -> T:
        """The value of ``key``, which must be of type ``kind``."""
        if key not in self.data:
            raise self.fail(f"{key} is missing")
        return self._typed(key, self.data[key], kind)

    def array(self, key: str, kind: type[T]) -> tuple[T, ...]:
        """The list at ``key``, whose items must be of type ``kind``."""
        items: list[object] = self.get(key, list)
        return tuple(self._typed(f"{key}[{i}]", item, kind) for i, item in enumerate(items))

    def node(self, key: str) -> _Node:
        """The object at ``key``."""
        return _Node(self.get(key, dict), f"{self.where}: {key}")

    def fail(self, why: str) -> UserError:
        """The error that says why this object is no good."""
        return UserError(f"{self.where}: {why}")

    def _typed(self, key: str, value: object, kind: type[T]) -> T:
        # JSON has one kind of number; and Python's bool is an int, so no isinstance.
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise self.fail(f"{key} must be {_KINDS[kind]}, not {value!r:.60}")
        return value


_KINDS: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    dict: "an object",
    list: "a list",
}


def _parse(node: _Node) -> Manifest:
    _check_format(node)
    classes = node.array("classes", str)
    masks = _parse_masks(node.node("masks"))
    if len(set(classes)) != len(classes) or not (classes or masks):
        raise node.fail("classes must be different names, at least one if there are no masks")
    splits = node.node("splits")
    if "train" not in splits.data or not set(splits.data) <= set(SPLITS):
        has = ", ".join(splits.data) or "nothing"
        raise splits.fail(f"must hold train and may hold val and test, but holds {has}")
    image = node.node("image")
    if image.get("format", str) not in IMAGE_FORMATS:
        raise image.fail(f"format must be one of {', '.join(IMAGE_FORMATS)}")
    return Manifest(
        name=node.get("name", str),
        classes=classes,
        image=image.data,
        mean=_channels(node, "mean"),
        std=_channels(node, "std"),
        splits={name: _parse_split(splits.node(name), classes, masks) for name in splits.data},
        listing=_parse_listing(node.node("listing")),
        source=node.get("source", dict),
        command=node.get("command", str),
        masks=masks,
        notes=node.get("notes", dict),
        versions=node.get("versions", dict),
    )


def _check_format(node: _Node) -> None:
    found, version = node.data.get("format"), node.data.get("version")
    if found != FORMAT:
        raise node.fail(f"format must be {FORMAT!r}, not {found!r:.60}")
    if version != VERSION:
        raise node.fail(
            f"version {version!r:.60} is not known here ({VERSION} is): prepare the data again"
        )


def _channels(node: _Node, key: str) -> tuple[float, float, float]:
    values = node.array(key, float)
    lowest = 0.0 if key == "mean" else 1e-9
    if len(values) != 3 or not all(math.isfinite(v) and lowest <= v <= 1 for v in values):
        raise node.fail(f"{key} must be three numbers in 0..1 (std above 0), not {list(values)}")
    return values[0], values[1], values[2]


def _parse_masks(node: _Node) -> dict[str, MaskSpace]:
    masks = {}
    for name in node.data:
        space = node.node(name)
        masks[name] = MaskSpace(space.array("classes", str), space.get("ignore_index", int))
        classes = masks[name].classes
        if not 1 <= len(classes) == len(set(classes)) <= IGNORE_INDEX:
            raise space.fail(f"classes must be different names, 1 to {IGNORE_INDEX}")
        if masks[name].ignore_index != IGNORE_INDEX:
            raise space.fail(f"ignore_index must be {IGNORE_INDEX}")
    return masks


def _parse_listing(node: _Node) -> Listing:
    return Listing(node.get("bytes", int), node.get("sha256", str))


def _parse_split(node: _Node, classes: tuple[str, ...], masks: dict[str, MaskSpace]) -> Split:
    shards = []
    for index, data in enumerate(node.array("shards", dict)):
        shards.append(_parse_shard(_Node(data, f"{node.where}: shards[{index}]")))
    pixels = node.node("pixels")
    split = Split(
        records=node.get("records", int),
        per_class=node.array("per_class", int),
        shards=tuple(shards),
        pixels={name: pixels.array(name, int) for name in masks},
    )
    if len(split.per_class) != len(classes):
        raise node.fail(f"per_class has {len(split.per_class)} counts for {len(classes)} classes")
    for name, counts in split.pixels.items():
        if len(counts) != len(masks[name].classes) + 1 or min(counts) < 0:
            raise pixels.fail(f"{name} must hold a count per class and one of those without")
    if split.records != sum(shard.records for shard in shards):
        raise node.fail("records and the sum over the shards differ")
    if classes and split.records != sum(split.per_class):
        raise node.fail("records and the sum of per_class differ")
    if (
        split.records < 1
        or min(split.per_class, default=0) < 0
        or any(s.records < 1 for s in shards)
    ):
        raise node.fail("a split and each of its shards must hold at least one record")
    return split


def _parse_shard(node: _Node) -> Shard:
    name = node.get("file", str)
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise node.fail(f"file must be a plain file name, not {name!r}")
    return Shard(
        file=name,
        records=node.get("records", int),
        bytes=node.get("bytes", int),
        sha256=node.get("sha256", str),
        index_bytes=node.get("index_bytes", int),
        index_sha256=node.get("index_sha256", str),
    )


def _check_size(path: Path, expected: int) -> None:
    try:
        actual = path.stat().st_size
    except OSError:
        raise UserError(f"{path}: missing, but listed in {MANIFEST}") from None
    if actual != expected:
        raise UserError(f"{path}: damaged: {actual} bytes, {MANIFEST} says {expected}")
