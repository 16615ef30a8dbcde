"""Hundreds of random faults, and the same in the end as without any."""

import random
import time
from pathlib import Path

import pytest

from tests.object_store import ObjectStore, Proxy
from tests.train.storage.stored_sets import data_set, files_in, put
from train.storage.copier import Copier, copy
from train.storage.retry import StorageError
from train.storage.stores import Folder, open_store

FAULTS: list[int | str] = [500, 503, "reset", "lost", "truncate", "short", "spoilt"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.storage.retry._FIRST_PAUSE", 0.001)
    monkeypatch.setattr("train.storage.retry._LONGEST_PAUSE", 0.01)


@pytest.mark.slow
def test_two_hundred_random_faults(
    object_store: ObjectStore, proxy: Proxy, through: dict[str, str], tmp_path: Path
) -> None:
    """Out, when whatever can be checked is, and in again: nothing is different in the end."""
    rng = random.Random(20261123)
    source, back = tmp_path / "source", tmp_path / "back"
    for number in range(2):
        folder = source / f"set {number} é"
        folder.mkdir(parents=True)
        for name, content in data_set(number, shards=4, size=9000).items():
            (folder / name).write_bytes(content)
    files = files_in(source)
    address = object_store.url("of all/kinds")

    def plague(faults: list[int | str]) -> None:
        """Four of five requests go wrong from here on."""
        proxy.faults.clear()
        proxy.faults.extend(rng.choice(faults) if rng.random() < 0.8 else None for _ in range(4000))

    # What is read of a listing, an upload or a manifest no digest tells the truth about.
    plague([fault for fault in FAULTS if fault not in ("short", "spoilt")])
    sent = Copier(Folder(source), open_store(address, through), tries=100)
    sent.run(sent.plan())
    out = len(proxy.done)
    assert {k: object_store.get(f"of all/kinds/{k}") for k in files} == files

    fetched = Copier(open_store(address, through), Folder(back), tries=100)
    plan = fetched.plan()
    plague(FAULTS)
    fetched.run(plan)
    assert files_in(back) == files
    assert out >= 80 and len(proxy.done) >= max(200, out + 50), (out, len(proxy.done))
    assert set(proxy.done) == set(FAULTS)


def test_a_body_that_stands_still_is_given_up(
    object_store: ObjectStore, proxy: Proxy, through: dict[str, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A slow one is waited for; one of which nothing comes any more is asked for again."""
    monkeypatch.setattr("train.storage.stores._READ_SECONDS", 0.4)
    url = put(object_store, "x", {"big": bytes(100_000)})
    proxy.seconds = 0.1
    proxy.faults.extend([None, "slow"])
    copy(url, str(tmp_path / "slow"), through)
    assert proxy.done == ["slow"] and len(proxy.seen) == 2
    proxy.seconds = 1.5
    proxy.faults.extend([None, "slow"])
    started = time.monotonic()
    copy(url, str(tmp_path / "still"), through)
    assert [request.method for request in proxy.seen[2:]] == ["GET", "GET", "GET"]
    assert (tmp_path / "still/big").read_bytes() == bytes(100_000)
    proxy.faults.extend([None, "slow"])
    copier = Copier(open_store(url, through), Folder(tmp_path / "never"), tries=1)
    with pytest.raises(StorageError, match="big from s3://"):
        copier.run(copier.plan())
    assert time.monotonic() - started < 60  # it does end
