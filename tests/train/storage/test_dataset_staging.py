"""Data sets come to a node once, whole, within the size of the cache, and for all of its ranks."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ByteSize

from tests.object_store import ObjectStore, Proxy, Seen
from tests.train.storage.stored_sets import data_set, files_in, put
from train.errors import UserError
from train.storage.dataset_cache import Entry, Note, make_room
from train.storage.dataset_staging import Staging
from train.storage.retry import StorageError
from train.storage.settings import Limits, StorageConfig

SIZE = 2 * (20_000 + 2_000) + 100  # of a data set but for its manifest


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.storage.retry._FIRST_PAUSE", 0.01)
    monkeypatch.setattr("train.storage.locks._POLL_SECONDS", 0.02)


class Job:
    """A process of a job: a staging of its own and what it has said."""

    def __init__(self, cache: Path, variables: dict[str, str], **limits: object) -> None:
        self.said: list[str] = []
        self.beats = 0
        self.config = StorageConfig(cache=cache)
        self.variables = variables
        allowed = Limits.model_validate({"tries": 3, **limits})
        self.staging = Staging(variables, allowed, self.said.append, self._beat)

    def _beat(self) -> None:
        self.beats += 1

    def folder(self, address: str) -> Path:
        return self.config.local_copy(address, self.variables)

    def stage(self, address: str) -> Path:
        self.staging.stage(address, self.folder(address))
        return self.folder(address)


@pytest.fixture
def job(tmp_path: Path, through: dict[str, str]) -> Callable[..., Job]:
    return lambda **limits: Job(tmp_path / "cache", through, **limits)


def gets(proxy: Proxy) -> list[str]:
    """Names of the files that were asked for, without listings."""
    paths = [r.url.split("?") for r in proxy.seen if r.method == "GET"]
    return [path[0].rpartition("/")[2] for path in paths if "list-type" not in path[-1]]


@pytest.mark.slow
def test_only_what_the_manifest_lists_and_only_once(
    job: Callable[..., Job], object_store: ObjectStore, proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    files = data_set(1)
    address = put(object_store, "sets/ü 1", {**files, "preview.png": b"not of interest"})
    first = job()
    folder = first.stage(address)
    assert files_in(folder) == files and first.beats > 0
    assert first.said[0].startswith(f"copying {address} to {folder}: 0.0 MB")

    # Another start asks for the listing and the manifest, and reads no shard again.
    proxy.seen.clear()
    with monkeypatch.context() as patch:
        patch.setattr("train.storage.digests.sha256_file", lambda path: pytest.fail("was read"))
        second = job()
        second.stage(address)
    assert gets(proxy) == ["manifest.json"] and len(proxy.seen) == 2
    assert second.said == [f"{address} is in the cache: {folder}"]

    # What somebody has done to the copy is found and mended.
    first.staging.release()
    second.staging.release()
    (folder / "train.mindrecord0").write_bytes(files["train.mindrecord1"])
    (folder / "train.mindrecord1.db").unlink()
    (folder / "stranger").write_bytes(b"")
    proxy.seen.clear()
    job().stage(address)
    assert files_in(folder) == files
    wanted = {"manifest.json", "train.mindrecord0", "train.mindrecord1.db"}
    assert set(gets(proxy)) == wanted


def test_a_start_that_was_broken_off_is_gone_on_with(
    job: Callable[..., Job], object_store: ObjectStore, proxy: Proxy
) -> None:
    files = data_set(1, shards=1, size=200_000)
    address = put(object_store, "x", files)
    shard = "/train.mindrecord0"

    def break_off(request: Seen) -> None:
        if request.method == "GET" and request.url.split("?")[0].endswith(shard):
            proxy.faults.append("truncate")

    proxy.before = break_off
    broken = job()
    with pytest.raises(StorageError, match=r"train.mindrecord0 from s3://"):
        broken.stage(address)
    folder = broken.folder(address)
    assert not (folder / "manifest.json").exists() and not (folder / shard[1:]).exists()
    [begun] = folder.glob(".train.mindrecord0.*")
    size = begun.stat().st_size
    assert 0 < size < 200_000

    proxy.before = lambda _: None
    proxy.seen.clear()
    assert files_in(job().stage(address)) == files
    [asked] = [r for r in proxy.seen if r.url.split("?")[0].endswith(shard)]
    assert asked.headers["Range"] == f"bytes={size}-"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def hold_requests(proxy: Proxy) -> tuple[threading.Event, threading.Event]:
    """Lets requests wait: (set when the first one does, to be set when they may go on)."""
    held, go = threading.Event(), threading.Event()

    def hold(request: Seen) -> None:
        held.set()
        assert go.wait(30)

    proxy.before = hold
    return held, go


def test_the_others_wait_and_take_what_was_made(
    job: Callable[..., Job], object_store: ObjectStore, proxy: Proxy
) -> None:
    address = put(object_store, "x", data_set(1))
    held, go = hold_requests(proxy)
    ranks = [job() for _ in range(3)]
    threads = [threading.Thread(target=rank.stage, args=[address]) for rank in ranks]
    for thread in threads:
        thread.start()
    assert held.wait(30)
    waiting = f"waiting for another process of this node, which copies {address}"
    wait_until(lambda: sum(rank.said == [waiting] and rank.beats > 1 for rank in ranks) == 2)
    go.set()
    for thread in threads:
        thread.join(60)
    assert sorted(gets(proxy)) == sorted([*data_set(1), "manifest.json"])
    assert len([r for r in proxy.seen if "list-type" in r.url]) == 1


def test_the_others_fail_as_the_copier_failed(
    job: Callable[..., Job], object_store: ObjectStore, proxy: Proxy
) -> None:
    address = put(object_store, "x", data_set(1))
    held, go = hold_requests(proxy)
    errors: list[str] = []
    beside = job()

    def stage(rank: Job) -> None:
        try:
            rank.stage(address)
        except UserError as error:
            errors.append(str(error))

    first = threading.Thread(target=stage, args=[job()])
    first.start()
    assert held.wait(30)
    second = threading.Thread(target=stage, args=[beside])
    second.start()
    wait_until(lambda: bool(beside.said))
    proxy.faults.append(403)
    go.set()
    first.join(60)
    second.join(60)
    assert len(errors) == 2 and errors[0] == errors[1]
    assert errors[0].startswith(f"{address}: access denied")
    assert len(proxy.seen) == 1

    # A later start is another matter.
    assert files_in(job().stage(address)) == data_set(1)


def test_waiting_has_an_end(job: Callable[..., Job], object_store: ObjectStore) -> None:
    address = put(object_store, "x", data_set(1))
    rank = job(wait_seconds=0.1)
    lock = Entry(rank.folder(address)).lock()
    assert lock.take()
    with pytest.raises(StorageError, match=r"still copying it after 0.1 s \(storage.wait_seconds"):
        rank.stage(address)
    lock.free()
    rank.stage(address)


@pytest.mark.slow
def test_the_least_recently_used_goes_and_what_is_used_stays(
    job: Callable[..., Job], object_store: ObjectStore
) -> None:
    room_for_three = 3 * (SIZE + len(data_set(1)["manifest.json"])) + 100
    limit = {"cache_size": ByteSize(room_for_three)}
    addresses = [put(object_store, f"set{n}", data_set(n)) for n in range(5)]
    user = job(**limit)
    folders = [user.folder(address) for address in addresses]
    user.stage(addresses[0])  # used to the end of this test
    passing = job(**limit)
    for number in (1, 2, 1):  # so 2 is the least recently used of those that are free then
        passing.stage(addresses[number])
    passing.staging.release()

    next_one = job(**limit)
    next_one.stage(addresses[3])
    assert f"{addresses[2]} was removed from the cache to make room" in next_one.said
    assert [folder.exists() for folder in folders] == [True, True, False, True, False]
    assert all(files_in(folders[n]) == data_set(n) for n in (0, 1, 3))

    other = job(**limit)
    other.stage(addresses[1])
    with pytest.raises(UserError, match=r"storage.cache_size: [\d,]+ bytes are too few: .*set4 "):
        job(**limit).stage(addresses[4])
    with pytest.raises(UserError, match=r"storage.cache_size: 1,000 bytes are too few for .*set4,"):
        job(cache_size=1000).stage(addresses[4])
    next_one.staging.release()
    job(**limit).stage(addresses[4])
    assert [folder.exists() for folder in folders] == [True, True, False, False, True]


def test_room_is_made_for_all_of_a_data_set_not_for_what_is_missing_of_it(tmp_path: Path) -> None:
    """What is there already of one that is gone on with takes room too."""
    other, own = Entry(tmp_path / "other"), Entry(tmp_path / "own")
    other.write(Note("s3://b/other", 600, 1.0))
    note = Note("s3://b/own", 500)
    assert make_room(own, note, missing=100, limit=1100) == []
    assert own.read() == note
    assert make_room(own, note, missing=100, limit=1000) == ["s3://b/other"]
    assert other.read() is None and own.read() == note


def test_a_full_disk_is_told_before(
    job: Callable[..., Job], object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = put(object_store, "x", data_set(1))
    monkeypatch.setattr("train.storage.dataset_cache.free_bytes", lambda _: 1000)
    with pytest.raises(UserError, match=r"storage.cache: .* bytes more, 1,000 are free"):
        job().stage(address)


def test_a_data_set_that_changes_while_it_is_used(
    job: Callable[..., Job], object_store: ObjectStore, proxy: Proxy
) -> None:
    address = put(object_store, "x", data_set(1))
    user = job()
    folder = user.stage(address)
    put(object_store, "x", data_set(2))
    with pytest.raises(UserError, match="has changed, while another job of this node uses"):
        job().stage(address)
    assert files_in(folder) == data_set(1)
    user.staging.release()

    # Half of the new one is no data set, not even with what is left of the old one.
    proxy.before = lambda request: proxy.faults.extend([403] * ("mindrecord1.db" in request.url))
    with pytest.raises(UserError, match="access denied"):
        job().stage(address)
    assert not (folder / "manifest.json").exists()
    proxy.before = lambda _: None
    proxy.faults.clear()
    job().stage(address)
    assert files_in(folder) == data_set(2)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"manifest.json": None}, "/x: no manifest.json in it, so not a prepared data set"),
        ({"manifest.json": b"{}"}, "/x/manifest.json: is not the manifest of a prepared data set"),
        ({"train.mindrecord1": None}, "/x/train.mindrecord1: missing, but listed in manifest.json"),
        (
            {"train.mindrecord1.db": b"half"},
            "/x/train.mindrecord1.db: damaged: 4 bytes, manifest.json says 2000",
        ),
    ],
)
def test_what_is_no_whole_data_set(
    change: dict[str, bytes | None], text: str, job: Callable[..., Job], object_store: ObjectStore
) -> None:
    files = {**data_set(1), **change}
    address = put(object_store, "x", {k: v for k, v in files.items() if v is not None})
    rank = job()
    with pytest.raises(UserError) as caught:
        rank.stage(address)
    assert str(caught.value).endswith(text) and "\n" not in str(caught.value)
    assert not rank.folder(address).exists()
