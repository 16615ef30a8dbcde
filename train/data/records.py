"""The format of a record in a prepared data set.

Every record has an ``image`` (an encoded JPEG or PNG), a ``label`` (the position of its scene class
in ``Manifest.classes``; -1 where the data set has no scene classes), a ``key`` (the path of the
picture relative to its source folder, so that a damaged record can be named), a ``crc`` (see
:func:`checksum`: it tells which records of a damaged shard are whole) and, for every label space of
masks, ``mask_<name>``: an 8-bit grey PNG of the image's size whose values are positions in
``MaskSpace.classes``, or :data:`IGNORE_INDEX` where a pixel has no class.

``tools.prepare.shards`` writes the records.
"""

import zlib
from collections.abc import Iterable
from typing import Final

IGNORE_INDEX: Final = 255
NO_LABEL = -1
IMAGE_FORMATS = ("jpeg", "png")


def schema(masks: Iterable[str] = ()) -> dict[str, dict[str, str]]:
    """Return the MindRecord schema of a data set with these label spaces of masks."""
    columns = {"image": "bytes", "label": "int32", "key": "string", "crc": "int64"}
    columns |= {mask_column(name): "bytes" for name in masks}
    return {name: {"type": kind} for name, kind in columns.items()}


def mask_column(name: str) -> str:
    """Return the column that holds the masks of a label space."""
    return f"mask_{name}"


def checksum(label: int, key: str, image: bytes, masks: Iterable[bytes] = ()) -> int:
    """Return the ``crc`` of a record: CRC-32 of all that it holds, masks as they are listed."""
    value = zlib.crc32(f"{label} {key}".encode())
    for part in (image, *masks):
        value = zlib.crc32(part, value)
    return value
