import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore.dataset as ds
import numpy as np
import pytest
import yaml

from train.config.reader import load_config
from train.config.schedule import Interval
from train.config.schema import Config
from train.data.damage import DamageWatch
from train.data.evaluation_loader import EvaluationLoader
from train.data.loader import TrainLoader
from train.data.pipeline import needed_shards
from train.data.record_set import RecordSet, open_record_sets
from train.errors import UserError
from train.tasks.base import resolve_tasks

SHARES = {"fields": 4, "roofs": 8, "coast": 4}
PLAIN = {
    "crop_area": None,
    "flips": False,
    "quarter_turns": False,
    "brightness": 0,
    "contrast": 0,
}


@pytest.fixture
def make_config(small_config: dict[str, Any], tmp_path: Path) -> Callable[..., Config]:
    def make(augment: dict[str, Any] | None = None, **values: Any) -> Config:
        path = tmp_path / "job.yaml"
        tree = {**small_config, "augment": augment or {}, **values}
        path.write_text(yaml.safe_dump(tree, sort_keys=False))
        return load_config(path)

    return make


@pytest.fixture
def config(make_config: Callable[..., Config]) -> Config:
    return make_config(PLAIN)


@pytest.fixture
def augmented(make_config: Callable[..., Config]) -> Config:
    return make_config()


@pytest.fixture
def sets(config: Config) -> list[RecordSet]:
    return open_record_sets(config)


def make_loader(config: Config, rank: int = 0, world_size: int = 1) -> TrainLoader:
    sets = open_record_sets(config)
    watch = DamageWatch(sets, config.on_bad_record)
    return TrainLoader(config, sets, SHARES, watch, rank, world_size)


def evaluation_loader(
    sets: list[RecordSet], rank: int = 0, world_size: int = 1
) -> EvaluationLoader:
    return EvaluationLoader(sets, 16, 9, DamageWatch(sets, "stop"), rank, world_size)


def read(
    config: Config, intervals: list[Interval], rank: int = 0, world_size: int = 1
) -> list[tuple[np.ndarray, ...]]:
    loader = make_loader(config, rank, world_size)
    return [batch for _, batches in loader.batches(intervals) for batch in batches]


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


def test_an_interval_may_be_longer_than_a_pass(config: Config) -> None:
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


def test_augmentations_differ_between_ranks_seeds_and_intervals(
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
    changed = make_config(PLAIN, datasets={**small_config["datasets"], "roofs": own})
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
    fields = [
        np.concatenate([b[0] for b in read(c, [Interval(0, 4, 28)])]) for c in (config, changed)
    ]
    np.testing.assert_array_equal(*fields)


def test_only_the_shards_that_hold_the_records_are_opened(sets: list[RecordSet]) -> None:
    manifest = sets[0].manifest
    [shard, _] = manifest.splits["train"].shards
    shards = tuple(
        dataclasses.replace(shard, file=f"shard{i}", records=n) for i, n in enumerate((3, 5, 4))
    )
    split = dataclasses.replace(manifest.splits["train"], records=12, shards=shards)
    manifest = dataclasses.replace(manifest, splits={"train": split})
    record_set = RecordSet("uneven", Path("records"), manifest)
    for records, used, positions, total in (
        ([9, 3, 8, 11, 7], [1, 2], [6, 0, 5, 8, 4], 9),
        ([10, 1, 2], [0, 2], [5, 1, 2], 7),
        ([0, 3, 8], [0, 1, 2], [0, 3, 8], 12),
    ):
        found = needed_shards(record_set, "train", np.array(records))
        assert found[0] == [f"records/shard{i}" for i in used]
        assert found[1].tolist() == positions and found[2] == total


def test_mixing_is_drawn_anew_for_every_step_and_data_set(
    make_config: Callable[..., Config],
) -> None:
    batches = read(make_config({"mixup": 1.0}), [Interval(0, 3, 16)])
    shares = [share for batch in batches for share in batch[9:]]
    assert [len(s) for s in shares] == [4, 8, 4] * 3
    first_values = {float(share[0]) for share in shares}
    assert len(first_values) == 9


def test_images_kept_in_memory_are_those_of_the_records(
    make_config: Callable[..., Config],
) -> None:
    stored, kept = (
        read(make_config(PLAIN, cache=cache), [Interval(0, 11, 16)]) for cache in ("none", "ram")
    )
    for one, other in zip(stored, kept, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


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
        loader = make_loader(make_config(PLAIN, cache="ram", cache_budget=budget))
        assert set(loader.cached) == kept
        held = {
            name: sum(image.nbytes for image, *_ in rows) for name, rows in loader.cached.items()
        }
        assert held == {name: sizes[name] for name in kept}
        for name in set(sizes) - kept:
            assert name in loader.describe_cache().split(";")[1]


def test_evaluation_pads_and_loses_nothing(sets: list[RecordSet]) -> None:
    for world_size in (1, 2, 3):
        labels: list[list[int]] = [[], [], []]
        for rank in range(world_size):
            for batch in evaluation_loader(sets, rank, world_size).batches("test"):
                shapes = {x.shape for x in batch[:3]}
                assert sum(s[0] for s in shapes) <= 10
                for d in range(3):
                    labels[d] += [int(v) for v in batch[3 + d] if v >= 0]
        for d, record_set in enumerate(sets):
            expected = record_set.manifest.splits["test"].per_class
            assert np.bincount(labels[d]).tolist() == list(expected)


def test_evaluation_batches_all_have_one_shape(sets: list[RecordSet]) -> None:
    loader = evaluation_loader(sets)
    shapes = {tuple(x.shape for x in b) for split in ("val", "test") for b in loader.batches(split)}
    assert len(shapes) == 1


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
