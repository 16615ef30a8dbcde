"""What is uploaded when the ranks of a node have ended, and by whom."""

import json
import os
from pathlib import Path

import pytest

from tests.aliases import WriteConfig
from tests.object_store import ObjectStore, Proxy
from tests.train.storage.stored_sets import sha256
from train.run.last_upload import main
from train.storage.run_mirror import note_number

BEGAN = 1e9
ADDRESS = "my run"


@pytest.fixture
def config(
    write_config: WriteConfig, object_store: ObjectStore,
    through: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> str:  # fmt: skip
    """A configuration whose run folder is in a bucket, as a node in a folder of its own sees it."""
    for name, value in through.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    tree = {
        "datasets": {"ucm": {"records": "data/ucm"}},
        "schedule": {"steps": 4, "consolidate_every": 2},
        "checkpoint": {"every": 2, "keep": 2},
        "run_dir": object_store.url(ADDRESS),
        "storage": {"tries": 1},
    }
    return str(write_config(tree))


@pytest.fixture
def run(object_store: ObjectStore, tmp_path: Path) -> Path:
    """The run folder of rank 0's node after a kill: nothing of it is in the bucket."""
    return make_run(tmp_path / "runs" / object_store.bucket / ADDRESS, rank=0)


def make_run(folder: Path, rank: int) -> Path:
    log = folder / f"logs/attempt_0/worker_{rank}.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"rank {rank}\n")
    if rank == 0:
        (folder / "config.yaml").write_text("seed: 1\n")
        (folder / "metrics.jsonl").write_text("{}\n")
        for step in (2, 4):
            checkpoint = folder / f"checkpoints/step_{step:08d}"
            checkpoint.mkdir(parents=True)
            (checkpoint / "model.safetensors").write_bytes(b"model")
            state = {"files": {"model.safetensors": sha256(b"model")}}
            (checkpoint / "state.json").write_text(json.dumps(state))
    return folder


def names_of(folder: Path) -> list[str]:
    """All files but those that do not count."""
    paths = (path for path in folder.rglob("[!.]*") if path.is_file())
    return sorted(f"{ADDRESS}/{path.relative_to(folder).as_posix()}" for path in paths)


def test_all_that_a_killed_rank_has_left(
    config: str, run: Path, object_store: ObjectStore, proxy: Proxy
) -> None:
    assert main([config, "--since", str(BEGAN)]) == 0
    assert object_store.keys() == names_of(run)
    states = [r.url for r in proxy.seen if r.method == "PUT" and "state.json" in r.url]
    assert len(states) == 2

    # A second time there is nothing more to send but what has been written since.
    log = run / "logs/attempt_0/worker_0.log"
    log.write_text("rank 0\nTraceback\n")
    proxy.seen.clear()
    assert main([config, "--since", str(BEGAN)]) == 0
    assert [r.url.rpartition("/")[2] for r in proxy.seen if r.method == "PUT"] == ["worker_0.log"]
    assert object_store.get(f"{ADDRESS}/logs/attempt_0/worker_0.log") == log.read_bytes()


def test_a_run_that_did_not_begin_changes_no_results(
    config: str, run: Path, object_store: ObjectStore
) -> None:
    """The folder may be older than the bucket, if a rank is killed before it has looked there."""
    os.utime(run / "config.yaml", (BEGAN - 1, BEGAN - 1))
    theirs = [
        f"{ADDRESS}/{name}" for name in ("checkpoints/step_00000009/state.json", "summary.json")
    ]
    for key in theirs:
        object_store.put(key, b"{}")
    assert main([config, "--since", str(BEGAN)]) == 0
    assert object_store.keys() == [theirs[0], f"{ADDRESS}/logs/attempt_0/worker_0.log", theirs[1]]


def test_another_node_uploads_its_logs_beside_those_of_the_first(
    config: str,
    run: Path,
    object_store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the attempt has another number there, as an earlier one of another machine."""
    object_store.put(f"{ADDRESS}/logs/attempt_0/worker_0.log", b"of another machine")
    assert main([config, "--since", str(BEGAN)]) == 0
    other = tmp_path / "other node"
    folder = make_run(other / run.relative_to(tmp_path), rank=1)
    (folder / "metrics.jsonl").write_text("not ours to upload")
    monkeypatch.chdir(other)
    note_number(folder, 0, 1)  # as node 0 has told
    assert main([config]) == 0
    logs = {
        key.removeprefix(f"{ADDRESS}/logs/"): key for key in object_store.keys(f"{ADDRESS}/logs")
    }
    assert list(logs) == [
        "attempt_0/worker_0.log",
        "attempt_1/worker_0.log",
        "attempt_1/worker_1.log",
    ]
    assert object_store.get(logs["attempt_0/worker_0.log"]) == b"of another machine"
    assert object_store.get(f"{ADDRESS}/metrics.jsonl") == b"{}\n"


def test_a_summary_is_sent_last_and_notes_no_more_that_anything_is_missing(
    config: str, run: Path, object_store: ObjectStore, proxy: Proxy
) -> None:
    noted = {"run_dir": object_store.url(ADDRESS), "missing": ["metrics.jsonl"], "error": "x"}
    (run / "summary.json").write_text(json.dumps({"status": "completed", "storage": noted}))
    assert main([config, "--since", str(BEGAN)]) == 0
    sent = [r.url.rpartition("/")[2] for r in proxy.seen if r.method == "PUT"]
    assert sent[-1] == "summary.json" and sent.count("summary.json") == 1
    summary = json.loads(object_store.get(f"{ADDRESS}/summary.json"))
    assert summary["storage"] == {"run_dir": noted["run_dir"], "missing": []}


@pytest.mark.parametrize(
    ("options", "code", "kind"), [([], 0, "warning"), (["--required"], 1, "error")]
)
def test_a_store_that_does_not_take_them(
    options: list[str], code: int, kind: str, config: str, run: Path, object_store: ObjectStore,
    proxy: Proxy, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    proxy.only = "PUT"
    proxy.faults.extend([403] * 9)
    assert main([config, "--since", str(BEGAN), *options]) == code
    why, told = capsys.readouterr().err.splitlines()
    url = object_store.url(ADDRESS)
    assert why.startswith(f"{kind}: run_dir: {url}: access denied (")
    assert told == f"{kind}: the results are not all in {url}; they are in {run}"


def test_a_run_folder_on_this_machine_needs_no_upload(config: str, tmp_path: Path) -> None:
    assert main([config, f"run_dir={tmp_path}"]) == 0
