"""Tiles that are blended give what the whole scene would, at every pixel."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.predict.scenes.made_scenes import PerPixel, predict, random_pixels, write_scene
from tools.predict.scenes import SceneOptions, grid
from tools.predict.scenes.grid import Axis
from tools.predict.scenes.options import BLENDS

_TILE = 32


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("stride", [24, 11])
@pytest.mark.parametrize(
    "size",
    [(97, 131), (32, 32), (33, 64), (31, 33), (7, 200), (1, 1)],
    ids=lambda s: f"{s[0]}x{s[1]}",
)
def test_tiled_is_untiled(
    tmp_path: Path, size: tuple[int, int], stride: int, blend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Odd sizes, one tile exactly, a pixel more and less; several blocks of two tiles or so."""
    monkeypatch.setattr(grid, "_BLOCK", 50)
    pixels = random_pixels(*size).astype(np.uint8)
    scene, model = write_scene(tmp_path / "s.tif", pixels), PerPixel()
    options = SceneOptions(_TILE, stride, blend, probabilities="float32")
    files = predict(scene, model, tmp_path / "out", options)
    expected = model.pixels(np.moveaxis(pixels, 0, -1)[None])[0]
    with rasterio.open(files["out_cover_probabilities.tif"]) as file:
        np.testing.assert_allclose(file.read(), expected, rtol=0, atol=1e-6)
    top = np.sort(expected, 0)
    clear = top[-1] - top[-2] > 1e-5
    with rasterio.open(files["out_cover.tif"]) as file:
        np.testing.assert_array_equal(file.read(1)[clear], expected.argmax(0)[clear])
    # All in batches of one shape, in which every tile is full.
    assert {images.shape[1:] for images in model.asked} == {(_TILE, _TILE, 3)}
    assert all(len(images) == model.batch for images in model.asked[:-1])


@given(
    length=st.integers(1, 300),
    tile=st.integers(1, 64),
    share=st.floats(0.01, 1),
    blend=st.sampled_from(BLENDS),
)
def test_weights_add_up_to_one_everywhere(length: int, tile: int, share: float, blend: str) -> None:
    axis = Axis(length, tile, max(1, int(tile * share)), blend)
    total = np.zeros(max(length, tile))
    for origin, weights in zip(axis.origins, axis.weights, strict=True):
        assert weights.min() >= 0 and (origin + tile <= length or origin == 0)
        total[origin : origin + tile] += weights
    np.testing.assert_allclose(total[:length], 1, atol=1e-6)
    assert list(axis.origins) == sorted(set(axis.origins))


@given(length=st.integers(1, 300), tile=st.integers(1, 40), stride=st.integers(1, 40))
def test_blocks_are_all_of_the_scene_and_know_all_their_tiles(
    length: int, tile: int, stride: int
) -> None:
    axis = Axis(length, tile, min(stride, tile), "linear")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "_BLOCK", 60)
        blocks = axis.blocks
    assert [b.start for b in blocks] == [0, *(b.stop for b in blocks[:-1])]
    assert blocks[-1].stop == length
    for block in blocks:
        needed = [
            i
            for i, origin in enumerate(axis.origins)
            if range(max(origin, block.start), min(origin + tile, block.stop))
        ]
        assert list(block.tiles) == needed


def test_middle_of_a_tile_weighs_most() -> None:
    for blend in ("cosine", "linear"):
        first, second = Axis(48, 32, 16, blend).weights
        # Where both see a pixel, from sure to unsure of the first one.
        assert (np.diff(first[16:]) < 0).all() and (first[:16] == 1).all()
        np.testing.assert_allclose(first[16:], second[15::-1], atol=1e-6)
    nearest = Axis(48, 32, 16, "centre").weights
    assert nearest[0].tolist() == [1.0] * 24 + [0.0] * 8
    assert nearest[1].tolist() == [0.0] * 8 + [1.0] * 24
