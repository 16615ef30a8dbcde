"""What a prepared data set says of itself: ``manifest.json``, written and read.

A prepared data set is one flat folder of MindRecord shards per split::

    manifest.json
    records.csv
    train.mindrecord0  train.mindrecord0.db  train.mindrecord1  ...
    val.mindrecord0    val.mindrecord0.db    ...

``records.csv`` lists the records in their order with what they were made of; training does not
need it. What is in a record: :mod:`train.data.records`.

Nothing here imports MindSpore: reading a manifest costs nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from train.config.reader import explain, place
from train.config.schema import Config
from train.data.records import IGNORE_INDEX, IMAGE_FORMATS
from train.errors import UserError
from train.files import read_json, write_flushed

FORMAT = "mtln-records"
VERSION = 3
MANIFEST = "manifest.json"
LISTING = "records.csv"
SPLITS = ("train", "val", "test")


def _file_name(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise ValueError(f"must be a plain file name, not {name!r}")
    return name


Count = Annotated[int, Field(ge=0)]
Colour = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]
AtLeastOne = Annotated[int, Field(ge=1)]
Mean = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Deviation = Annotated[float, Field(ge=1e-9, le=1, allow_inf_nan=False)]


@dataclass(frozen=True)
class Shard:
    """One MindRecord file and the index beside it (``<file>.db``), which reading needs too.

    Attributes:
        file: File name inside the data set's folder. MindRecord keeps it inside the file as
            well: the folder may be renamed, the file may not.
        records: Records in the file.
        bytes, sha256: Size and digest (in hexadecimal) of the file.
        index_bytes, index_sha256: Size and digest of the index.
    """

    file: Annotated[str, AfterValidator(_file_name)]
    records: AtLeastOne
    bytes: int
    sha256: str
    index_bytes: int
    index_sha256: str

    def files(self) -> tuple[tuple[str, int, str], ...]:
        """Return name, size and digest of the file and of its index."""
        index = f"{self.file}.db", self.index_bytes, self.index_sha256
        return (self.file, self.bytes, self.sha256), index


@dataclass(frozen=True)
class Listing:
    """Size and digest (in hexadecimal) of the table of all records, :data:`LISTING`."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class MaskSpace:
    """A label space of masks: what the pixels of one column of masks mean.

    Attributes:
        classes: Class names; a pixel's value is a position in here.
        ignore_index: Value of the pixels that have no class.
        colours: Colours of the classes in the user's own masks, "#rrggbb"; empty where those held
            numbers.
    """

    classes: Annotated[tuple[str, ...], Field(min_length=1, max_length=IGNORE_INDEX)]
    ignore_index: Literal[255] = IGNORE_INDEX
    colours: tuple[Colour, ...] = ()


