"""What is wrong with a record: checksum, label, picture and masks."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tools.common.stored_records import Stored
from train.data.manifest import Manifest
from train.data.records import IGNORE_INDEX, NO_LABEL, checksum


@dataclass(frozen=True)
class Rules:
    """What holds for every record of a data set.

    Attributes:
        classes: Number of scene classes.
        masks: Number of classes of every label space of masks.
        format: ``"jpeg"`` or ``"png"``.
        size: Pixels of the shorter side, or None.
        height: Smallest and largest height.
        width: Smallest and largest width.
    """

    classes: int
    masks: tuple[int, ...]
    format: str
    size: int | None
    height: tuple[int, int]
    width: tuple[int, int]

    @classmethod
    def of(cls, manifest: Manifest) -> "Rules":
        """Return the rules that a manifest states."""
        image = manifest.image
        masks = tuple(len(space.classes) for space in manifest.masks.values())
        sides = tuple(image["height"]), tuple(image["width"])
        return cls(len(manifest.classes), masks, image["format"], image.get("size"), *sides)


@dataclass(frozen=True)
class Job:
    """Records for one call of a worker."""

    rules: Rules
    records: tuple[Stored, ...]


@dataclass(frozen=True)
class Checked:
    """What was found in a record.

    Attributes:
        problem: What is wrong with it, or None.
        width: Of the picture, in pixels, as ``height``.
        counts: For every label space of masks, pixels per class and, last, of those without.
    """

    problem: str | None
    width: int = 0
    height: int = 0
    counts: tuple[tuple[int, ...], ...] = ()


def run_job(job: Job) -> list[Checked]:
    """Check the records of a job."""
    return [_try(record, job.rules) for record in job.records]


def _try(record: Stored, rules: Rules) -> Checked:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _check(record, rules)
    except Exception as error:
        # Decoders raise nearly anything on damaged files.
        reason = " ".join(str(error).split()) or type(error).__name__
        return Checked(f"cannot be decoded: {reason}")


def _check(record: Stored, rules: Rules) -> Checked:
    if checksum(record.image, record.masks) != record.crc:
        return Checked("its checksum is another")
    lowest = 0 if rules.classes else NO_LABEL
    if not lowest <= record.label < max(rules.classes, 0):
        return Checked(f"label {record.label} is not in {lowest}..{rules.classes - 1}")
    with Image.open(io.BytesIO(record.image)) as image:
        image.load()
        if image.format != rules.format.upper() or image.mode != "RGB":
            return Checked(f"is {image.format} {image.mode} instead of RGB {rules.format}")
        width, height = image.size
    fits = (
        rules.height[0] <= height <= rules.height[1] and rules.width[0] <= width <= rules.width[1]
    )
    if not fits or rules.size not in (None, min(width, height)):
        return Checked(f"has {width}x{height} pixels, which the manifest rules out")
    counts = []
    for data, classes in zip(record.masks, rules.masks, strict=True):
        with Image.open(io.BytesIO(data)) as mask:
            mask.load()
            if mask.mode != "L" or mask.size != (width, height):
                return Checked(f"has a mask of {mask.size[0]}x{mask.size[1]} {mask.mode} pixels")
            found = np.bincount(np.asarray(mask).ravel(), minlength=256)
        if found[classes:IGNORE_INDEX].any():
            wrong = classes + int(np.flatnonzero(found[classes:IGNORE_INDEX])[0])
            return Checked(f"has a mask value {wrong}, and {classes} classes")
        counts.append((*found[:classes].tolist(), int(found[IGNORE_INDEX])))
    return Checked(None, width, height, tuple(counts))
