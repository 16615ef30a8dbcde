"""Small pictures and tables to prepare, and what was made of them."""

import csv
import io
import json
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