@dataclass(frozen=True)
class Split:
    """One split.

    Attributes:
        records: Number of records.
        per_class: Number of records of each class, in the order of ``Manifest.classes``.
        shards: The files. Their order is the order in which a dataset over
            ``Manifest.shard_paths`` numbers the records.
        pixels: For every label space of masks, the number of pixels of each class and, last, of
            those that have none.
    """

    records: AtLeastOne
    per_class: tuple[Count, ...]
    shards: tuple[Shard, ...]
    pixels: dict[str, tuple[Count, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What a prepared data set holds. Its values are checked when it is read.

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
        splits: Splits by name, among :data:`SPLITS`; ``train`` is always there.
        listing: The table of all records.
        source: What the records were made of, as the user gave it.
        command: The command that made them.
        notes: Counts worth knowing, such as unreadable pictures left out.
        versions: Versions of the software that made the records.
    """

    name: str
    classes: tuple[str, ...]
    image: dict[str, Any]
    mean: tuple[Mean, Mean, Mean]
    std: tuple[Deviation, Deviation, Deviation]
    splits: dict[str, Split]
    listing: Listing
    source: dict[str, Any]
    command: str
    masks: dict[str, MaskSpace] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read and check ``folder/manifest.json``, and that its shards have the right sizes.

        Raises:
            UserError: The folder, the manifest or a shard is missing, or does not fit.
        """
        manifest = cls.read_alone(folder)
        for split in manifest.splits.values():
            for shard in split.shards:
                for name, size, _ in shard.files():
                    _check_size(folder / name, size)
        return manifest

    @classmethod
    def read_alone(cls, folder: Path) -> Manifest:
        """Read and check ``folder/manifest.json`` without looking at the shards.

        Raises:
            UserError: The folder or the manifest is missing, or does not fit.
        """
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder (make it with: python -m tools prepare)")
        path = folder / MANIFEST
        try:
            data = _checked_format(read_json(path), path)
            manifest = _READER.validate_json(json.dumps(data), strict=True)
        except FileNotFoundError:
            raise UserError(
                f"{folder}: no {MANIFEST} in it, so not a prepared data set (prepare pictures "
                f"with: python -m tools prepare {shlex.quote(str(folder))} --out FOLDER)"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"{path}: {'.'.join(place(first))}: {explain(first)}") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read as JSON: {error}") from None
        if (problem := next(_contradictions(manifest), None)) is not None:
            raise UserError(f"{path}: {problem}")
        if (found := data.get("digest")) != digest_of(data):
            raise UserError(
                f"{path}: damaged, or changed by hand: its digest is not {found!r:.80} "
                "(prepare or copy the data again)"
            )
        return manifest

    def write(self, folder: Path) -> None:
        """Write ``folder/manifest.json`` and flush it to the disk."""
        data = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        data["digest"] = digest_of(data)
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
        write_flushed(folder / MANIFEST, text.encode())

    def shard_paths(self, folder: Path, split: str) -> list[str]:
        """Return paths for ``mindspore.dataset.MindDataset``, in the order of the records.

        Raises:
            UserError: There is no such split.
        """
        if split not in self.splits:
            raise UserError(f"{folder}: no split {split!r} (there are: {', '.join(self.splits)})")
        return [str(folder / shard.file) for shard in self.splits[split].shards]


_READER = TypeAdapter(Manifest)


@dataclass(frozen=True)
class RecordSet:
    """One prepared data set as training sees it: where it is, and what its manifest says."""

    name: str
    folder: Path
    manifest: Manifest

    def num_records(self, split: str) -> int:
        """Return the number of records of a split; 0 if there is no such split."""
        return self.manifest.splits[split].records if split in self.manifest.splits else 0

    def shards(self, split: str) -> Iterator[tuple[Shard, range]]:
        """Yield the shards of a split with the numbers of their records."""
        first = 0
        for shard in self.manifest.splits[split].shards if split in self.manifest.splits else ():
            yield shard, range(first, first + shard.records)
            first += shard.records


def open_record_sets(config: Config) -> list[RecordSet]:
    """Read the manifests of all data sets.

    Raises:
        UserError: A folder or shard is missing or damaged.
    """
    folders = {name: config.records_of(name) for name in config.datasets}
    return [RecordSet(name, folder, Manifest.read(folder)) for name, folder in folders.items()]


def digest_of(data: Mapping[str, Any]) -> str:
    """Return the digest of what a manifest says, without its own ``digest``, in hexadecimal."""
    text = json.dumps({key: data[key] for key in data if key != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _checked_format(data: object, path: Path) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise UserError(f"{path}: must be a JSON object")
    found, version = data.get("format"), data.get("version")
    if found != FORMAT:
        raise UserError(f"{path}: format must be {FORMAT!r}, not {found!r:.60}")
    if version != VERSION:
        raise UserError(
            f"{path}: version {version!r:.60} is not known here ({VERSION} is): "
            "prepare the data again"
        )
    return data


def _contradictions(manifest: Manifest) -> Iterator[str]:
    classes, masks, splits = manifest.classes, manifest.masks, manifest.splits
    if len(set(classes)) != len(classes) or not (classes or masks):
        yield "classes: must be different names, at least one if there are no masks"
    for name, space in masks.items():
        if len(set(space.classes)) != len(space.classes):
            yield f"masks.{name}.classes: must be different names"
        if len(space.colours) not in (0, len(space.classes)):
            yield f"masks.{name}.colours: {len(space.colours)} for {len(space.classes)} classes"
    if manifest.image.get("format") not in IMAGE_FORMATS:
        yield f"image.format: must be one of {', '.join(IMAGE_FORMATS)}"
    if "train" not in splits or not set(splits) <= set(SPLITS):
        has = ", ".join(splits) or "nothing"
        yield f"splits: must hold train and may hold val and test, but holds {has}"
    for name, split in splits.items():
        at = f"splits.{name}"
        if len(split.per_class) != len(classes):
            yield f"{at}.per_class: {len(split.per_class)} counts for {len(classes)} classes"
        for mask, space in masks.items():
            if len(split.pixels.get(mask, ())) != len(space.classes) + 1:
                yield f"{at}.pixels.{mask}: must hold a count per class and one of those without"
        if split.records != sum(shard.records for shard in split.shards):
            yield f"{at}: records and the sum over the shards differ"
        if classes and split.records != sum(split.per_class):
            yield f"{at}: records and the sum of per_class differ"


def _check_size(path: Path, expected: int) -> None:
    try:
        actual = path.stat().st_size
    except OSError:
        raise UserError(f"{path}: missing, but listed in {MANIFEST}") from None
    if actual != expected:
        raise UserError(f"{path}: damaged: {actual} bytes, {MANIFEST} says {expected}")
