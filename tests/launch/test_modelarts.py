"""The boot file in simulated containers: real processes, a real S3 server, a recorded rank."""

import json
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.cloud import arguments, container
from launch.cloud.container import Card, Node
from tests.launch.containers import (
    Container,
    card_variables,
    end_of,
    group_list,
    node_variables,
    other_at,
    project_with_recorder,
)
from tests.object_store import SECRET, ObjectStore, proxy_before
from tests.paths import ROOT
from train.errors import UserError

CONFIG = ("--config", "configs/job.yaml")


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project_with_recorder(tmp_path_factory.mktemp("project"))


@pytest.fixture
def box(tmp_path: Path, recorder: Path) -> Container:
    """A container whose launcher and training program only note what they are given."""
    return Container(tmp_path / "box", recorder)


def await_that(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- one start per node --------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1])
def test_a_node_of_two(number: int, box: Container, tmp_path: Path) -> None:
    words = ["--data_url", tmp_path, "--optimizer.learning_rate=0.1", "--max_restarts", "3"]
    code, _, err = box.run(*CONFIG, *words, "--num_gpus=8", **node_variables(number, 2, 8))
    assert code == 0, err
    noted = box.noted("launcher")
    assert noted["cwd"] == str(box.project)
    assert noted["arguments"] == [
        str(box.project / "configs/job.yaml"),
        "optimizer.learning_rate=0.1",
        f'data_root="{tmp_path}"',
        *("--max-restarts", "3", "--nproc", "8", "--nnodes", "2", "--node-rank", str(number)),
        *("--master", "localhost", "--node-timeout", "1800"),
    ]
    # Not needed by the dynamic cluster, and the platform's is a folder.
    assert "RANK_TABLE_FILE" not in noted["variables"]
    assert noted["variables"]["MTLN_JOB_ID"] == "job-4711"
    assert err == "--num_gpus is left out: the variables of the platform say so too\n"


def test_a_single_node(box: Container) -> None:
    code, _, err = box.run(*CONFIG, "--rank_table", "mine.json", **node_variables(0, 1, 8))
    assert code == 0, err
    words = box.noted("launcher")["arguments"][1:]
    assert words == ["--rank-table", "mine.json", "--nproc", "8"]


