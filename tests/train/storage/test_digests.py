"""Digests that are remembered: of which file, and until when."""

from pathlib import Path

import pytest

from tests.train.storage.stored_sets import sha256
from train.files import sha256_file
from train.storage import digests
from train.storage.digests import MANIFEST, STATE, Verified, expected_files


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "shard"
    path.write_bytes(b"one")
    return path


def test_a_file_is_read_again_only_once_it_has_changed(
    shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = Verified(tmp_path / "record")
    assert verified.matches(shard, sha256(b"one")) and not verified.matches(shard, sha256(b"two"))
    verified.save()
    again = Verified(tmp_path / "record")
    with monkeypatch.context() as patch:
        patch.setattr(digests, "sha256_file", lambda path: pytest.fail("was read"))
        assert again.matches(shard, sha256(b"one"))
    shard.write_bytes(b"more")
    assert again.matches(shard, sha256(b"more")) and not again.matches(shard, sha256(b"one"))
    shard.unlink()
    assert not again.matches(shard, sha256(b"more"))


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would count with the stamp of before and a digest of who knows what."""

    def read(path: Path) -> str:
        digest = sha256_file(path)
        path.write_bytes(b"other")
        return digest

    verified = Verified()
    with monkeypatch.context() as patch:
        patch.setattr(digests, "sha256_file", read)
        assert not verified.matches(shard, sha256(b"one"))
    assert verified.matches(shard, sha256(b"other"))


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "null", '{"shard": 7}'])
def test_a_damaged_record_is_none(shard: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "record").write_text(text.replace("shard", str(shard)))
    assert Verified(tmp_path / "record").matches(shard, sha256(b"one"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (STATE, "{"),
        (STATE, "[1]"),
        (STATE, '{"files": ["a"]}'),
        (MANIFEST, '{"splits": []}'),
        (MANIFEST, '{"splits": {"train": {"shards": [7]}}}'),
        (MANIFEST, '{"splits": {"train": {"shards": [{"file": "a"}]}}}'),
    ],
)
def test_a_file_of_others_under_the_name_of_ours_lists_nothing(name: str, text: str) -> None:
    """It is copied as any other, and ends nothing."""
    assert expected_files(f"folder/{name}", text.encode()) == {}
