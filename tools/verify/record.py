"""What is wrong with a record: checksum, label, picture and masks."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tools.common.stored_records import Record
from train.data.manifest import Manifest
from train.data.records import IGNORE_INDEX, NO_LABEL


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


def check_records(manifest: Manifest, records: Sequence[Record]) -> list[Checked]:
    """Check some records against what their manifest says of all of them."""
    return [_try(manifest, record) for record in records]


def _try(manifest: Manifest, record: Record) -> Checked:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _check(manifest, record)
    except Exception as error:
        # Decoders raise nearly anything on damaged files.
        reason = " ".join(str(error).split()) or type(error).__name__
        return Checked(f"cannot be decoded: {reason}")


def _check(manifest: Manifest, record: Record) -> Checked:
    if record.checksum() != record.crc:
        return Checked("its checksum is another")
    lowest, labels = 0 if manifest.classes else NO_LABEL, len(manifest.classes)
    if not lowest <= record.label < labels:
        return Checked(f"label {record.label} is not in {lowest}..{labels - 1}")
    stated = manifest.image
    with Image.open(io.BytesIO(record.image)) as image:
        image.load()
        if image.format != stated["format"].upper() or image.mode != "RGB":
            return Checked(f"is {image.format} {image.mode} instead of RGB {stated['format']}")
        width, height = image.size
    (low, high), (narrow, wide) = stated["height"], stated["width"]
    fits = low <= height <= high and narrow <= width <= wide
    if not fits or stated.get("size") not in (None, min(width, height)):
        return Checked(f"has {width}x{height} pixels, which the manifest rules out")
    counts = []
    for data, space in zip(record.masks, manifest.masks.values(), strict=True):
        classes = len(space.classes)
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
