"""Copies from and to a real S3 server over HTTP, also through a proxy that does harm."""

import os
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.object_store import (
    SECRET,
    TOKEN,
    ObjectStore,
    Proxy,
    headers_that_obs_takes,
    moto_server,
)
from tests.train.storage.stored_sets import files_in
from train.errors import UserError
from train.storage.copier import Copied, Copier, Plan, copy
from train.storage.digests import Expected
from train.storage.retry import Stopped, StorageError
from train.storage.stores import File, Folder, open_store

OBS = "https://obs.cn-north-4.myhuaweicloud.com"


def content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, bytes]:
    """A folder "tree" with names and sizes of all kinds."""
    files = {
        "manifest.json": b"{}",
        "empty": b"",
        "train.mindrecord0": content(1, 300_000),
        "with space/ü 日本 +%41&#.bin": content(2, 1000),
        "deep/er/state.json": b"[1, 2]",
    }
    for name, value in files.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value)
    return files


def test_there_and_back(tree: dict[str, bytes], tmp_path: Path, object_store: ObjectStore) -> None:
    url, variables = object_store.url("a key/of ours"), object_store.variables
    (tmp_path / "tree" / ".half").write_text("not whole")
    sent = copy(str(tmp_path / "tree"), url, variables)
    assert sent == Copied(files=5, bytes=sum(map(len, tree.values())))
    assert object_store.keys() == sorted(f"a key/of ours/{name}" for name in tree)
    for name, value in tree.items():
        assert object_store.get(f"a key/of ours/{name}") == value

    object_store.put("a key/of ours/folder/", b"")  # as consoles make empty folders
    object_store.put("a key/of ours-not/x", b"x")  # begins alike, but is no part of it
    fetched = copy(f"{url}/", str(tmp_path / "back"), variables)
    assert fetched.files == 5
    assert files_in(tmp_path / "back") == tree


@pytest.mark.slow
def test_one_file(tree: dict[str, bytes], tmp_path: Path, object_store: ObjectStore) -> None:
    variables = object_store.variables
    copy(str(tmp_path / "tree/manifest.json"), object_store.url("x"), variables)
    assert object_store.keys() == ["x/manifest.json"]
    copy(object_store.url("x/manifest.json"), str(tmp_path / "one"), variables)
    assert files_in(tmp_path / "one") == {"manifest.json": b"{}"}


@pytest.mark.slow
def test_only_what_changed_is_copied_again(
    tree: dict[str, bytes], tmp_path: Path, object_store: ObjectStore
) -> None:
    url, variables, back = object_store.url("x"), object_store.variables, str(tmp_path / "back")
    source = tmp_path / "tree"
    copy(str(source), url, variables)
    copy(url, back, variables)
    assert copy(str(source), url, variables) == Copied(unchanged=5)
    assert copy(url, back, variables) == Copied(unchanged=5)
    for name, file in open_store(url, variables).files().items():  # by the store's own clock
        assert (tmp_path / "back" / name).stat().st_mtime == file.modified

    # Another size tells, whatever the times say.
    (source / "empty").write_bytes(b"no more")
    os.utime(source / "empty", (1, 1))
    assert copy(str(source), url, variables).files == 1
    later = time.time() + 3600
    os.utime(tmp_path / "back/empty", (later, later))
    assert copy(url, back, variables).files == 1
    # The same size, but newer than the store's own.
    (source / "manifest.json").write_bytes(b"[]")
    later = (source / "manifest.json").stat().st_mtime + 3600
    os.utime(source / "manifest.json", (later, later))
    assert copy(str(source), url, variables).files == 1
    # Where the store's file is newer than the copy, which has the time of the old one.
    os.utime(tmp_path / "back/manifest.json", (0, 0))
    assert copy(url, back, variables).files == 1
    assert files_in(tmp_path / "back")["manifest.json"] == b"[]"


def test_on_the_disk(tree: dict[str, bytes], tmp_path: Path) -> None:
    assert copy(str(tmp_path / "tree"), str(tmp_path / "other"), {}).files == 5
    assert files_in(tmp_path / "other") == tree
    assert copy(str(tmp_path / "tree"), str(tmp_path / "other"), {}).unchanged == 5


def test_what_declares_others_complete_comes_last(
    tree: dict[str, bytes], tmp_path: Path, through: dict[str, str], proxy: Proxy,
    object_store: ObjectStore,
) -> None:  # fmt: skip
    copy(str(tmp_path / "tree"), object_store.url("x"), through)
    sent = [r.url.rsplit("/", 1)[-1] for r in proxy.seen if r.method == "PUT"]
    assert sorted(sent[-2:]) == ["manifest.json", "state.json"]
    proxy.seen.clear()
    copy(object_store.url("x"), str(tmp_path / "back"), through)
    fetched = [r.url.rsplit("/", 1)[-1] for r in proxy.seen if r.method == "GET"]
    assert sorted(fetched[-2:]) == ["manifest.json", "state.json"]


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["in", "out"])
def test_faults_are_outlasted(
    direction: str, tree: dict[str, bytes], tmp_path: Path,
    through: dict[str, str], proxy: Proxy, object_store: ObjectStore,
) -> None:  # fmt: skip
    """Whatever and wherever it is: listing, body, or the look at what has arrived."""
    source, target = str(tmp_path / "tree"), object_store.url("x")
    if direction == "in":
        copy(source, target, object_store.variables)
        source, target = target, str(tmp_path / "back")
    proxy.faults.extend([503, None, 500, "reset", "truncate", None, "truncate", 503, "reset"])
    proxy.faults.extend(["short"] * 3 * (direction == "in"))
    assert copy(source, target, through).files == 5
    assert not proxy.faults
    if direction == "in":
        assert files_in(tmp_path / "back") == tree
    else:
        assert {name: object_store.get(f"x/{name}") for name in tree} == tree