def test_a_host_name_that_appears_late(box: Container, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    box.before = other_at(hosts, Path("/etc/hosts"))
    given = node_variables(1, 2, 8) | {"VC_WORKER_HOSTS": "worker-0.late-job,worker-1.late-job"}
    process = box.start(*CONFIG, **given)
    assert process.stdout
    line = process.stdout.readline()
    assert line.startswith("waiting for an address of worker-0.late-job ("), process.communicate()
    assert not (box.notes / "launcher.json").exists()
    with hosts.open("a") as file:
        file.write("127.0.0.1 worker-0.late-job\n")
    code, _, err = end_of(process)
    assert code == 0, err
    words = box.noted("launcher")["arguments"]
    assert words[words.index("--master") + 1] == "worker-0.late-job"


def test_a_host_name_that_never_appears(box: Container) -> None:
    given = node_variables(1, 2, 8) | {"VC_WORKER_HOSTS": "worker-0.nowhere.invalid,b"}
    code, _, err = box.run(*CONFIG, **given, MTLN_PLATFORM_SECONDS="1")
    assert code == 2
    assert re.fullmatch(
        r"error: worker-0\.nowhere\.invalid, the first of VC_WORKER_HOSTS, has no address after "
        r"1 s \(.+\); has its container started\? MTLN_PLATFORM_SECONDS is how long to wait\n",
        err,
    )


# --- one start per card --------------------------------------------------------------------------


def test_every_card_becomes_a_rank_and_a_node_copies_once(
    recorder: Path, tmp_path: Path, object_store: ObjectStore
) -> None:
    """Two nodes of two cards; the rank table is a folder and is completed after the start."""
    config = tmp_path / "user/config"
    config.mkdir(parents=True)
    (config / "jobstart_hccl.json").write_text(group_list("initializing"))
    object_store.put("data/a/manifest.json", b"{}")
    object_store.put("data/a/train.mindrecord0", b"records")
    nodes = [Container(tmp_path / f"node{i}", recorder) for i in range(2)]
    with proxy_before(object_store.endpoint) as proxy:
        shared = {**object_store.variables, "AWS_ENDPOINT_URL": proxy.endpoint}
        processes = [
            nodes[rank // 2].start(
                *CONFIG,
                *("--data_url", object_store.url("data"), "--train_url", object_store.url("out")),
                *("--max_restarts", "2"),
                **card_variables(rank, 4, 2, config),
                **shared,
            )
            for rank in range(4)
        ]
        time.sleep(1)  # most of them have come to wait; the order does not matter
        new = config / "new"
        new.write_text(group_list())
        new.rename(config / "jobstart_hccl.json")
        ends = [end_of(process) for process in processes]
    assert [code for code, _, _ in ends] == [0] * 4, ends
    fetched = [r.url for r in proxy.seen if r.method == "GET" and r.url.endswith("mindrecord0")]
    assert len(fetched) == 2  # once per node
    tables = set()
    for rank in range(4):
        node = nodes[rank // 2]
        noted = node.noted(str(rank))
        given = noted["variables"]
        assert (given["RANK_ID"], given["RANK_SIZE"]) == (str(rank), "4")
        assert given["DEVICE_ID"] == str(rank % 2)
        assert int(given["HCCL_CONNECT_TIMEOUT"]) > 120  # HCCL's own is too short
        tables.add(Path(given["RANK_TABLE_FILE"]))
        root, run_dir = noted["arguments"][1:]
        data = Path(json.loads(root.removeprefix("data_root=")))
        assert data.is_relative_to(node.cache)
        assert (data / "a/train.mindrecord0").read_bytes() == b"records"
        assert run_dir == "run_dir=runs/job"
        assert "--max-restarts: without effect" in ends[rank][2]
    assert len(tables) == 2
    for path in tables:
        table = json.loads(path.read_text())
        assert (table["version"], table["status"]) == ("1.0", "completed")
        devices = [d for s in table["server_list"] for d in s["device"]]
        by_rank = {d["rank_id"]: d["device_ip"] for d in devices}
        # By the numbers of the pods, not by their place in the platform's list.
        assert by_rank == {"0": "192.1.0.1", "1": "192.1.0.2", "2": "192.1.1.1", "3": "192.1.1.2"}
    assert object_store.keys("out/metrics.jsonl")
    assert not [r for r in proxy.seen if "out%2Flogs" in r.url]  # only rank 0 saves anything


def test_a_complete_table_is_taken_as_it_is(box: Container, tmp_path: Path) -> None:
    text = group_list(pods=1)
    (tmp_path / "m.json").write_text(text)
    from rank_tables import load

    mine = tmp_path / "mine.json"
    mine.write_text(load(tmp_path / "m.json").to_json())
    code, _, err = box.run(*CONFIG, **card_variables(1, 2, 2, mine))
    assert code == 0, err
    assert box.noted("1")["variables"]["RANK_TABLE_FILE"] == str(mine)


@pytest.mark.parametrize(
    ("size", "status", "text"),
    [
        ("2", "completed", "has 4 ranks, but RANK_SIZE is 2"),
        ("4", "initializing", "jobstart_hccl.json"),
    ],
)
def test_a_table_that_cannot_be_right(
    size: str, status: str, text: str, box: Container, tmp_path: Path
) -> None:
    (tmp_path / "jobstart_hccl.json").write_text(group_list(status))
    given = card_variables(0, 4, 2, tmp_path) | {"RANK_SIZE": size}
    code, _, err = box.run(*CONFIG, **given, MTLN_PLATFORM_SECONDS="0")
    assert code == 2
    assert err.startswith(f"error: {tmp_path}/") and text in err
    assert all(line.startswith("error: ") for line in err.splitlines())
    assert not list(box.notes.iterdir())


def test_every_card_fails_as_the_copier_fails(
    recorder: Path, tmp_path: Path, object_store: ObjectStore
) -> None:
    box = Container(tmp_path / "box", recorder)
    url = object_store.url("nothing here")
    processes = [
        box.start(
            *CONFIG, "--data_url", url,
            **card_variables(rank, 3, 3, tmp_path), **object_store.variables,
        )
        for rank in range(3)
    ]  # fmt: skip
    for process in processes:
        assert end_of(process) == (2, "", f"error: {url}: there is nothing\n")
    assert not list(box.notes.iterdir())


# --- one copy per node, in detail ----------------------------------------------------------------

_STAGE = """\
import os, sys, time
from pathlib import Path
from launch.cloud.staging import StagingFailed, stage
name, local_dir, seconds, how = sys.argv[1:]
notes = Path(local_dir) / "notes"
def copy(folder):
    (notes / f"{name}-copies").write_text(str(os.getpid()))
    while how == "slow" and not (notes / "go").exists():
        time.sleep(0.02)
    (folder / "data").write_text(name)
    return (7, "no such luck") if how == "fail" or (notes / "fail").exists() else (0, "")
(notes / f"{name}-asks").write_text("")
try:
    print(stage("obs://bucket/x", Path(local_dir), float(seconds), copy) / "data")
except StagingFailed as error:
    sys.exit(f"{error.code} {error}")
"""


@pytest.fixture
def staging(tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts processes that stage the same thing; returns when one has asked or copies."""
    (tmp_path / "notes").mkdir()

    def start(
        name: str, how: str = "slow", seconds: float = 300, until: str = "asks"
    ) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", _STAGE, name, str(tmp_path), str(seconds), how],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        await_that((tmp_path / "notes" / f"{name}-{until}").exists, process)
        return process

    return start


Staging = Callable[..., "subprocess.Popen[str]"]


def copiers(tmp_path: Path) -> set[str]:
    return {path.name.split("-")[0] for path in (tmp_path / "notes").glob("*-copies")}


@pytest.mark.parametrize("outcome", ["go", "fail"])
def test_who_waits_takes_the_outcome(outcome: str, staging: Staging, tmp_path: Path) -> None:
    first = staging("first", until="copies")
    others = [staging("second"), staging("third")]
    time.sleep(0.5)  # for them to come from asking to waiting
    if outcome == "fail":
        (tmp_path / "notes/fail").touch()
    (tmp_path / "notes/go").touch()
    ends = [end_of(process) for process in (first, *others)]
    if outcome == "fail":
        assert [(code, err) for code, _, err in ends] == [(1, "7 no such luck\n")] * 3
    else:
        assert [code for code, _, _ in ends] == [0] * 3
        assert {Path(out.strip()).read_text() for _, out, _ in ends} == {"first"}
    assert copiers(tmp_path) == {"first"}


def test_a_copier_that_is_killed_is_replaced(staging: Staging, tmp_path: Path) -> None:
    first = staging("first", until="copies")
    second = staging("second")
    first.kill()
    (tmp_path / "notes/go").touch()
    code, out, _ = end_of(second)
    assert code == 0 and Path(out.strip()).read_text() == "second"
    first.communicate()


def test_no_one_waits_for_ever(staging: Staging, tmp_path: Path) -> None:
    first = staging("first", until="copies")
    code, _, err = end_of(staging("second", seconds=0.5))
    assert code == 1
    assert "obs://bucket/x: another process of this node is still copying it" in err
    (tmp_path / "notes/go").touch()
    assert end_of(first)[0] == 0


def test_an_earlier_outcome_does_not_count(staging: Staging, tmp_path: Path) -> None:
    """A failure may have been cured since, and the data may have changed."""
    assert end_of(staging("first", "fail"))[0] == 1
    assert end_of(staging("second", "quick"))[0] == 0
    assert end_of(staging("third", "quick"))[0] == 0
    assert copiers(tmp_path) == {"first", "second", "third"}


# --- results -------------------------------------------------------------------------------------


def test_results_are_saved_after_a_failure_too(box: Container, object_store: ObjectStore) -> None:
    code, _, err = box.run(
        *CONFIG, "--train_url", object_store.url("out"), f"run_dir={box.cache}/run",
        **object_store.variables, TEST_EXIT="7",
    )  # fmt: skip
    assert code == 7, err
    assert object_store.keys() == ["out/logs/launcher", "out/metrics.jsonl"]


def test_a_signal_reaches_the_training_and_what_it_leaves_is_saved(
    box: Container, object_store: ObjectStore
) -> None:
    process = box.start(
        *CONFIG, "--train_url", object_store.url("out"), f"run_dir={box.cache}/run",
        **object_store.variables, TEST_HANG="1",
    )  # fmt: skip
    await_that((box.cache / "run/metrics.jsonl").exists, process)
    process.send_signal(signal.SIGTERM)
    code, _, err = end_of(process)
    assert code == 128 + signal.SIGTERM, err
    assert object_store.get("out/stopped") == b"15"


def test_the_run_folder_is_saved_while_it_grows(box: Container, object_store: ObjectStore) -> None:
    process = box.start(
        *CONFIG, "--train_url", object_store.url("out"), f"run_dir={box.cache}/run",
        *("--upload_every", "0.5"), **object_store.variables, TEST_HANG="1",
    )  # fmt: skip
    await_that(lambda: bool(object_store.keys("out/metrics.jsonl")), process)
    process.kill()
    process.communicate()
    # Nothing outlives it.
    training = Path(f"/proc/{box.noted('launcher')['pid']}/cmdline")
    deadline = time.monotonic() + 60
    while training.exists() and b"-m" in training.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_results_that_cannot_be_saved_are_told(box: Container, object_store: ObjectStore) -> None:
    with proxy_before(object_store.endpoint) as proxy:
        proxy.only = "PUT"
        proxy.faults.extend([403] * 50)
        given = {**object_store.variables, "AWS_ENDPOINT_URL": proxy.endpoint}
        code, _, err = box.run(
            *CONFIG, "--train_url", object_store.url("out"), f"run_dir={box.cache}/run", **given
        )
    assert code == 1
    denied, told = err.splitlines()
    assert denied.startswith("error: ") and "access denied" in denied
    url = object_store.url("out")
    assert told == f"error: the results are not all in {url}; they are in {box.cache}/run"
    assert SECRET not in err


def test_of_other_nodes_only_the_logs_are_saved(box: Container, object_store: ObjectStore) -> None:
    run = box.cache / "run"
    (run / "logs/attempt_0").mkdir(parents=True)
    (run / "logs/attempt_0/worker_8.log").write_text("log")
    code, _, err = box.run(
        *CONFIG, "--train_url", object_store.url("out"), f"run_dir={run}",
        **object_store.variables, **node_variables(1, 2, 8),
    )  # fmt: skip
    assert code == 0, err
    assert object_store.keys() == ["out/logs/attempt_0/worker_8.log", "out/logs/launcher"]


def test_a_folder_as_train_url_is_the_run_folder(box: Container, tmp_path: Path) -> None:
    """Where the platform itself brings it away, it is to grow there."""
    code, _, err = box.run(*CONFIG, f"--train_url={tmp_path / 'out'}")
    assert code == 0, err
    assert (tmp_path / "out/metrics.jsonl").exists()
    code, _, err = box.run(*CONFIG, f"--train_url={tmp_path / 'out'}", "--run_dir=x")
    assert code == 2
    assert err == "error: --train_url is a folder, so it is the run folder: leave out run_dir=\n"


# --- arguments and variables ---------------------------------------------------------------------


def test_arguments_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").touch()
    words = "--data_url obs://b/x --train_url= --a.b=1 --c.d -2 e.f=3 --grace=5 --dry-run"
    request = arguments.parse([*words.split(), "--config=c.yaml"], tmp_path, "/fast")
    assert request
    assert request.config == tmp_path / "c.yaml"
    assert request.settings == ["a.b=1", "c.d=-2", "e.f=3"]
    assert request.options == ["--grace", "5"]
    assert (request.data_url, request.train_url) == ("obs://b/x", None)
    assert request.dry_run and request.local_dir == Path("/fast/mtln")
    assert arguments.parse(["--help"], tmp_path, None) is None


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "no configuration file given: --config CONFIG"),
        (["--config", "no.yaml"], "configuration file no.yaml does not exist, neither here nor in"),
        (["--config"], "--config needs a value"),
        (["--model.depth", "--config=c.yaml"], "--model.depth needs a value"),
        (["--config=c.yaml", "--stage_timeout=x"], "--stage_timeout must be a number of seconds"),
    ],
)
def test_wrong_arguments(words: list[str], text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").touch()
    with pytest.raises(UserError, match=re.escape(text)):
        arguments.parse(words, tmp_path, None)


def test_an_unknown_name_is_one_line_of_the_training_program(
    tmp_path: Path, object_store: ObjectStore
) -> None:
    code, _, err = Container(tmp_path / "box").run(
        "--config", "configs/quickstart.yaml", "--modle.depth=16", "--nproc=1",
        f"--run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert code == 2
    [line] = err.splitlines()
    assert line.startswith("error: command line: modle: unknown key (allowed here: seed, device")


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({}, Node(0, 1, None, "")),
        (
            {"MA_NUM_HOSTS": "2", "VC_TASK_INDEX": "1", "VC_WORKER_HOSTS": "a, b"},
            Node(1, 2, None, "a"),
        ),
        ({"RANK_ID": "0", "RANK_SIZE": "1", "RANK_TABLE_FILE": "/user"}, Card(0, 1, 0, None)),
        (
            {"MS_ROLE": "MS_WORKER", "MS_NODE_ID": "3", "MS_WORKER_NUM": "8", "DEVICE_ID": "3"},
            Card(3, 8, 3, None),
        ),
        ({"MS_ROLE": "MS_SCHED", "MS_WORKER_NUM": "8"}, Card(-1, 8, 0, None)),
    ],
)
def test_places(given: dict[str, str], place: Node | Card) -> None:
    assert container.identify(given) == place


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"MA_NUM_HOSTS": "2", "VC_TASK_INDEX": "2"}, "VC_TASK_INDEX is 2, but MA_NUM_HOSTS is 2"),
        ({"MA_NUM_HOSTS": "2"}, "MA_NUM_HOSTS is 2, but VC_WORKER_HOSTS names no host"),
        ({"MA_NUM_HOSTS": "two"}, "MA_NUM_HOSTS must be a whole number, not 'two'"),
        ({"RANK_ID": "8", "RANK_SIZE": "8"}, "RANK_ID is 8, but RANK_SIZE is 8"),
        ({"RANK_ID": "1"}, "RANK_SIZE must be set"),
        ({"RANK_ID": "1", "RANK_SIZE": "8"}, "RANK_ID is 1 of 8 ranks, but RANK_TABLE_FILE is not"),
        (
            {"RANK_ID": "1", "RANK_SIZE": "8", "RANK_TABLE_FILE": "/x"},
            "DEVICE_ID or ASCEND_DEVICE_ID must be set",
        ),
    ],
)
def test_variables_that_contradict_each_other(given: dict[str, str], text: str) -> None:
    with pytest.raises(UserError, match=re.escape(text)):
        container.identify(given)


def test_the_launcher_part_loads_nothing_heavy() -> None:
    """Neither MindSpore nor the storage clients: a process per card would pay for them."""
    script = """
        import sys
        import launch.cloud.__main__
        heavy = {"mindspore", "numpy", "s3fs", "aiohttp", "botocore", "train", "tools"}
        print(sorted(heavy & set(sys.modules)))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout == "[]\n"
