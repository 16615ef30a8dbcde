from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore.dataset as ds
import numpy as np
import pytest
import yaml

from tests.train.data.conftest import SHARES, UNCHANGED, make_loader, read
from train.config.reader import load_config
from train.config.schedule import Interval
from train.config.schema import Config
from train.data.manifest import RecordSet, open_record_sets
from train.errors import UserError
from train.tasks.base import resolve_tasks


def test_shapes_and_labels(config: Config) -> None:
    batches = read(config, [Interval(0, 2, 16), Interval(2, 3, 12)])
    assert [b[0].shape for b in batches] == [(4, 16, 16, 3), (4, 16, 16, 3), (4, 12, 12, 3)]
    for batch in batches:
        assert [x.shape for x in batch[3:]] == [(4,), (8,), (4,)]
        assert all(x.dtype == np.uint8 for x in batch[:3])
        assert all(x.dtype == np.int32 for x in batch[3:])


def test_batches_hold_the_records_of_the_plan(config: Config, sets: list[RecordSet]) -> None:
    loader = make_loader(config)
    batches = read(config, [Interval(4, 7, 16)])
    for d, record_set in enumerate(sets):
        paths = record_set.manifest.shard_paths(record_set.folder, "train")
        rows = ds.MindDataset(paths, columns_list=["label"], shuffle=False)
        labels = [int(r[0]) for r in rows.create_tuple_iterator(num_epochs=1, output_numpy=True)]
        planned = loader.streams[d].records(4, 7)
        found = np.stack([b[len(sets) + d] for b in batches])
        np.testing.assert_array_equal(found, np.array(labels)[planned])


def test_a_stretch_may_be_longer_than_a_pass(config: Config) -> None:
    """coast has 24 training records: 20 steps of 4 are more than three passes."""
    batches = read(config, [Interval(0, 20, 12)])
    labels = np.concatenate([b[-1] for b in batches])
    for start in range(0, 72, 24):
        assert np.bincount(labels[start : start + 24]).tolist() == [12, 12]


def test_ranks_together_see_the_batch_of_one(config: Config) -> None:
    [whole] = read(config, [Interval(5, 6, 16)])
    parts = [read(config, [Interval(5, 6, 16)], rank=r, world_size=2)[0] for r in range(2)]
    for column in range(6):
        interleaved = np.stack([p[column] for p in parts], axis=1).reshape(whole[column].shape)
        np.testing.assert_array_equal(interleaved, whole[column])


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_resuming_at_a_consolidation_point_sees_the_same_pixels(
    make_config: Callable[..., Config], cache: str
) -> None:
    config = make_config({"mixup": 0.4, "cutmix": 1.0}, cache=cache)
    intervals = [Interval(0, 3, 16), Interval(3, 6, 16), Interval(6, 8, 16)]
    whole = read(config, intervals)
    resumed = read(config, intervals[1:])
    assert len(whole[0]) == 12
    for one, other in zip(whole[3:], resumed, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_augmentations_differ_between_ranks_seeds_and_stretches(
    make_config: Callable[..., Config], config: Config
) -> None:
    # The last pixels of a data set repeat after 9 steps; another interval must see them changed.
    [one] = read(make_config(), [Interval(0, 1, 16)])
    [other_seed] = read(make_config(seed=2), [Interval(0, 1, 16)])
    assert (one[0] != other_seed[0]).any()
    [plain] = read(config, [Interval(0, 1, 16)])
    np.testing.assert_array_equal(one[3], plain[3])
    assert (one[0] != plain[0]).any()
    loaders = [make_loader(config, rank, 2) for rank in range(2)]
    seeds = {
        loader._augmentation_seed(interval, name)
        for loader in loaders
        for interval in (Interval(0, 2, 16), Interval(2, 4, 16))
        for name in SHARES
    }
    assert len(seeds) == 12


def test_augmentations_of_one_data_set(
    make_config: Callable[..., Config], small_config: dict[str, Any], config: Config
) -> None:
    own = {**small_config["datasets"]["roofs"], "augment": {"flips": True}}
    changed = make_config(UNCHANGED, datasets={**small_config["datasets"], "roofs": own})
    assert changed.augment_of("roofs").crop_area is None
    plain = np.concatenate([b[1] for b in read(config, [Interval(0, 4, 28)])])
    flipped = np.concatenate([b[1] for b in read(changed, [Interval(0, 4, 28)])])
    kinds = {
        name
        for a, b in zip(plain, flipped, strict=True)
        for name, view in {"no": a, "lr": a[:, ::-1], "ud": a[::-1], "both": a[::-1, ::-1]}.items()
        if (view == b).all()
    }
    assert kinds == {"no", "lr", "ud", "both"}
    one, other = (
        np.concatenate([b[0] for b in read(c, [Interval(0, 4, 28)])]) for c in (config, changed)
    )
    np.testing.assert_array_equal(one, other)


def test_mixing_is_drawn_anew_for_every_step_and_data_set(
    make_config: Callable[..., Config],
) -> None:
    batches = read(make_config({"mixup": 1.0}), [Interval(0, 3, 16)])
    shares = [share for batch in batches for share in batch[9:]]
    assert [len(s) for s in shares] == [4, 8, 4] * 3
    first_values = {float(share[0]) for share in shares}
    assert len(first_values) == 9


def test_mixing_of_one_data_set(
    make_config: Callable[..., Config], small_config: dict[str, Any]
) -> None:
    own = {**small_config["datasets"]["roofs"], "augment": {"mixup": 1.0}}
    config = make_config(UNCHANGED, datasets={**small_config["datasets"], "roofs": own})
    [batch] = read(config, [Interval(0, 1, 16)])
    fields, roofs, coast = batch[9:]
    assert (fields == 1).all() and (coast == 1).all() and (roofs < 1).any()


def test_shares_that_the_ranks_do_not_divide(config: Config) -> None:
    loaders = [make_loader(config, rank, 3) for rank in range(3)]
    batches = [next(next(loader.batches([Interval(0, 1, 16)]))[1]) for loader in loaders]
    assert [[len(x) for x in batch[3:]] for batch in batches] == [[2, 3, 2], [1, 3, 1], [1, 2, 1]]
    for loader, batch in zip(loaders, batches, strict=True):
        means = [share / 3 for share in SHARES.values()]
        assert loader.weights == pytest.approx(
            [len(x) / m for x, m in zip(batch[3:], means, strict=True)]
        )


def test_share_that_is_too_small_for_the_ranks(config: Config) -> None:
    with pytest.raises(UserError, match=r"4 image\(s\) of fields, too few for 5 ranks"):
        make_loader(config, 0, 5)


def test_class_count_that_disagrees(small_config: dict[str, Any], tmp_path: Path) -> None:
    small_config["tasks"] = {"fields": {"classes": 5}, "roofs": {"classes": 4}, "coast": {}}
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(small_config, sort_keys=False))
    config = load_config(path)
    with pytest.raises(UserError, match=r"tasks.fields.classes: 5 classes.*has 3"):
        resolve_tasks(config, open_record_sets(config))
