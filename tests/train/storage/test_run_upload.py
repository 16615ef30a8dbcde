"""Results on their way out: in which order, what is removed, and what a store's trouble does."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.object_store import SECRET, TOKEN, ObjectStore, Proxy, Seen, headers_that_obs_takes
from tests.train.storage.stored_sets import sha256
from train.errors import UserError
from train.storage.run_download import fetch_run
from train.storage.run_mirror import Mirror, choose_numbers, noted_numbers
from train.storage.run_upload import Uploader
from train.storage.stores import open_store

Mirrored = Callable[..., Mirror]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "logs/attempt_0").mkdir(parents=True)
    (folder / "logs/attempt_0/worker_0.log").write_text("hello\n")
    (folder / "config.yaml").write_text("seed: 1\n")
    (folder / "metrics.jsonl").write_text("{}\n")
    return folder


@pytest.fixture
def mirrored(run: Path, object_store: ObjectStore, through: dict[str, str]) -> Mirrored:
    """Begins to mirror the run, which goes on from a step, in the folder "r" of the bucket."""

    def begin(step: int = 0) -> Mirror:
        mirror = Mirror(run, open_store(object_store.url("r"), through), keep=2)
        mirror.begin(step)
        return mirror

    return begin


def save(run: Path, step: int) -> None:
    """A checkpoint as a run leaves it."""
    folder = run / f"checkpoints/step_{step:08d}"
    folder.mkdir(parents=True, exist_ok=True)
    model = f"model of step {step}".encode()
    (folder / "model.safetensors").write_bytes(model)
    (folder / "state.json").write_text(json.dumps({"files": {"model.safetensors": sha256(model)}}))


def remove(run: Path, step: int) -> None:
    for path in (run / f"checkpoints/step_{step:08d}").iterdir():
        path.unlink()
    (run / f"checkpoints/step_{step:08d}").rmdir()


def requests(proxy: Proxy, *methods: str) -> list[str]:
    """Method and last parts of the names."""
    return [
        f"{r.method} {'/'.join(r.url.split('?')[0].split('/')[-2:])}"
        for r in proxy.seen
        if r.method in methods
    ]


def test_a_checkpoint_is_whole_from_its_first_moment_to_its_last(
    run: Path, object_store: ObjectStore, proxy: Proxy, mirrored: Mirrored
) -> None:
    mirror = mirrored()
    for step in (2, 4, 6):
        save(run, step)
        if step == 6:
            remove(run, 2)
        proxy.seen.clear()
        mirror.update(summary=False)
    assert requests(proxy, "PUT", "DELETE") == [
        "PUT step_00000006/model.safetensors",
        "PUT step_00000006/state.json",
        "DELETE step_00000002/state.json",
        "DELETE step_00000002/model.safetensors",
    ]
    assert not [r for r in proxy.seen if r.method == "POST"]  # DeleteObjects
    (run / "summary.json").write_text("{}")
    assert mirror.missing() == [] and mirror.missing(summary=True) == ["summary.json"]
    with (run / "metrics.jsonl").open("a") as file:
        file.write("{}\n")
    proxy.seen.clear()
    mirror.update(summary=True)
    assert requests(proxy, "PUT") == ["PUT r/metrics.jsonl", "PUT r/summary.json"]
    assert mirror.missing(summary=True) == []

    # Written again, as by a run that did the step once more: never with the old state.json.
    save(run, 6)
    (run / "checkpoints/step_00000006/state.json").write_text('{"other": 1}')
    proxy.seen.clear()
    mirror.update(summary=False)
    assert requests(proxy, "PUT", "DELETE") == [
        "DELETE step_00000006/state.json",
        "PUT step_00000006/model.safetensors",
        "PUT step_00000006/state.json",
    ]


def test_the_best_checkpoint_stays_and_is_named_before_another_one_goes(
    run: Path, object_store: ObjectStore, proxy: Proxy, mirrored: Mirrored
) -> None:
    """Then a run on another machine gets it, beside the newest."""
    mirror, named = mirrored(), run / "checkpoints/best.json"

    def best(step: int) -> None:
        named.write_text(json.dumps({"checkpoint": f"step_{step:08d}"}))

    for step in (2, 4, 6, 8):
        save(run, step)
        if step == 8:
            remove(run, 4)
        best(2)
        mirror.update(summary=False)
    steps = {key.split("/")[2] for key in object_store.keys("r/checkpoints")}
    assert steps == {"step_00000002", "step_00000006", "step_00000008", "best.json"}

    elsewhere = run.with_name("elsewhere")
    said: list[str] = []
    variables = {**object_store.variables}
    fetch_run(object_store.url("r"), elsewhere, variables, 1, said.append, lambda p: p.is_dir())
    fetched = sorted(path.name for path in (elsewhere / "checkpoints").iterdir())
    assert fetched == ["step_00000002", "step_00000008"]

    remove(run, 2)
    best(8)
    proxy.seen.clear()
    mirror.update(summary=False)
    assert requests(proxy, "PUT", "DELETE") == [
        "PUT checkpoints/best.json",
        "DELETE step_00000002/state.json",
        "DELETE step_00000002/model.safetensors",
    ]
    named.unlink()
    proxy.seen.clear()
    mirror.update(summary=False)
    assert requests(proxy, "PUT", "DELETE") == ["DELETE checkpoints/best.json"]


def test_a_damaged_one_here_does_not_keep_a_whole_one_out(
    run: Path, object_store: ObjectStore, mirrored: Mirrored
) -> None:
    save(run, 2)
    mirrored().update(summary=False)
    elsewhere, said = run.with_name("elsewhere"), list[str]()
    save(elsewhere, 4)

    def is_whole(path: Path) -> bool:
        return path.is_dir() and path.name != "step_00000004"

    fetch_run(object_store.url("r"), elsewhere, object_store.variables, 1, said.append, is_whole)
    kept = sorted(path.name for path in (elsewhere / "checkpoints").iterdir())
    assert kept == ["step_00000002", "step_00000004"] and len(said) == 1


def test_a_checkpoint_that_is_removed_while_it_is_sent_gets_no_state(
    run: Path, object_store: ObjectStore, proxy: Proxy, mirrored: Mirrored
) -> None:
    mirror = mirrored()
    save(run, 2)

    def vanish(request: Seen) -> None:
        if request.method == "PUT" and "step_00000002" in request.url:
            (run / "checkpoints/step_00000002/model.safetensors").unlink(missing_ok=True)

    proxy.before = vanish
    mirror.update(summary=False)
    assert not [key for key in object_store.keys("r") if key.endswith("state.json")]


def test_what_a_log_has_become_while_it_is_sent_is_sent_the_next_time(
    run: Path, object_store: ObjectStore, proxy: Proxy, mirrored: Mirrored
) -> None:
    mirror, log = mirrored(), "logs/attempt_0/worker_0.log"

    def grow(request: Seen) -> None:
        if request.method == "PUT" and request.url.endswith(log):
            proxy.before = lambda _: None
            (run / log).write_text("hello\nagain\n")

    proxy.before = grow
    mirror.update(summary=False)
    assert object_store.get(f"r/{log}") == b"hello\n" and mirror.missing() == [log]
    mirror.update(summary=False)
    assert object_store.get(f"r/{log}") == b"hello\nagain\n" and mirror.missing() == []


def test_what_a_run_did_not_go_on_from_pushes_out_nothing(
    run: Path, object_store: ObjectStore, mirrored: Mirrored
) -> None:
    for step in (3, 4, 6):  # damaged, or a run would go on from there
        object_store.put(f"r/checkpoints/step_{step:08d}/state.json", b"{}")
    save(run, 2)
    mirror = mirrored(2)
    save(run, 4)
    mirror.update(summary=False)
    kept = {key.split("/")[2] for key in object_store.keys("r/checkpoints")}
    assert kept == {"step_00000002", "step_00000004"}


def test_another_process_sends_only_what_is_new(
    run: Path, proxy: Proxy, mirrored: Mirrored
) -> None:
    save(run, 2)
    (run / "summary.json").write_text("{}")
    mirrored().update(summary=True)

    (run / "summary.json").unlink()  # as a run does that goes on
    proxy.seen.clear()
    mirrored(2).update(summary=False)
    assert requests(proxy, "PUT", "DELETE") == [
        "PUT r/config.yaml",
        "DELETE r/summary.json",
    ]


def test_numbers_of_attempts_are_given_once(run: Path) -> None:
    """The first one moves on as its own is taken, to that of the second, which moves on too."""
    (run / "logs/attempt_1").mkdir()
    here = [f"logs/attempt_{n}/worker_0.log" for n in (0, 1)]
    assert choose_numbers(run, here, here[:1]) == {0: 1, 1: 2} == noted_numbers(run)
    assert choose_numbers(run, here, [*here, "logs/attempt_2/worker_0.log"]) == {0: 1, 1: 2}


@pytest.mark.parametrize("with_config", [True, False])
def test_what_is_fetched_and_what_stays(
    run: Path, object_store: ObjectStore, mirrored: Mirrored, with_config: bool
) -> None:
    """A run that goes on has a configuration; what it has of the newest step it has for good."""
    save(run, 2)
    mirrored().update(summary=False)
    elsewhere, said = run.with_name("elsewhere"), list[str]()
    elsewhere.mkdir()
    own = {name: (elsewhere / name, f"own {name}\n") for name in ("config.yaml", "metrics.jsonl")}
    for path, text in own.values():
        path.write_text(text)

    def fetch() -> None:
        url, variables = object_store.url("r"), object_store.variables
        fetch_run(url, elsewhere, variables, 1, said.append, Path.is_dir, with_config)

    fetch()
    assert said == [f"{object_store.url('r')}/checkpoints/step_00000002 was fetched"]
    theirs = {name: (run / name).read_text() for name in own}
    expected = theirs if with_config else {**theirs, "config.yaml": "own config.yaml\n"}
    assert {name: path.read_text() for name, (path, _) in own.items()} == expected
    for path, text in own.values():
        path.write_text(text)
    fetch()
    assert len(said) == 1 and all(path.read_text() == text for path, text in own.values())


def test_a_checkpoint_of_the_same_step_that_is_another_is_sent(
    run: Path, object_store: ObjectStore, mirrored: Mirrored
) -> None:
    """As of a run on another machine that went on from an earlier step: names tell nothing."""
    save(run, 2)
    mirrored().update(summary=False)
    key = "checkpoints/step_00000002"
    (run / key / "model.safetensors").write_bytes(b"another of step 2")
    digest = sha256(b"another of step 2")
    (run / key / "state.json").write_text(json.dumps({"files": {"model.safetensors": digest}}))
    mirrored().update(summary=False)
    for name in ("model.safetensors", "state.json"):
        assert object_store.get(f"r/{key}/{name}") == (run / key / name).read_bytes()


def test_logs_of_another_machine_are_not_overwritten(
    run: Path, object_store: ObjectStore, through: dict[str, str], mirrored: Mirrored
) -> None:
    for attempt in (0, 1):
        object_store.put(f"r/logs/attempt_{attempt}/worker_0.log", b"of another machine")
    mirrored().update(summary=False)
    assert object_store.get("r/logs/attempt_0/worker_0.log") == b"of another machine"
    assert object_store.get("r/logs/attempt_2/worker_0.log") == b"hello\n"

    # The next process knows it, and the next attempt is another one.
    (run / "logs/attempt_1").mkdir()
    (run / "logs/attempt_1/worker_0.log").write_text("again\n")
    mirror = Mirror(run, open_store(object_store.url("r"), through), keep=2)
    mirror.update(summary=False)
    logs = {key: object_store.get(key) for key in object_store.keys("r/logs")}
    assert logs == {
        "r/logs/attempt_0/worker_0.log": b"of another machine",
        "r/logs/attempt_1/worker_0.log": b"of another machine",
        "r/logs/attempt_2/worker_0.log": b"hello\n",
        "r/logs/attempt_3/worker_0.log": b"again\n",
    }
    assert noted_numbers(run) == {0: 2, 1: 3}


@pytest.fixture
def uploader(
    run: Path, object_store: ObjectStore, through: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[str]], Uploader]:
    monkeypatch.setattr("train.storage.run_upload._FIRST_PAUSE", 0.05)
    address = object_store.url("r")

    def make(said: list[str]) -> Uploader:
        mirror = Mirror(run, open_store(address, through), keep=2)
        return Uploader(address, mirror, 1000.0, 600.0, said.append)

    return make


def test_trouble_is_told_once_and_outlasted(
    run: Path, proxy: Proxy, object_store: ObjectStore, uploader: Callable[[list[str]], Uploader]
) -> None:
    said: list[str] = []
    ours = uploader(said)
    proxy.faults.extend([503, "reset", 500])
    ours.start(0)
    save(run, 2)
    ours.soon()
    assert ours.finish(time.monotonic() + 30).missing == []
    assert len(said) == 2 and "could not be uploaded" in said[0] and "again" in said[1]
    assert object_store.keys("r/checkpoints")
    ours.close()


def test_the_end_waits_for_a_pass_that_began_after_it_was_asked_for(
    run: Path, proxy: Proxy, object_store: ObjectStore, uploader: Callable[[list[str]], Uploader]
) -> None:
    """One that is under way has not looked at what there is now."""
    ours = uploader([])
    held, let, log = threading.Event(), threading.Event(), "logs/attempt_0/worker_0.log"

    def hold(request: Seen) -> None:
        if request.method == "PUT" and request.url.endswith(log):
            held.set()
            assert let.wait(20)

    proxy.before = hold
    ours.start(0)
    ours.soon()
    assert held.wait(20)
    (run / "summary.json").write_text("{}")
    # Let go once the end has asked, as nothing else tells.
    threading.Timer(0.2, let.set).start()
    assert ours.finish(time.monotonic() + 30, with_summary=True).missing == []
    assert object_store.get("r/summary.json") == b"{}"
    ours.close()


def test_the_end_waits_no_longer_than_it_may(
    run: Path, proxy: Proxy, uploader: Callable[[list[str]], Uploader]
) -> None:
    ours = uploader([])
    ours.start(0)
    proxy.down = True
    save(run, 2)
    outcome = ours.finish(time.monotonic() + 0.5, with_summary=True)
    step = "checkpoints/step_00000002"
    assert {f"{step}/model.safetensors", f"{step}/state.json"} <= set(outcome.missing)
    assert "config.yaml" not in outcome.missing
    assert outcome.error
    ours.close()


def test_forbidden_at_the_start(
    proxy: Proxy, uploader: Callable[[list[str]], Uploader], object_store: ObjectStore
) -> None:
    proxy.faults.append(403)
    with pytest.raises(UserError, match=f"^run_dir: {object_store.url('r')}: access denied"):
        uploader([]).start(0)


def test_requests_of_an_upload_are_what_obs_takes(
    run: Path, proxy: Proxy, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.endpoint)
    monkeypatch.setenv("http_proxy", proxy.endpoint)
    variables = {
        "OBS_ENDPOINT": "http://obs.cn-test-1.myhuaweicloud.com",
        "OBS_ACCESS_KEY_ID": "one",
        "OBS_SECRET_ACCESS_KEY": SECRET,
        "OBS_SECURITY_TOKEN": TOKEN,
    }
    mirror = Mirror(run, open_store(object_store.url("r", "obs"), variables), keep=1)
    mirror.begin(0)
    for step in (2, 4):
        save(run, step)
        mirror.update(summary=False)
    assert {r.method for r in proxy.seen} == {"GET", "PUT", "HEAD", "DELETE"}
    host = f"http://{object_store.bucket}.obs.cn-test-1.myhuaweicloud.com/"
    for request in proxy.seen:
        headers = headers_that_obs_takes(request)
        assert request.url.startswith(host)
        assert headers["x-amz-security-token"] == TOKEN
        if request.method == "DELETE":
            assert "/checkpoints/step_00000002/" in request.url


def test_event_files_of_an_earlier_start_go(
    run: Path, mirrored: Mirrored, object_store: ObjectStore
) -> None:
    """On another machine the file has another name, and holds the same steps."""
    events = run / "tensorboard"
    events.mkdir()
    (events / "events.out.tfevents.1.run").write_bytes(b"of one machine")
    (run / "report.html").write_text("<html>")
    mirrored().update(summary=False)
    (events / "events.out.tfevents.1.run").rename(events / "events.out.tfevents.2.run")
    mirrored(step=2).update(summary=False)
    found = [key for key in object_store.keys("r") if "/logs/" not in key]
    assert [key.removeprefix("r/") for key in found] == [
        *("config.yaml", "metrics.jsonl", "report.html"),
        "tensorboard/events.out.tfevents.2.run",
    ]
