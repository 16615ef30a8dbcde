from pathlib import Path
from typing import Any

import mindspore.dataset as ds
import numpy as np
import pytest
import yaml

from train.config import AugmentConfig, Config
from train.configfile import load_config
from train.data.loader import EvaluationLoader, RecordSet, TrainLoader, open_record_sets
from train.errors import UserError
from train.schedule import Stretch

PLAIN = AugmentConfig(crop_area=None, flips=False, quarter_turns=False, brightness=0, contrast=0)
SHARES = {"fields": 4, "roofs": 8, "coast": 4}


@pytest.fixture
def config(small_config: dict[str, Any], tmp_path: Path) -> Config:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(small_config, sort_keys=False))
    return load_config(path)


@pytest.fixture
def sets(config: Config) -> list[RecordSet]:
    return open_record_sets(config)


def read(
    sets: list[RecordSet],
    stretches: list[Stretch],
    augment: AugmentConfig = PLAIN,
    rank: int = 0,
    world_size: int = 1,
    seed: int = 1,
) -> list[tuple[np.ndarray, ...]]:
    loader = TrainLoader(sets, SHARES, seed, augment, rank, world_size)
    return [batch for _, batches in loader.batches(stretches) for batch in batches]


def test_shapes_and_labels(sets: list[RecordSet]) -> None:
    batches = read(sets, [Stretch(0, 2, 16), Stretch(2, 3, 12)])
    assert [b[0].shape for b in batches] == [(4, 16, 16, 3), (4, 16, 16, 3), (4, 12, 12, 3)]
    for batch in batches:
        assert [x.shape for x in batch[3:]] == [(4,), (8,), (4,)]
        assert all(x.dtype == np.uint8 for x in batch[:3])
        assert all(x.dtype == np.int32 for x in batch[3:])


def test_batches_hold_the_records_of_the_plan(sets: list[RecordSet]) -> None:
    loader = TrainLoader(sets, SHARES, 1, PLAIN, 0, 1)
    batches = read(sets, [Stretch(4, 7, 16)])
    for d, record_set in enumerate(sets):
        paths = record_set.manifest.shard_paths(record_set.folder, "train")
        rows = ds.MindDataset(paths, columns_list=["label"], shuffle=False)
        labels = [int(r[0]) for r in rows.create_tuple_iterator(num_epochs=1, output_numpy=True)]
        planned = loader.streams[d].records(4, 7)
        found = np.stack([b[len(sets) + d] for b in batches])
        np.testing.assert_array_equal(found, np.array(labels)[planned])


def test_a_stretch_may_be_longer_than_a_pass(sets: list[RecordSet]) -> None:
    """coast has 24 training records: 20 steps of 4 are more than three passes."""
    batches = read(sets, [Stretch(0, 20, 12)])
    labels = np.concatenate([b[-1] for b in batches])
    for start in range(0, 72, 24):
        assert np.bincount(labels[start : start + 24]).tolist() == [12, 12]


def test_ranks_together_see_the_batch_of_one(sets: list[RecordSet]) -> None:
    [whole] = read(sets, [Stretch(5, 6, 16)])
    parts = [read(sets, [Stretch(5, 6, 16)], rank=r, world_size=2)[0] for r in range(2)]
    for column in range(6):
        interleaved = np.stack([p[column] for p in parts], axis=1).reshape(whole[column].shape)
        np.testing.assert_array_equal(interleaved, whole[column])


def test_resuming_at_a_consolidation_point_sees_the_same_pixels(sets: list[RecordSet]) -> None:
    stretches = [Stretch(0, 3, 16), Stretch(3, 6, 16), Stretch(6, 8, 16)]
    whole = read(sets, stretches, AugmentConfig())
    resumed = read(sets, stretches[1:], AugmentConfig())
    for one, other in zip(whole[3:], resumed, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_augmentations_differ_between_ranks_seeds_and_stretches(sets: list[RecordSet]) -> None:
    # The last pixels of a data set repeat after 9 steps; another stretch must see them changed.
    [one] = read(sets, [Stretch(0, 1, 16)], AugmentConfig())
    [other_seed] = read(sets, [Stretch(0, 1, 16)], AugmentConfig(), seed=2)
    assert (one[0] != other_seed[0]).any()
    [plain] = read(sets, [Stretch(0, 1, 16)])
    np.testing.assert_array_equal(one[3], plain[3])
    assert (one[0] != plain[0]).any()
    loaders = [TrainLoader(sets, SHARES, 1, AugmentConfig(), r, 2) for r in range(2)]
    seeds = {
        loader._augmentation_seed(stretch, name)
        for loader in loaders
        for stretch in (Stretch(0, 2, 16), Stretch(2, 4, 16))
        for name in SHARES
    }
    assert len(seeds) == 12


def test_evaluation_pads_and_loses_nothing(sets: list[RecordSet]) -> None:
    for world_size in (1, 2, 3):
        labels: list[list[int]] = [[], [], []]
        for rank in range(world_size):
            for batch in EvaluationLoader(sets, 16, 9, rank, world_size).batches("test"):
                shapes = {x.shape for x in batch[:3]}
                assert sum(s[0] for s in shapes) <= 10
                for d in range(3):
                    labels[d] += [int(v) for v in batch[3 + d] if v >= 0]
        for d, record_set in enumerate(sets):
            expected = record_set.manifest.splits["test"].per_class
            assert np.bincount(labels[d]).tolist() == list(expected)


def test_evaluation_batches_all_have_one_shape(sets: list[RecordSet]) -> None:
    loader = EvaluationLoader(sets, 16, 9, 0, 1)
    shapes = {tuple(x.shape for x in b) for split in ("val", "test") for b in loader.batches(split)}
    assert len(shapes) == 1


def test_shares_that_the_ranks_do_not_divide(sets: list[RecordSet]) -> None:
    loaders = [TrainLoader(sets, SHARES, 1, PLAIN, rank, 3) for rank in range(3)]
    batches = [next(next(loader.batches([Stretch(0, 1, 16)]))[1]) for loader in loaders]
    assert [[len(x) for x in batch[3:]] for batch in batches] == [[2, 3, 2], [1, 3, 1], [1, 2, 1]]
    for loader, batch in zip(loaders, batches, strict=True):
        means = [share / 3 for share in SHARES.values()]
        assert loader.weights == pytest.approx(
            [len(x) / m for x, m in zip(batch[3:], means, strict=True)]
        )


def test_share_that_is_too_small_for_the_ranks(sets: list[RecordSet]) -> None:
    with pytest.raises(UserError, match=r"4 image\(s\) of fields, too few for 5 ranks"):
        TrainLoader(sets, SHARES, 1, PLAIN, 0, 5)


def test_class_count_that_disagrees(small_config: dict[str, Any], tmp_path: Path) -> None:
    small_config["tasks"] = {"fields": {"classes": 5}, "roofs": {"classes": 4}, "coast": {}}
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(small_config, sort_keys=False))
    with pytest.raises(UserError, match=r"tasks.fields.classes: 5 classes.*has 3"):
        open_record_sets(load_config(path))
