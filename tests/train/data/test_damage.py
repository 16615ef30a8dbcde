"""What becomes of a run that meets damaged records: whole images to the end of the interval."""

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from mindspore.dataset.vision import Inter

from tests.train.data.spoil import declare_whole, spoil_record, vanish
from train.config.schedule import Interval
from train.config.schema import Config
from train.data.batch import Batch
from train.data.damage import BatchGuard, DamageWatch
from train.data.loader import TrainLoader
from train.data.manifest import RecordSet, open_record_sets
from train.data.pipeline import Columns, stored_records, transformed_batches
from train.data.sampler import TrainStream
from train.data.transforms import evaluation_transforms
from train.errors import UserError

SHARES = {"coast": 4}
MASKS = {"coast": ("mask",)}
# A pass over the 24 records is six steps.
INTERVALS = [Interval(i, i + 3, 16) for i in range(0, 15, 3)]


def whole_records(coast: RecordSet) -> Columns:
    """Images, labels and masks of all training records, as the network sees them."""
    stored = stored_records(coast, "train", np.arange(24), MASKS["coast"])
    operators = evaluation_transforms(16), evaluation_transforms(16, Inter.NEAREST)
    [columns] = transformed_batches(stored, MASKS["coast"], *operators, 24)
    return columns


def read_like_a_run(
    config: Config,
    harm: Callable[[], object],
    rank: int = 0,
    world_size: int = 1,
    intervals: Sequence[Interval] = INTERVALS,
) -> tuple[list[Batch], DamageWatch]:
    """Reads all batches, does harm after the first, ends at a consolidation point if need be."""
    sets = open_record_sets(config)
    watch = DamageWatch(sets)
    loader = TrainLoader(config, sets, SHARES, watch, rank, world_size, MASKS)
    batches = []
    for _, part in loader.batches(intervals):
        for batch in part:
            batches.append(batch)
            if len(batches) == 1:
                harm()
        if watch.damages:
            break
    return batches, watch


def planned(config: Config, steps: int, rank: int = 0, world_size: int = 1) -> np.ndarray:
    return TrainStream("coast", 24, 4, config.seed).records(0, steps, rank, world_size)


def assert_holds(batches: list[Batch], whole: Columns, records: np.ndarray) -> None:
    for column, values in enumerate(whole):
        np.testing.assert_array_equal(np.stack([b[column] for b in batches]), values[records])


def test_all_records_are_checked_before_the_training(coast: RecordSet) -> None:
    key, shard = spoil_record(coast, "train", 4)
    (coast.folder / "test.mindrecord1").unlink()
    watch = DamageWatch([coast])
    with pytest.raises(UserError) as caught:
        watch.check_all()
    gone = "in test.mindrecord1: test.mindrecord1: No such file or directory"
    assert watch.damages == [
        *(f"coast: record {number} of test {gone}" for number in range(7, 14)),
        f"coast: record 4 of train ({key}) in {shard}: its checksum differs",
    ]
    assert str(caught.value) == (
        f"damaged records: {'; '.join(watch.damages[:3])}; and 5 more: nothing was trained "
        f"(see: python -m tools verify {coast.folder}; prepare or copy the data again)"
    )


@pytest.mark.parametrize("number", [0, 1])
def test_a_shard_that_vanishes_in_the_run(
    coast_config: Config, coast: RecordSet, number: int
) -> None:
    whole = whole_records(coast)
    shard = f"train.mindrecord{number}"
    [lost] = [numbers for s, numbers in coast.shards("train") if s.file == shard]
    batches, watch = read_like_a_run(coast_config, (coast.folder / shard).unlink)
    # Two intervals were open already when it happened.
    assert_holds(batches, whole, planned(coast_config, 6))
    assert watch.damages == [
        f"coast: record {n} of train in {shard}: {shard}: No such file or directory" for n in lost
    ]


def test_a_data_set_that_vanishes_in_the_run(coast_config: Config, coast: RecordSet) -> None:
    whole = whole_records(coast)
    batches, watch = read_like_a_run(coast_config, lambda: vanish(coast, "train"))
    assert_holds(batches, whole, planned(coast_config, 6))
    assert len(watch.damages) == 24


@pytest.mark.parametrize(
    ("met_by", "shard_is_whole"), [(0, True), (1, False)], ids=["rank 0", "rank 1"]
)
def test_a_record_that_one_of_two_ranks_meets_in_a_later_stretch(
    coast_config: Config, coast: RecordSet, met_by: int, shard_is_whole: bool
) -> None:
    """It repeats its last batch, with masks; the other rank goes on and knows nothing."""
    whole = whole_records(coast)
    due = planned(coast_config, 6, met_by, 2)
    bad = int(due[4, 1])
    key, shard = spoil_record(coast, "train", bad)
    if shard_is_whole:
        declare_whole(coast)
    batches, watch = read_like_a_run(coast_config, lambda: None, met_by, 2)
    assert len(batches) == 6
    # MindSpore may give up before it has handed out what it had read already.
    steps = next(n for n in range(3, 5) if (batches[n][0] == batches[n - 1][0]).all())
    assert_holds(batches[:steps], whole, due[:steps])
    assert_holds(batches[steps:], whole, np.repeat(due[steps - 1 : steps], 6 - steps, axis=0))
    assert watch.damages == [
        f"coast: record {bad} of train in {shard}: its image cannot be decoded"
        if shard_is_whole
        else f"coast: record {bad} of train ({key}) in {shard}: its checksum differs"
    ]

    # In this pass the other rank does not come to it.
    batches, watch = read_like_a_run(coast_config, lambda: None, 1 - met_by, 2, INTERVALS[:2])
    assert_holds(batches, whole, planned(coast_config, 6, 1 - met_by, 2))
    assert watch.damages == []


