"""Records in MindRecord shards, as tools.prepare.shards writes them."""

from pathlib import Path

import mindspore.dataset as ds
import pytest

from tools.common.stored_records import Record
from tools.prepare.shards import Layout, write_split
from train.errors import UserError
from train.files import sha256_file


def test_shards_hold_every_record_in_order(tmp_path: Path) -> None:
    records = [Record(bytes([n % 251]) * (n + 1), n % 3, f"k/{n}") for n in range(300)]
    split = write_split(tmp_path, "val", iter(records), 300, Layout(4, 2**20, 2**20), 3)
    assert split.records == 300 and split.per_class == (100, 100, 100)
    paths = [str(tmp_path / shard.file) for shard in split.shards]
    rows = ds.MindDataset(paths, shuffle=False).create_dict_iterator(
        num_epochs=1, output_numpy=True
    )
    found = [Record(row["image"].tobytes(), int(row["label"]), str(row["key"])) for row in rows]
    # In intervals, so that the numbers of records do not depend on the number of shards.
    assert found == records
    for shard in split.shards:
        assert shard.sha256 == sha256_file(tmp_path / shard.file)
        assert shard.index_sha256 == sha256_file(tmp_path / f"{shard.file}.db")
        assert shard.bytes == (tmp_path / shard.file).stat().st_size < 3 * 2**20


def test_record_larger_than_a_page_is_named(tmp_path: Path) -> None:
    records = [Record(b"x" * 40_000, 0, "a/large.png")]
    with pytest.raises(UserError, match=r"a/large\.png: takes 40000 bytes"):
        write_split(tmp_path, "train", records, 1, Layout(1, 32 * 2**10, 2**20), 1)


def test_failed_writing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not be written") as caught:
        write_split(tmp_path / "gone", "train", [Record(b"x", 0, "k")], 1, Layout(), 1)
    assert "\n" not in str(caught.value)
