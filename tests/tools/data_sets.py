"""Small pictures and tables to prepare, and what was made of them."""

import csv
import io
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (12, 10)) -> Image.Image:
    """A picture of random RGB pixels, (width, height) as given."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def read_records(folder: Path, split: str) -> list[tuple[bytes, int, str]]:
    """All records of a split through MindDataset, in their order."""
    import mindspore.dataset as ds

    from train.data.manifest import Manifest

    paths = Manifest.read(folder).shard_paths(folder, split)
    rows = ds.MindDataset(paths, shuffle=False).create_dict_iterator(
        num_epochs=1, output_numpy=True
    )
    return [(row["image"].tobytes(), int(row["label"]), str(row["key"])) for row in rows]


def manifest_json(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return data


def rows_of(folder: Path) -> list[dict[str, str]]:
    """The table of records."""
    with (folder / "records.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_csv(
    path: Path, rows: Sequence[tuple[str, ...]], header: str = "file,class,split"
) -> Path:
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    return path


def all_rows(source: Path, split: Callable[[int], str]) -> list[tuple[str, str, str]]:
    keys = sorted(path.relative_to(source) for path in source.rglob("*.png"))
    return [(key.as_posix(), key.parts[0], split(index)) for index, key in enumerate(keys)]


def bands_tiff(
    values: np.ndarray, *, planar: bool = False, compression: int = 1, order: str = "<"
) -> bytes:
    """A TIFF of (height, width, bands) in strips of three rows, with differences if compressed."""
    height, width, count = values.shape
    values = values.astype(values.dtype.newbyteorder(order))
    planes = [values[..., [band]] for band in range(count)] if planar else [values]
    strips = []
    for plane in planes:
        for row in range(0, height, 3):
            part = plane[row : row + 3].copy()
            if compression == 8:
                part[:, 1:] -= plane[row : row + 3, :-1]
            data = part.tobytes()
            strips.append(zlib.compress(data) if compression == 8 else data)
    starts = np.cumsum([8, *map(len, strips)])[:-1].tolist()
    body = b"".join(strips)
    bits = values.dtype.itemsize * 8
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    tags: dict[int, list[int]] = {
        **{256: [width], 257: [height], 258: [bits] * count, 259: [compression], 262: [1]},
        **{273: starts, 277: [count], 278: [3], 279: [len(strip) for strip in strips]},
        **{284: [2 if planar else 1], 317: [2 if compression == 8 else 1], 339: [kind] * count},
    }
    place = 8 + len(body) + 2 + 12 * len(tags) + 4
    directory, lists = struct.pack(f"{order}H", len(tags)), b""
    for tag, numbers in tags.items():
        packed = struct.pack(f"{order}{len(numbers)}L", *numbers)
        if len(numbers) > 1:
            at = struct.pack(f"{order}L", place + len(lists))
            lists, packed = lists + packed, at
        directory += struct.pack(f"{order}HHL", tag, 4, len(numbers)) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8 + len(body))
    return head + body + directory + bytes(4) + lists
