"""The boot file in simulated containers, where launcher and ranks only note what they are given."""

import re
import time
from pathlib import Path

import pytest

from tests.launch.modelarts_job.containers import (
    Container,
    card_variables,
    end_of,
    group_list,
    node_variables,
    other_at,
    project_copy,
)
from tests.object_store import ObjectStore

CONFIG = ("--config", "configs/job.yaml")


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project_copy(tmp_path_factory.mktemp("project"), "launch", "train")


@pytest.fixture
def box(tmp_path: Path, recorder: Path) -> Container:
    """A container whose launcher and training program only note what they are given."""
    return Container(tmp_path / "box", recorder)


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


def test_every_card_gets_a_launcher(
    recorder: Path, tmp_path: Path, object_store: ObjectStore
) -> None:
    """Two nodes of two cards; the rank table is a folder and is completed after the start."""
    config = tmp_path / "user/config"
    config.mkdir(parents=True)
    (config / "jobstart_hccl.json").write_text(group_list("initializing"))
    data, out = object_store.url("data"), object_store.url("out")
    nodes = [Container(tmp_path / f"node{i}", recorder) for i in range(2)]
    processes = [
        nodes[rank // 2].start(
            *(*CONFIG, "--data_url", data, "--train_url", out, "--max_restarts", "2"),
            **card_variables(rank, 4, 2, config),
            **object_store.variables,
        )
        for rank in range(4)
    ]
    time.sleep(1)  # most of them have come to wait; the order does not matter
    assert not [note for node in nodes for note in node.notes.iterdir()]
    new = config / "new"
    new.write_text(group_list())
    new.rename(config / "jobstart_hccl.json")
    ends = [end_of(process) for process in processes]
    assert [(code, err) for code, _, err in ends] == [(0, "")] * 4
    for rank in range(4):
        node = nodes[rank // 2]
        noted = node.noted(str(rank))
        given = noted["variables"]
        assert (given["RANK_ID"], given["RANK_SIZE"]) == (str(rank), "4")
        assert given["RANK_TABLE_FILE"] == str(config)
        assert given["MTLN_STORAGE_CACHE"] == f"{node.cache}/mtln"
        assert noted["arguments"][1:] == [
            *(f'data_root="{data}"', f"run_dir={out}", "--require-upload"),
            *("--max-restarts", "2", "--node-timeout", "1800"),
        ]


def test_a_table_that_is_never_completed(box: Container, tmp_path: Path) -> None:
    (tmp_path / "jobstart_hccl.json").write_text(group_list("initializing"))
    given = card_variables(0, 4, 2, tmp_path)
    code, _, err = box.run(*CONFIG, **given, MTLN_PLATFORM_SECONDS="0")
    assert code == 2
    assert err.startswith(f"error: {tmp_path}/jobstart_hccl.json") and "not filled in" in err
    # What is wrong in the table stands indented below the line that names it.
    assert all(line.startswith(("error: ", "  ")) for line in err.splitlines())
    assert not list(box.notes.iterdir())


# --- where data and results are ------------------------------------------------------------------


def test_a_folder_as_train_url_is_the_run_folder(box: Container, tmp_path: Path) -> None:
    """Where the platform itself brings it away, it is to grow there."""
    code, _, err = box.run(*CONFIG, f"--train_url={tmp_path / 'out'}")
    assert code == 0, err
    assert (tmp_path / "out/metrics.jsonl").exists()
    code, _, err = box.run(*CONFIG, f"--train_url={tmp_path / 'out'}", "--run_dir=x")
    assert code == 2
    assert err == "error: --train_url is a folder, so it is the run folder: leave out run_dir=\n"


def test_addresses_of_object_storage_become_settings(box: Container) -> None:
    places = ("--data_url", "obs://b-1/ü", "--train_url", "obs://b-1/out/", "--run_dir=x")
    limits = ("--local_dir", "/fast", "--stage_timeout=60", "--upload_every", "0")
    code, _, err = box.run(*CONFIG, *places, *limits)
    assert (code, err) == (0, "run_dir=x is left out: --train_url is the run folder\n")
    noted = box.noted("launcher")
    assert noted["arguments"][1:] == [
        *('storage.cache="/fast"', "storage.wait_seconds=60.0"),
        *("storage.upload_every=1000000000.0", 'data_root="obs://b-1/ü"'),
        *("run_dir=obs://b-1/out/", "--require-upload"),
    ]
    assert noted["variables"]["MTLN_STORAGE_CACHE"] == "/fast"


def test_an_unknown_name_is_one_line_of_the_training_program(
    tmp_path: Path, object_store: ObjectStore
) -> None:
    code, _, err = Container(tmp_path / "box").run(
        "--config", "configs/quickstart.yaml", "--modle.depth=16", "--nproc=1",
        f"--run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert code == 2
    [line] = err.splitlines()
    assert line.startswith("error: command line: modle: unknown key: did you mean model? (all keys")
