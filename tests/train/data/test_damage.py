"""Damaged and vanished records: found, named, replaced or refused."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.train.data.spoil import contents, spoil_record
from train.config.reader import load_config
from train.config.schedule import Interval
from train.config.schema import Config
from train.data.damage import DamageWatch
from train.data.evaluation_loader import EvaluationLoader
from train.data.inspection import damaged_records
from train.data.loader import TrainLoader
from train.data.part import TrainPart
from train.data.pipeline import stored_records
from train.data.record_set import RecordSet, open_record_sets
from train.data.records import MANIFEST
from train.data.salvage import read_around
from train.data.sampler import TrainStream
from train.data.transforms import evaluation_transforms
from train.distributed.collectives import Counts, OneProcess
from train.errors import UserError
from train.files import sha256_file

SHARES = {"coast": 4}
# All in the first shard of their split.
BAD_TRAIN, BAD_TEST = (4, 5, 11), (2, 6)


@pytest.fixture
def records(small_sets: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a data set with 24 train and 14 test records in two shards each, to spoil."""
    return Path(shutil.copytree(small_sets["coast"], tmp_path / "coast"))


@dataclass(frozen=True)
class Spoiled:
    """A data set of which single records are damaged, for tests that leave it so."""

    config: Config
    images: np.ndarray
    names: dict[int, tuple[str, str]]


