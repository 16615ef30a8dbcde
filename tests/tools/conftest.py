"""Small picture folders, made for each test."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tools.__main__ import main


def picture(seed: int, size: tuple[int, int] = (12, 10)) -> Image.Image:
    """A picture of random RGB pixels, (width, height) as given."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three classes of 10, 10 and 5 PNG pictures in folder "src"."""
    root = tmp_path / "src"
    seed = 0
    for name, count in (("water", 10), ("field", 10), ("town", 5)):
        (root / name).mkdir(parents=True)
        for number in range(count):
            seed += 1
            picture(seed).save(root / name / f"{name}_{number:02d}.png")
    return root


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    def assert_error(self, *parts: str) -> None:
        """Exit code 2 and one line on stderr that holds all the parts."""
        errors = [line for line in self.err.splitlines() if not line.endswith("pictures ...")]
        assert self.code == 2, self.err
        assert len(errors) == 1 and errors[0].startswith("error: "), self.err
        for part in parts:
            assert part in errors[0]


@pytest.fixture
def tools(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs ``python -m tools`` with arguments, in this process."""

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            code = int(str(leaving.code))
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


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


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_csv(
    path: Path, rows: list[tuple[str, str, str]], header: str = "file,class,split"
) -> Path:
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    return path


def all_rows(source: Path, split: Callable[[int], str]) -> list[tuple[str, str, str]]:
    keys = sorted(path.relative_to(source) for path in source.rglob("*.png"))
    return [(key.as_posix(), key.parts[0], split(index)) for index, key in enumerate(keys)]
