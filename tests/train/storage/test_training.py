"""Training from a bucket into a bucket, over HTTP: resumed elsewhere, and when the store fails."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.aliases import WriteConfig
from tests.object_store import (
    KEY,
    SECRET,
    TOKEN,
    ObjectStore,
    Proxy,
    foreign_variables,
    proxy_before,
)
from tests.train.runs import assert_same_bits, summary_of
from tests.train.storage.stored_sets import files_in
from train.__main__ import main
from train.process.stop import StopRequest
from train.storage.copier import copy
from train.trainer import Trainer

RUN = "runs/my first run"
# The configuration wins over these, which must be shown nowhere either.
_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
IN_ENVIRONMENT = ("AKIDOFTHEENVIRONMENT", "secretoftheenvironment", "tokenoftheenvironment")


@dataclass
class Site:
    """A bucket with records, seen through a proxy, and the configuration of a run there."""

    store: ObjectStore
    proxy: Proxy
    folder: Path
    tree: dict[str, Any]

    def train(self, where: str) -> int:
        """Trains as on a machine of its own; the exit code."""
        config = self.folder / "job.yaml"
        config.write_text(yaml.safe_dump(self.tree))
        (self.folder / where).mkdir(exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            for name in foreign_variables():
                patch.delenv(name)
            patch.setenv("AWS_ENDPOINT_URL", self.proxy.endpoint)
            patch.setenv("NO_PROXY", "127.0.0.1")
            for name, value in zip(_VARIABLES, IN_ENVIRONMENT, strict=True):
                patch.setenv(name, value)
            patch.chdir(self.folder / where)
            return main([str(config)])

    def run(self, where: str) -> Path:
        """The run folder on a machine."""
        return self.folder / where / "runs" / self.store.bucket / RUN


@pytest.fixture(scope="module")
def site(
    one_task_tree: dict[str, Any], moto: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A run whose records and results are in a bucket, with keys in the configuration."""
    store = ObjectStore(moto)
    folder = tmp_path_factory.mktemp("site")
    records = one_task_tree["datasets"]["coast"]["records"]
    copy(records, store.url("data/coast ü"), store.variables)
    tree = {
        **one_task_tree,
        "data_root": store.url("data"),
        "datasets": {"coast": {"records": "coast ü"}},
        "run_dir": store.url(RUN),
        "checkpoint": {"every": 2, "keep": 2},
        "storage": {
            "access_key": KEY,
            "secret_key": SECRET,
            "token": TOKEN,
            "cache": str(folder / "cache"),
            "upload_every": 1000.0,
            "upload_seconds": 2.0,
        },
    }
    with proxy_before(moto) as proxy:
        yield Site(store, proxy, folder, tree)


@pytest.fixture(scope="module")
def lost(site: Site) -> Iterator[Path]:
    """The folder of a run whose store was gone from its first consolidation point on."""
    with pytest.MonkeyPatch.context() as patch:
        train = Trainer._train

        def train_and_lose_the_store(self: Trainer, interval: Any, batches: Any) -> None:
            train(self, interval, batches)
            site.proxy.down = True

        patch.setattr(Trainer, "_train", train_and_lose_the_store)
        assert site.train("one") == 0
    yield site.run("one")


def assert_no_secrets(*texts: str, folders: tuple[Path, ...] = ()) -> None:
    for secret in (KEY, SECRET, TOKEN, *IN_ENVIRONMENT):
        assert not any(secret in text for text in texts)
        for folder in folders:
            assert not any(secret.encode() in content for content in files_in(folder).values())