@pytest.mark.slow
def test_what_cannot_be_had_leaves_nothing_half(
    tree: dict[str, bytes], tmp_path: Path, through: dict[str, str], proxy: Proxy,
    object_store: ObjectStore,
) -> None:  # fmt: skip
    object_store.put("x/big", content(3, 200_000))
    proxy.faults.extend([None, *["truncate"] * 20])
    copier = Copier(open_store(object_store.url("x"), through), Folder(tmp_path / "back"), tries=3)
    with pytest.raises(StorageError, match=r"big from s3://.*/x: .* \(3 tries\)") as caught:
        copier.run(copier.plan())
    assert "\n" not in str(caught.value)
    assert len(proxy.faults) == 17
    assert files_in(tmp_path / "back") == {}


@pytest.mark.parametrize("known", [True, False])
def test_half_a_file_stays_only_where_a_digest_will_tell(
    known: bool, tmp_path: Path, through: dict[str, str], proxy: Proxy, object_store: ObjectStore
) -> None:
    """Nobody could tell whether a resumed one of unknown digest is the one in the store."""
    object_store.put("x/big", content(3, 200_000))
    proxy.faults.extend([None, "truncate", "truncate"])
    source, target = open_store(object_store.url("x"), through), Folder(tmp_path / "back")
    copier = Copier(source, target, tries=1, keep_unfinished=True)
    plan = copier.plan()
    expected = {"big": Expected("0" * 64)} if known else {}
    with pytest.raises(StorageError, match="big from"):
        copier.run(replace(plan, expected=expected))
    assert bool(list((tmp_path / "back").iterdir())) == known


def test_time_counts_in_whole_seconds(tmp_path: Path, object_store: ObjectStore) -> None:
    """A store keeps no more: what was changed and sent within one is not sent again."""
    path = tmp_path / "tree" / "log"
    path.parent.mkdir()
    path.write_bytes(b"hello")
    store = open_store(object_store.url("x"), object_store.variables)
    copier = Copier(Folder(path.parent), store)
    copier.run(copier.plan())
    kept = int(store.files()["log"].modified)
    for modified, files in ((kept + 0.9, 0), (kept + 1, 1)):
        os.utime(path, (modified, modified))
        assert len(copier.plan().files) == files


def test_a_copy_that_is_cut_off_goes_on_where_it_was(
    tree: dict[str, bytes], tmp_path: Path, object_store: ObjectStore
) -> None:
    url = object_store.url("x")
    copy(str(tmp_path / "tree"), url, object_store.variables)
    copier = Copier(open_store(url, object_store.variables), Folder(tmp_path / "back"))
    plan = copier.plan()
    wanted = "train.mindrecord0"
    copier.run(Plan({wanted: plan.files[wanted]}, 0))
    assert copy(url, str(tmp_path / "back"), object_store.variables).unchanged == 1
    assert files_in(tmp_path / "back") == tree


def test_a_signal_ends_a_transfer(tmp_path: Path, object_store: ObjectStore) -> None:
    """What the callback raises in the main thread must not wait for the end of big files."""
    object_store.put("x/big", content(3, 5_000_000))
    bucket = open_store(object_store.url("x"), object_store.variables)
    copier: Copier

    def progress(_: int) -> None:
        copier.stop()  # what a signal in the main thread does

    copier = Copier(bucket, Folder(tmp_path / "back"), progress=progress)
    with pytest.raises(Stopped):
        copier.run(copier.plan())
    assert files_in(tmp_path / "back") == {}


def test_a_log_may_grow_and_a_checkpoint_vanish_while_it_is_sent(
    tree: dict[str, bytes], tmp_path: Path, object_store: ObjectStore
) -> None:
    source = tmp_path / "tree"
    copier = Copier(Folder(source), open_store(object_store.url("x"), object_store.variables))
    plan = copier.plan()
    (source / "empty").write_bytes(b"a line\n")
    (source / "train.mindrecord0").unlink()
    copied = copier.run(plan)
    assert copied.vanished == ("train.mindrecord0",) and copied.files == 4
    assert object_store.get("x/empty") == b"a line\n"


