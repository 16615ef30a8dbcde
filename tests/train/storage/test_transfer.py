"""Files of known digest are what their manifest says, and downloads go on where they broke off."""

import os
from pathlib import Path

import pytest

from tests.object_store import ObjectStore, Proxy, Seen
from tests.train.storage.stored_sets import data_set, files_in, put, sha256
from train.files import sha256_file
from train.storage.copier import Copier, copy
from train.storage.digests import Expected, Verified, expected_files
from train.storage.retry import Damaged
from train.storage.stores import Folder, open_store


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.storage.retry._FIRST_PAUSE", 0.01)


def ranges(proxy: Proxy, name: str) -> list[str | None]:
    return [
        request.headers.get("Range")
        for request in proxy.seen
        if request.method == "GET" and request.url.split("?")[0].endswith(f"/{name}")
    ]


def test_what_is_spoilt_on_the_way_is_fetched_again(
    object_store: ObjectStore, proxy: Proxy, through: dict[str, str], tmp_path: Path
) -> None:
    files = data_set(1)
    url = put(object_store, "x", files)
    proxy.faults.extend([None, None, *["spoilt"] * 4])
    assert copy(url, str(tmp_path / "back"), through).files == len(files)
    assert proxy.done == ["spoilt"] * 4
    assert files_in(tmp_path / "back") == files


def test_what_is_damaged_in_the_store_is_refused(
    object_store: ObjectStore, through: dict[str, str], tmp_path: Path
) -> None:
    files = data_set(1)
    url = put(object_store, "x", files)
    object_store.put("x/train.mindrecord1", files["train.mindrecord0"])  # of the same size
    copier = Copier(open_store(url, through), Folder(tmp_path / "back"), tries=2)
    with pytest.raises(Damaged, match=r"train.mindrecord1 from s3://.*SHA-256 is not .* \(2 tries"):
        copier.run(copier.plan())
    left = files_in(tmp_path / "back")
    assert not left.keys() & {"train.mindrecord1", "manifest.json"}
    assert not [name for name in left if name.startswith(".")]


def test_the_digest_decides_what_is_a_copy(
    object_store: ObjectStore, through: dict[str, str], tmp_path: Path
) -> None:
    files = data_set(1)
    url, back = put(object_store, "x", files), tmp_path / "back"
    copy(url, str(back), through)
    shard = back / "train.mindrecord0"
    os.utime(back / "train.mindrecord1", (0, 0))  # older, but right
    shard.write_bytes(files["train.mindrecord1"])  # newer and as large, but wrong
    assert copy(url, str(back), through).files == 1
    assert files_in(back) == files


def test_a_download_goes_on_where_it_broke_off(
    object_store: ObjectStore, proxy: Proxy, through: dict[str, str], tmp_path: Path
) -> None:
    files = {"big": bytes(range(256)) * 4000}
    url = put(object_store, "x", files)
    proxy.faults.extend([None, "short", "truncate"])
    copy(url, str(tmp_path / "back"), through)
    assert files_in(tmp_path / "back") == files
    first, second, *_ = asked = ranges(proxy, "big")
    assert first is None and second == "bytes=512000-" and len(asked) == 3
    tags = [r.headers.get("If-Match") for r in proxy.seen if r.headers.get("Range")]
    assert len(tags) == 2 and all(tags)


@pytest.mark.parametrize("how", ["changed", "no ranges"])
def test_no_mixture_of_two_files(
    how: str, object_store: ObjectStore, proxy: Proxy, through: dict[str, str], tmp_path: Path
) -> None:
    """The file changes between the first half and the second, or the server ignores ranges."""
    old, new = b"o" * 100_000, b"n" * 100_000
    url = put(object_store, "x", {"big": old})
    proxy.no_ranges = how == "no ranges"

    def change(request: Seen) -> None:
        if "Range" in request.headers and how == "changed":
            object_store.put("x/big", new)

    proxy.before = change
    proxy.faults.extend([None, "short"])
    copy(url, str(tmp_path / "back"), through)
    assert files_in(tmp_path / "back") == {"big": new if how == "changed" else old}
    asked = ranges(proxy, "big")
    assert asked[1] == "bytes=50000-"
    assert len(asked) == (2 if how == "no ranges" else 3)


def test_what_was_found_right_is_not_read_again_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def note(path: Path) -> str:
        read.append(path)
        return sha256_file(path)

    monkeypatch.setattr("train.storage.digests.sha256_file", note)
    file, record = tmp_path / "file", tmp_path / "record.json"
    file.write_bytes(b"right")

    def is_right() -> bool:
        verified = Verified(record)
        result = verified.matches(file, sha256(b"right"))
        verified.save()
        return result

    assert is_right() and is_right() and len(read) == 1
    file.write_bytes(b"wrong")
    assert not is_right()
    file.write_bytes(b"right")
    assert is_right()
    before = len(read)
    record.write_text("{half a rec")  # so it is read again
    assert is_right() and len(read) == before + 1
    other = tmp_path / "other"
    other.write_bytes(b"wrong")
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)  # as large and as old, but another file
    assert not is_right()


def test_a_manifest_covers_every_file_of_a_data_set() -> None:
    files = data_set(1)
    content = files.pop("manifest.json")
    expected = {f"a/{name}": Expected(sha256(c), len(c)) for name, c in files.items()}
    assert len(expected) == 5 and expected_files("a/manifest.json", content) == expected


def test_what_lists_no_files() -> None:
    for content in (b"", b"{}", b"[1]", b'{"files": 3}', b'{"splits": {"train": 1}}', b"\xff"):
        for name in ("manifest.json", "a/state.json"):
            assert expected_files(name, content) == {}
    known = expected_files("a/b/state.json", b'{"files": {"model.safetensors": "00"}}')
    assert list(known) == ["a/b/model.safetensors"]