@pytest.fixture(scope="module")
def spoiled(
    small_tree: dict[str, Any],
    small_sets: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Spoiled:
    folder = tmp_path_factory.mktemp("spoiled")
    shutil.copytree(small_sets["coast"], folder / "coast")
    config = make_config(small_tree, folder / "coast", folder)
    record_set, _ = open_one(config)
    images = train_images(record_set)
    for number in BAD_TEST:
        spoil_record(record_set, "test", number)
    names = {number: spoil_record(record_set, "train", number) for number in BAD_TRAIN}
    return Spoiled(config, images, names)


@pytest.fixture
def config(small_tree: dict[str, Any], records: Path, tmp_path: Path) -> Config:
    return make_config(small_tree, records, tmp_path)


def make_config(tree: dict[str, Any], records: Path, folder: Path) -> Config:
    plain = {"crop_area": None, "flips": False, "quarter_turns": False, "brightness": 0}
    tree = {
        **tree,
        "datasets": {"coast": {"records": str(records)}},
        "augment": {**plain, "contrast": 0},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    return load_config(folder / "job.yaml")


def open_one(config: Config) -> tuple[RecordSet, DamageWatch]:
    [record_set] = open_record_sets(config)
    return record_set, DamageWatch([record_set], config.on_bad_record)


def train_images(record_set: RecordSet) -> np.ndarray:
    """What the network sees of every training record, all of them different."""
    pipeline = stored_records(record_set, "train", np.arange(24))
    pipeline = pipeline.map(evaluation_transforms(16), "image")
    rows = pipeline.create_tuple_iterator(num_epochs=1, output_numpy=True)
    return np.stack([image for image, _ in rows])


def test_records_are_found_by_their_checksum_and_named(spoiled: Spoiled) -> None:
    record_set, watch = open_one(spoiled.config)
    assert list(damaged_records(record_set, "val")) == []
    damages = list(damaged_records(record_set, "train"))
    assert {d.record: (d.key, d.shard) for d in damages} == spoiled.names
    with pytest.raises(UserError) as caught:
        watch.check_all()
    key, shard = spoiled.names[BAD_TRAIN[0]]
    for part in (
        f"record {BAD_TRAIN[0]} of train ({key}) in {shard}: its checksum differs",
        "and 2 more",
        "on_bad_record=skip",
    ):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def garble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8:4096] = b"\x5a" * 4088
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("harm", [truncate, garble, Path.unlink], ids=["cut", "header", "gone"])
@pytest.mark.parametrize("suffix", ["", ".db"], ids=["shard", "index"])
def test_a_shard_that_cannot_be_read_takes_all_its_records(
    config: Config, harm: Callable[[Path], None], suffix: str
) -> None:
    record_set, _ = open_one(config)
    [(first, of_first), _] = record_set.shards("train")
    path = record_set.folder / f"{first.file}{suffix}"
    harm(path)
    damages = list(damaged_records(record_set, "train"))
    assert [d.record for d in damages] == list(of_first)
    assert {d.shard for d in damages} == {first.file}
    assert all(path.name in d.reason for d in damages)


def test_reading_around_finds_the_few_that_fail() -> None:
    read: set[int] = set()

    def reader(numbers: Any) -> None:
        if set(numbers) & {3, 77, 500}:
            raise RuntimeError("cannot")
        read.update(numbers)

    read_around(range(1000), reader)
    assert set(range(1000)) - read == {3, 77, 500}


def test_skipped_records_are_replaced_by_the_next_whole_one(spoiled: Spoiled) -> None:
    config = spoiled.config.model_copy(update={"on_bad_record": "skip"})
    record_set, watch = open_one(config)
    watch.check_all()
    loader = TrainLoader(config, [record_set], SHARES, watch, 0, 1)
    planned = loader.streams[0].records(0, 12)
    found = [batch for _, batches in loader.batches([Interval(0, 12, 16)]) for batch in batches]
    expected = planned.copy()
    for number, stand_in in ((4, 6), (5, 6), (11, 12)):
        expected[planned == number] = stand_in
    np.testing.assert_array_equal(np.stack([b[0] for b in found]), spoiled.images[expected])
    assert watch.replaced == np.isin(planned, BAD_TRAIN).sum() > 0
    assert not watch.must_stop
    summary = watch.summary(OneProcess())
    assert summary["found"] == 5 and summary["images_replaced"] == watch.replaced
    assert len(summary["records"]) == 5


def read_like_a_run(
    config: Config, intervals: list[Interval], harm: Callable[[RecordSet], object]
) -> tuple[list[tuple[np.ndarray, ...]], DamageWatch]:
    """Reads all batches, does harm after the first, ends a consolidation point if need be."""
    record_set, watch = open_one(config)
    loader = TrainLoader(config, [record_set], SHARES, watch, 0, 1)
    batches = []
    for _, part in loader.batches(intervals):
        for batch in part:
            batches.append(batch)
            if len(batches) == 1:
                harm(record_set)
        if watch.must_stop:
            break
    return batches, watch


INTERVALS = [Interval(i, i + 3, 16) for i in range(0, 15, 3)]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_a_shard_that_vanishes_in_the_run(config: Config, policy: str, number: int) -> None:
    """Its records are replaced by those of the other one, or the run ends."""
    record_set, _ = open_one(config)
    images = train_images(record_set)
    shard = f"train.mindrecord{number}"
    [whole] = [numbers for s, numbers in record_set.shards("train") if s.file != shard]

    def harm(record_set: RecordSet) -> None:
        (record_set.folder / shard).unlink()

    config = config.model_copy(update={"on_bad_record": policy})
    batches, watch = read_like_a_run(config, INTERVALS, harm)
    assert {b[0].shape for b in batches} == {(4, 16, 16, 3)}
    assert {d.shard for d in watch.damages} == {shard}
    assert "No such file" in watch.message("")
    # Two intervals were open already when it happened.
    assert len(batches) == (15 if policy == "skip" else 6)
    assert (watch.replaced > 0) == (policy == "skip")
    planned = TrainStream("coast", 24, 4, config.seed).records(0, len(batches))
    used = np.where(np.isin(planned, whole), planned, 12 if number == 0 else 0)
    used[:6] = planned[:6]
    np.testing.assert_array_equal(np.stack([b[0] for b in batches]), images[used])


def test_a_data_set_that_vanishes_in_the_run_ends_it_even_if_records_may_be_skipped(
    config: Config,
) -> None:
    def harm(record_set: RecordSet) -> None:
        for shard, _ in record_set.shards("train"):
            (record_set.folder / shard.file).unlink()

    config = config.model_copy(update={"on_bad_record": "skip"})
    batches, watch = read_like_a_run(config, INTERVALS, harm)
    assert len(batches) == 6 and watch.must_stop
    assert "on_bad_record=skip" not in watch.message("")


def test_in_the_middle_of_an_interval_the_last_images_are_repeated(config: Config) -> None:
    record_set, watch = open_one(config)
    batch = np.arange(4)

    def start(records: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        yield batch, batch
        yield batch + 1, batch
        for shard, _ in record_set.shards("train"):
            (record_set.folder / shard.file).unlink()
        raise RuntimeError("cannot read")

    part = TrainPart(record_set, np.arange(20).reshape(5, 4), start, watch)
    np.testing.assert_array_equal([b[0] for b in part], [batch, *4 * [batch + 1]])
    assert watch.must_stop and watch.replaced == 3 * 4


def test_what_cannot_be_explained_is_an_error(config: Config) -> None:
    record_set, watch = open_one(config)
    calls = []

    def start(records: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        calls.append(len(records))
        if len(calls) == 1:
            raise RuntimeError("pages of text\n[ERROR] out of memory\nmore")
        yield from ((records, records) for _ in records)

    with pytest.raises(UserError, match=r"although all its shards .* are whole: \[ERROR\] out of"):
        TrainPart(record_set, np.arange(8).reshape(2, 4), Starter(start), watch)


class Starter:
    """Calls a generator function, and lets its first item be made at once."""

    def __init__(self, function: Callable[..., Iterator[Any]]) -> None:
        self.function = function

    def __call__(self, records: np.ndarray) -> Iterator[Any]:
        rows = self.function(records)
        first = next(rows)
        return iter([first, *rows])


def test_nothing_left_from_the_start_is_an_error(config: Config) -> None:
    record_set, watch = open_one(config)
    loader = TrainLoader(config, [record_set], SHARES, watch, 0, 1)
    for shard, _ in record_set.shards("train"):
        (record_set.folder / shard.file).unlink()
    with pytest.raises(UserError, match="nothing of coast can be used"):
        [next(part) for _, part in loader.batches([Interval(0, 2, 16)])]


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_an_image_that_cannot_be_decoded_although_its_shard_is_whole(
    config: Config, cache: str
) -> None:
    record_set, _ = open_one(config)
    _, shard = spoil_record(record_set, "train", 7)
    path = record_set.folder / MANIFEST
    manifest = json.loads(path.read_text())
    for entry in manifest["splits"]["train"]["shards"]:
        entry["sha256"] = sha256_file(record_set.folder / entry["file"])
    path.write_text(json.dumps(manifest))
    config = config.model_copy(update={"cache": cache, "on_bad_record": "skip"})
    batches, watch = read_like_a_run(config, [Interval(0, 12, 16)], lambda _: None)
    assert len(batches) == 12
    [damage] = watch.damages
    assert (damage.record, damage.shard, damage.reason) == (7, shard, "its image cannot be decoded")


def test_evaluation_sees_every_whole_record_once(spoiled: Spoiled) -> None:
    """Also where nobody has looked for damage before."""
    record_set, watch = open_one(spoiled.config)
    labels = np.array([int(x) for x in contents(record_set, "test", "label")])
    found = []
    for rank in range(2):
        loader = EvaluationLoader([record_set], 16, 4, watch, rank, 2)
        found += [label for batch in loader.batches("test") for label in batch[1] if label >= 0]
    assert sorted(found) == sorted(np.delete(labels, BAD_TEST))
    assert watch.must_stop


def test_what_one_rank_finds_all_ranks_know(spoiled: Spoiled) -> None:
    record_set, watch = open_one(spoiled.config)
    with pytest.raises(UserError):
        watch.check_all()
    other = DamageWatch([record_set], "stop")
    sent: list[Counts] = []

    class Recording(OneProcess):
        def sum_counts(self, counts: Counts) -> Counts:
            sent.append(counts)
            return counts

    class Adding(OneProcess):
        def sum_counts(self, counts: Counts) -> Counts:
            total: Counts = counts + sent.pop(0)
            return total

    watch.share(Recording())
    # A number per shard, then one per record of those that are damaged.
    shards = [shard for split in ("train", "val", "test") for shard in record_set.shards(split)]
    assert [len(counts) for counts in sent] == [
        len(shards),
        sum(shard.records for (shard, _), n in zip(shards, sent[0], strict=True) if n),
    ]
    other.share(Adding())
    assert [(d.record, d.shard) for d in other.damages] == [
        (d.record, d.shard) for d in watch.damages
    ]
    assert other.must_stop and other.unshared == watch.unshared == 0


def test_a_shard_that_is_gone_when_the_images_are_to_be_kept_in_memory(config: Config) -> None:
    config = config.model_copy(update={"cache": "ram", "on_bad_record": "skip"})
    record_set, watch = open_one(config)
    images = train_images(record_set)
    (record_set.folder / "train.mindrecord0").unlink()
    loader = TrainLoader(config, [record_set], SHARES, watch, 0, 1)
    planned = loader.streams[0].records(0, 6)
    found = [batch for _, batches in loader.batches([Interval(0, 6, 16)]) for batch in batches]
    expected = np.where(planned < 12, 12, planned)
    np.testing.assert_array_equal(np.stack([b[0] for b in found]), images[expected])
