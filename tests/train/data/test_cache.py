"""Training images kept in memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.train.data.conftest import UNCHANGED, make_loader, read
from train.config.schedule import Interval
from train.config.schema import Config
from train.data.cache import choose_cached
from train.data.manifest import RecordSet


@pytest.mark.parametrize("augment", [UNCHANGED, {"crop_area": None}], ids=["plain", "augmented"])
def test_images_and_masks_kept_in_memory_are_those_of_the_records(
    make_config: Callable[..., Config], augment: dict[str, Any]
) -> None:
    stored, kept = (
        read(make_config(augment, cache=cache), [Interval(0, 11, 16)], masks={"coast": ("mask",)})
        for cache in ("none", "ram")
    )
    assert {len(batch) for batch in stored} == {7}
    for one, other in zip(stored, kept, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("bytes_free", [-1, 0])
def test_masks_need_room_in_the_cache_too(sets: list[RecordSet], bytes_free: int) -> None:
    """With masks coast needs 38,400 bytes, so that fields does not fit beside it any more."""
    masks = {"coast": ("mask",)}
    budget = 51_840 + 38_400 + bytes_free
    assert choose_cached(sets, {}, budget) == ["coast", "fields"]
    assert choose_cached(sets, masks, budget) == ["coast", "fields"][: 2 + bytes_free]
    assert choose_cached(sets, masks, 38_400 + bytes_free) == ["coast"][: 1 + bytes_free]


def test_cache_takes_the_smallest_data_sets_within_its_budget(
    make_config: Callable[..., Config],
) -> None:
    # Pixels of the train splits: fields 30 x 24^2, roofs 36 x 28^2, coast 24 x 20^2; 3 bytes each.
    sizes = {"fields": 51_840, "roofs": 84_672, "coast": 28_800}
    for budget, kept in (
        (28_799, set()),
        (51_840 + 28_800, {"fields", "coast"}),
        (sum(sizes.values()), set(sizes)),
    ):
        loader = make_loader(make_config(UNCHANGED, cache="ram", cache_budget=budget))
        assert set(loader.cached) == kept
        held = {
            name: sum(image.nbytes for image, *_ in rows) for name, rows in loader.cached.items()
        }
        assert held == {name: sizes[name] for name in kept}
        for name in set(sizes) - kept:
            assert name in loader.describe_cache().split(";")[1]