@pytest.mark.parametrize("cache", ["none", "ram"])
@pytest.mark.parametrize("column", ["image", "mask_mask", None], ids=str)
def test_damage_in_the_first_batch_is_an_error_at_once(
    coast_config: Config, coast: RecordSet, cache: str, column: str | None
) -> None:
    if column is None:
        vanish(coast, "train")
    else:
        spoil_record(coast, "train", 7, column)
        coast = declare_whole(coast)
    step = int(np.argwhere(planned(coast_config, 6) == 7)[0, 0])
    config = coast_config.model_copy(update={"cache": cache})
    with pytest.raises(UserError, match=r"coast: record \d+ of train.*: nothing was trained"):
        loader = TrainLoader(config, [coast], SHARES, DamageWatch([coast]), 0, 1, MASKS)
        assert cache == "none"  # with the other, all images are decoded now
        [next(part) for _, part in loader.batches([Interval(step, step + 1, 16)])]


def numbered(first: int, steps: int, size: int) -> Iterator[Columns]:
    """Batches of two images and masks, all of whose pixels are their position, then an error."""
    for step in range(first, first + steps):
        position = np.arange(size) + np.arange(size)[:, None] * 100
        image = np.broadcast_to(position[..., None] + step, (2, size, size, 3))
        yield image, np.array([step, step], np.int32), image[..., 0]
    raise RuntimeError("cannot read")


def test_in_the_middle_of_a_stretch_the_last_images_are_repeated(coast: RecordSet) -> None:
    watch = DamageWatch([coast])
    guard = BatchGuard(coast, watch)
    vanish(coast, "train")
    batches = list(guard.batches(np.arange(10).reshape(5, 2), 8, lambda: numbered(0, 2, 8)))
    assert [b[1].tolist() for b in batches] == [[0, 0], [1, 1], [1, 1], [1, 1], [1, 1]]
    assert len(watch.damages) == 24


@pytest.mark.parametrize("size", [4, 12])
def test_the_last_images_may_be_of_another_size(coast: RecordSet, size: int) -> None:
    guard = BatchGuard(coast, DamageWatch([coast]))
    [whole] = guard.batches(np.zeros((1, 2), int), 8, lambda: numbered(5, 1, 8))
    vanish(coast, "train")
    [again] = guard.batches(np.zeros((1, 2), int), size, lambda: numbered(6, 0, size))
    assert [a.shape for a in again] == [(2, size, size, 3), (2,), (2, size, size)]
    np.testing.assert_array_equal(again[0][..., 0], again[2])
    every = np.arange(size) * 8 // size
    np.testing.assert_array_equal(again[2][1], whole[2][1][np.ix_(every, every)])
    assert again[1].tolist() == [5, 5]


def test_a_pipeline_that_ends_too_early_is_looked_into(coast: RecordSet) -> None:
    guard = BatchGuard(coast, DamageWatch([coast]))
    batches = guard.batches(np.arange(8).reshape(2, 4), 8, lambda: iter(()))
    with pytest.raises(UserError, match=r"although all its shards in .* are whole: StopIteration"):
        list(batches)


def test_what_cannot_be_explained_is_an_error(coast: RecordSet) -> None:
    def start() -> Iterator[Columns]:
        raise RuntimeError("pages of text\n[ERROR] out of memory\nmore")

    guard = BatchGuard(coast, DamageWatch([coast]))
    with pytest.raises(UserError, match=r"although all its shards .* are whole: \[ERROR\] out of"):
        guard.batches(np.arange(8).reshape(2, 4), 8, start)


def test_damage_elsewhere_explains_nothing(coast: RecordSet) -> None:
    """A record that was not about to be read is not why others could not be."""
    (coast.folder / "train.mindrecord1").unlink()
    watch = DamageWatch([coast])
    with pytest.raises(UserError, match="are whole: cannot"):
        watch.diagnose(coast, "train", np.array([1, 2]), RuntimeError("cannot"))
    assert watch.diagnose(coast, "train", np.array([[15, 2]]), RuntimeError("cannot")) == [15]


def test_the_rank_that_knows_the_records_speaks_first(
    coast: RecordSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    watch = DamageWatch([coast])
    with pytest.raises(UserError, match=r"another rank has met.*: stopped, saved at step 6$"):
        watch.stop(6, saved=True)
    assert waited and min(waited) > 5  # longer than rank 0 goes first under mpirun
    waited.clear()
    vanish(coast, "val")
    watch.diagnose(coast, "val", np.arange(6), RuntimeError())
    with pytest.raises(UserError, match=r"coast: record 0 of val.*: stopped, saved at step 6 \("):
        watch.stop(6, saved=True)
    assert not waited