@pytest.mark.slow
def test_requests_are_what_obs_takes(
    tree: dict[str, bytes], tmp_path: Path, proxy: Proxy, object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Bucket in the host name; body in one piece with its length and its own digest."""
    monkeypatch.setenv("HTTP_PROXY", proxy.endpoint)
    monkeypatch.setenv("http_proxy", proxy.endpoint)
    variables = {
        "OBS_ENDPOINT": "http://obs.cn-test-1.myhuaweicloud.com",
        "OBS_ACCESS_KEY_ID": "one",
        "OBS_SECRET_ACCESS_KEY": SECRET,
        "OBS_SECURITY_TOKEN": TOKEN,
        "AWS_ACCESS_KEY_ID": "another",
        "AWS_SECRET_ACCESS_KEY": "another",
    }
    url = object_store.url("x", "obs")
    copy(str(tmp_path / "tree"), url, variables)
    copy(url, str(tmp_path / "back"), variables)
    assert files_in(tmp_path / "back") == tree
    host = f"http://{object_store.bucket}.obs.cn-test-1.myhuaweicloud.com/"
    assert {r.method for r in proxy.seen} == {"GET", "PUT", "HEAD"}
    for request in proxy.seen:
        headers = headers_that_obs_takes(request)
        assert request.url.startswith(host)
        assert "Credential=one/" in headers["authorization"]
        assert "/cn-test-1/s3/" in headers["authorization"]
        assert headers["x-amz-security-token"] == TOKEN


def test_path_style_for_an_address_of_a_machine(
    tree: dict[str, bytes], tmp_path: Path, through: dict[str, str], proxy: Proxy,
    object_store: ObjectStore,
) -> None:  # fmt: skip
    copy(str(tmp_path / "tree"), object_store.url("x"), through)
    assert all(r.url.startswith(f"/{object_store.bucket}") for r in proxy.seen)


# --- mistakes ------------------------------------------------------------------------------------


def fails(source: str, target: str, variables: dict[str, str]) -> str:
    """The one line of a mistake; the secrets are not in it."""
    with pytest.raises(UserError) as caught:
        copy(source, target, variables)
    text = str(caught.value)
    assert "\n" not in text and SECRET not in text and TOKEN not in text
    return text


def test_missing_bucket_and_missing_key(
    tree: dict[str, bytes], tmp_path: Path, object_store: ObjectStore
) -> None:
    there, variables = str(tmp_path / "tree"), object_store.variables
    assert "s3://no-such-bucket-xyz/x: does not exist" in fails(
        "s3://no-such-bucket-xyz/x", there, variables
    )
    assert "does not exist" in fails(there, "s3://no-such-bucket-xyz/x", variables)
    url = object_store.url("nothing")
    assert fails(url, there, variables) == f"{url}: there is nothing"
    assert fails(str(tmp_path / "no"), url, variables) == f"{tmp_path / 'no'}: there is nothing"


def test_wrong_and_missing_keys(tmp_path: Path, object_store: ObjectStore) -> None:
    with moto_server(INITIAL_NO_AUTH_ACTION_COUNT="0") as endpoint:
        variables = {**object_store.variables, "AWS_ENDPOINT_URL": endpoint}
        text = fails("s3://bucket/x", str(tmp_path), variables)
        assert text.startswith("s3://bucket/x: access denied (The ")


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        (
            "s3://a-bucket/x",
            "obs://another/y",
            "s3://a-bucket/x and obs://another/y: one of the two",
        ),
        ("gs://bucket/x", "there", "gs://bucket/x: must be a path or begin with s3:// or obs://"),
        ("s3:///x", "there", "s3:///x: '' is not the name of a bucket"),
        (f"s3://key:{SECRET}@bucket/x", "there", "s3://: keys do not belong into an address"),
    ],
)
def test_wrong_addresses(source: str, target: str, text: str) -> None:
    assert text in fails(source, target, {"OBS_ENDPOINT": OBS})


def test_a_file_is_no_folder(tree: dict[str, bytes], tmp_path: Path) -> None:
    file = tmp_path / "tree/empty"
    assert fails(str(tmp_path / "tree"), str(file), {}) == (
        f"{file}: is a file, where a folder is needed"
    )


@pytest.mark.parametrize("key", ["x/../../outside", "x//twice", "x/./dot"])
def test_a_key_cannot_lead_out_of_the_folder(key: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be the name of a file"):
        Folder(tmp_path).path(key)


def test_no_room_is_told_before(
    tree: dict[str, bytes], tmp_path: Path, object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    full = os.statvfs(tmp_path)
    free = full.f_bavail * full.f_frsize
    copier = Copier(Folder(tmp_path / "tree"), Folder(tmp_path / "back"))
    monkeypatch.setattr(copier.source, "files", lambda: {"big": File(2 * free + 2**40, 0.0)})
    with pytest.raises(UserError, match=r"bytes are needed, [\d,]+ are free"):
        copier.plan()


def test_room_for_the_last_byte_is_enough(
    tree: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(map(len, tree.values()))
    copier = Copier(Folder(tmp_path / "tree"), Folder(tmp_path / "back"))
    monkeypatch.setattr("train.storage.copier.free_bytes", lambda _: size)
    assert copier.plan().bytes == size
    monkeypatch.setattr("train.storage.copier.free_bytes", lambda _: size - 1)
    with pytest.raises(UserError, match=f"{size:,} bytes are needed, {size - 1:,} are free"):
        copier.plan()
