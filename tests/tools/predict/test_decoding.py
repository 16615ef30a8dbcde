"""A picture's file becomes what preparing and evaluating it would have given, pixel by pixel."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tools.commands import Tools
from tools.predict.decoding import Decoder
from tools.predict.recipes import recipe_of
from tools.prepare.recipe import Recipe
from train.config.schema import Config
from train.data.manifest import Manifest, RecordSet
from train.data.pipeline import record_keys, stored_records, transformed_batches
from train.data.transforms import evaluation_transforms
from train.inference.blueprint import NETWORK, Blueprint, describe_network

SIZE = 24
RNG = np.random.default_rng(5)


def smooth(width: int, height: int, bands: int = 3, depth: str = "uint8") -> np.ndarray:
    """Values without sharp edges, of the whole range."""
    small = RNG.integers(0, 256, (4, 5, bands), np.uint8)
    scaled = [
        np.asarray(Image.fromarray(small[..., band]).resize((width, height)))
        for band in range(bands)
    ]
    values: np.ndarray = np.stack(scaled, -1).astype(depth)
    return values if depth == "uint8" else values * 11


def saved(folder: Path, name: str, values: np.ndarray, **options: object) -> None:
    image = Image.fromarray(values)
    image.save(folder / name, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        ["--format", "png"],
        ["--format", "jpeg", "--quality", "70"],
        ["--format", "jpeg", "--size", "33"],
        ["--format", "png", "--size", "40", "--bands", "3,1,2"],
        ["--format", "jpeg", "--size", "30", "--range", "0,2000"],
    ],
    ids=lambda options: " ".join(options),
)
def test_squares_in_the_middle_are_what_an_evaluation_sees(
    tools: Tools, tmp_path: Path, options: list[str]
) -> None:
    source = tmp_path / "src" / "a"
    for folder in (source, source.with_name("b")):
        folder.mkdir(parents=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    saved(source, "square.png", smooth(50, 50))
    saved(source, "wide.jpg", smooth(90, 41), quality=90)
    saved(source, "tall.png", smooth(37, 101))
    saved(source, "turned.jpg", smooth(61, 40), quality=92, exif=turned)
    saved(source.with_name("b"), "huge.jpg", smooth(400, 310), quality=92)
    if "--bands" not in options:
        saved(source, "grey.png", smooth(44, 31, 1)[..., 0])
        saved(source, "deep.tif", smooth(45, 52, 1, "uint16")[..., 0])
    out = tmp_path / "records"
    arguments = ["--layout", "{class}/*", "--ratios", "1,0,0", "--duplicates", "allow"]
    made = tools("prepare", source.parent, "--out", out, *arguments, *options, "--workers", 1)
    assert made.code == 0, made.err
    # A checkpoint of this data set tells how; what it does not keep is not needed.
    record_set = RecordSet("a", out, Manifest.read(out))
    tree = {"datasets": {"a": {"records": str(out)}}, "tasks": {"a": {}}, "run_dir": "x"}
    config = Config.model_validate({**tree, "schedule": {"steps": 1}})
    state = json.loads(json.dumps({NETWORK: describe_network(config, [record_set])}))
    [kept] = Blueprint.of(state, "x").sets
    decoder = Decoder([recipe_of(kept)], SIZE, whole=True)

    everything = np.arange(record_set.num_records("train"))
    keys = record_keys(record_set, "train", everything)
    rows = stored_records(record_set, "train", everything)
    [seen, *_] = next(transformed_batches(rows, [], evaluation_transforms(SIZE), [], len(keys)))
    assert len(keys) in (5, 7)
    for key, expected in zip(keys, seen, strict=True):
        squares = decoder.squares((source.parent / key).read_bytes())
        np.testing.assert_array_equal(squares.pixels[0][0], expected, err_msg=key)
        upright = {"a/turned.jpg": (40, 61), "a/wide.jpg": (90, 41), "b/huge.jpg": (400, 310)}
        assert squares.size == upright.get(key, squares.size)
        assert min(squares.shape) == SIZE


def test_data_sets_that_were_prepared_in_different_ways_see_different_pixels() -> None:
    buffer = io.BytesIO()
    Image.fromarray(smooth(80, 50)).save(buffer, "PNG")
    recipes = [Recipe("png", 95, None), Recipe("jpeg", 30, 25)]
    both = Decoder(recipes, SIZE, whole=True).squares(buffer.getvalue())
    assert [pixels.shape for pixels in both.pixels] == [(3, SIZE, SIZE, 3)] * 2
    for recipe, pixels in zip(recipes, both.pixels, strict=True):
        alone = Decoder([recipe], SIZE, whole=False).squares(buffer.getvalue())
        np.testing.assert_array_equal(alone.pixels[0][0], pixels[0])
    assert (both.pixels[0] != both.pixels[1]).any()


def test_very_long_pictures_have_no_mask() -> None:
    buffer = io.BytesIO()
    Image.fromarray(smooth(2000, 10)).save(buffer, "PNG")
    with pytest.raises(ValueError, match=r"2000x10.*too long for a mask"):
        Decoder([Recipe("png", 95, None)], SIZE, whole=True).squares(buffer.getvalue())
    alone = Decoder([Recipe("png", 95, None)], SIZE, whole=False).squares(buffer.getvalue())
    assert alone.pixels[0].shape == (1, SIZE, SIZE, 3)