@pytest.mark.slow
def test_a_store_that_is_gone_in_the_middle_does_not_end_training(
    site: Site, capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    run: Path = request.getfixturevalue("lost")
    shown = capfd.readouterr()
    assert "results could not be uploaded: " in shown.out
    stored = summary_of(run)["storage"]
    assert stored["error"]
    last = ["summary.json", "metrics.jsonl", "checkpoints/step_00000004/state.json"]
    assert set(last) <= set(stored["missing"]) and "config.yaml" not in stored["missing"]
    [told] = [line for line in shown.out.splitlines() if line.endswith("tries again")]
    assert f"could not be uploaded to {site.store.url(RUN)}" in told
    assert_no_secrets(shown.out, shown.err)

    # The same command, when the store is back: nothing is trained, what is missing is uploaded.
    site.proxy.down = False
    site.proxy.seen.clear()
    assert site.train("one") == 0
    shown = capfd.readouterr()
    assert "This run is completed" in shown.out
    assert f"Results are in {site.store.url(RUN)}" in shown.out
    assert summary_of(run)["storage"] == {"run_dir": site.store.url(RUN), "missing": []}
    here = files_in(run)
    del here[".lock"]  # which keeps others out of this folder, on this machine
    assert {f"{RUN}/{name}" for name in here} == set(site.store.keys(RUN))
    assert all(site.store.get(f"{RUN}/{name}") == content for name, content in here.items())
    sent = [r.url.split("?")[0].rpartition("/")[2] for r in site.proxy.seen if r.method == "PUT"]
    assert sent[-1] == "summary.json" and sent.count("state.json") == 2

    # Keys are needed, and are nowhere: neither in the run folder nor in the cache nor shown.
    assert_no_secrets(shown.out, shown.err, folders=(run, site.folder / "cache"))
    resolved = yaml.safe_load((run / "config.yaml").read_text())
    assert resolved["run_dir"] == site.store.url(RUN)

    # Another machine learns that it is done.
    assert site.train("two") == 0
    assert "This run is completed" in capfd.readouterr().out


@pytest.mark.slow
def test_stopped_and_gone_on_with_on_another_machine(
    site: Site, lost: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bits of a run that was not stopped, and whose store was of no help."""
    site.proxy.down = False
    for key in site.store.keys(RUN):
        site.store.remove(key)
    checkpoints = f"{RUN}/checkpoints"
    # The process would die of the signal after it has uploaded, so this is only noted here.
    died: list[list[str]] = []
    train = Trainer._train

    def train_and_stop(self: Trainer, interval: Any, batches: Any) -> None:
        train(self, interval, batches)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "obey", lambda _: died.append(site.store.keys(RUN)))
        patch.setattr(Trainer, "_train", train_and_stop)
        assert site.train("three") == 0
    [keys] = died
    assert f"{checkpoints}/step_00000002/state.json" in keys
    assert f"{RUN}/summary.json" not in keys

    # A later one whose files are not those of its state.json, and one that has none.
    state = site.store.get(f"{checkpoints}/step_00000002/state.json")
    site.store.put(f"{checkpoints}/step_00000003/state.json", state)
    site.store.put(f"{checkpoints}/step_00000004/model.safetensors", b"half")
    site.store.put(f"{RUN}/summary.json", b"of an earlier run")
    capfd.readouterr()
    assert site.train("four") == 0
    shown = capfd.readouterr()
    assert "step_00000003 is damaged or not whole: it is not used" in shown.out
    assert "Resuming from" in shown.out and "step_00000002" in shown.out
    assert "is in the cache" in shown.out and "copying" not in shown.out
    assert_same_bits(lost, site.run("four"))
    text = (site.run("four") / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 2, 3, 4, 4, 4]
    assert lines[2]["kind"] == "resumed"
    kept = {key.split("/")[3] for key in site.store.keys(checkpoints)}
    assert kept == {"step_00000002", "step_00000004"}
    assert json.loads(site.store.get(f"{RUN}/summary.json")) == summary_of(site.run("four"))


@pytest.fixture
def remote_config(
    site: Site, object_store: ObjectStore, through: dict[str, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:  # fmt: skip
    """The same configuration, with a run folder in another bucket."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", through["AWS_ENDPOINT_URL"])
    monkeypatch.chdir(tmp_path)
    return {**site.tree, "run_dir": object_store.url(RUN)}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"run_dir": "s3://no-such-bucket-xyz/r"}, "run_dir: s3://no-such-bucket-xyz/r: does not"),
        ({"data_root": "s3://no-such-bucket-xyz/r"}, "s3://no-such-bucket-xyz/r/coast ü: does not"),
        ({"datasets": {"coast": {"records": "nothing"}}}, "/data/nothing: there is nothing"),
    ],
)
def test_mistakes_are_told_before_training(
    change: dict[str, Any], text: str, remote_config: dict[str, Any], write_config: WriteConfig,
    tmp_path: Path, capfd: Any,
) -> None:  # fmt: skip
    assert main([str(write_config({**remote_config, **change}))]) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ") and text in line
    assert not (tmp_path / "runs").exists()


def test_a_store_that_forbids_writing_is_told_before_training(
    remote_config: dict[str, Any], write_config: WriteConfig, proxy: Proxy, capfd: Any,
) -> None:  # fmt: skip
    proxy.faults.extend([403] * 9)
    proxy.only = "PUT"
    assert main([str(write_config(remote_config))]) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("error: run_dir: s3://") and "access denied" in line


def test_a_store_that_does_not_answer_at_the_start(
    remote_config: dict[str, Any], write_config: WriteConfig, proxy: Proxy, capfd: Any,
) -> None:  # fmt: skip
    """Nobody knows then what to go on from; it is no mistake of the user's, so code 1, one line."""
    proxy.down = True
    remote_config["storage"]["tries"] = 1
    assert main([str(write_config(remote_config))]) == 1
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("error: run_dir: s3://") and line.endswith("(1 tries)")
