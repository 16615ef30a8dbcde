"""convert: ModelArts' description of a job, also one that is only being written."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rank_tables import RankTableError, load

Tree = dict[str, Any]
Run = Callable[..., subprocess.CompletedProcess[str]]
Save = Callable[..., Path]
Table = Callable[[Sequence[int]], Tree]
Job = Callable[..., Tree]


def test_ranks_follow_the_numbers_of_the_pods(run: Run, save: Save, job: Job) -> None:
    numbers = [11, 3, 10, 0, 2, 1, 4, 9, 8, 7, 6, 5]
    save(job([f"job94dc1-trainjob-{number}" for number in numbers]), "jobstart_hccl.json")
    done = run("convert", "jobstart_hccl.json")
    assert (done.returncode, done.stderr) == (0, "")
    tree = json.loads(done.stdout)
    assert (tree["version"], tree["status"], tree["server_count"]) == ("1.0", "completed", "12")
    order = [int(server["server_id"].split(".")[3]) - 1 for server in tree["server_list"]]
    assert [numbers[index] for index in order] == list(range(12))
    ranks = [d["rank_id"] for server in tree["server_list"] for d in server["device"]]
    assert ranks == [str(rank) for rank in range(24)]


def test_the_folder_that_holds_it_and_a_file_to_write(
    run: Run, save: Save, job: Job, tmp_path: Path
) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "other.json").write_text("{}")
    (folder / "jobstart_hccl.json").write_text(json.dumps(job(["job-0"], size=8)))
    done = run("convert", folder, "--out", "table.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "table.json: version 1.0, 1 server, 8 ranks\n"
    table = load(tmp_path / "table.json")
    assert not table.converted
    assert table.servers == load(folder).servers


def test_content_counts_and_not_the_name(run: Run, save: Save, table: Table, job: Job) -> None:
    text = save(table([2]), "jobstart_hccl.json").read_text()
    done = run("convert", "jobstart_hccl.json")
    assert (done.returncode, done.stdout) == (0, text)
    assert "a version 1.0 table already: passed on as it is" in done.stderr
    save(job(["job-0"]), "my_table.json")
    assert '"version": "1.0"' in run("convert", "my_table.json").stdout


def test_several_pods_on_one_server_become_one(save: Save, job: Job) -> None:
    tree = job(["job-1", "job-0"])
    first, second = tree["group_list"][0]["instance_list"]
    second["server_id"] = first["server_id"]
    for number, device in zip("45", second["devices"], strict=True):
        device["device_id"] = number
    (server,) = load(save(tree)).servers
    assert [(d.device_id, d.rank_id) for d in server.devices] == [(4, 0), (5, 1), (0, 2), (1, 3)]


def test_groups_without_devices_are_left_out(save: Save, job: Job) -> None:
    tree = job(["job-0"])
    tree["group_count"] = "2"
    tree["group_list"].insert(0, {"group_name": "ps", "device_count": "0", "instance_list": []})
    assert len(load(save(tree)).devices) == 2


def test_an_unfinished_table_is_not_waited_for_unless_asked(run: Run, save: Save, job: Job) -> None:
    path = save({**job(["job-0"]), "status": "initializing"}, "jobstart_hccl.json")
    for wait in ((), ("--wait", "1")):
        done = run("convert", path, *wait)
        assert (done.returncode, done.stdout) == (2, "")
        assert 'status: "initializing"' in done.stderr and "--wait SECONDS" in done.stderr
    done = run("convert", path, "--wait", "soon")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "--wait" in done.stderr
    done = run("convert", path, "--wait", "-1")
    assert done.returncode == 2 and "--wait" in done.stderr


@pytest.fixture
def job_manager(tmp_path: Path, job: Job) -> Iterator[Path]:
    """A process that writes a table bit by bit, as a job manager does; gives its folder."""
    folder = tmp_path / "config"
    whole = json.dumps(job(["job-0", "job-1"]))
    script = f"""
        import time, pathlib
        folder = pathlib.Path({str(folder)!r})
        whole = {whole!r}
        file = folder / "jobstart_hccl.json"
        time.sleep(0.7)
        folder.mkdir()
        time.sleep(0.7)
        file.write_text("")
        time.sleep(0.7)
        file.write_text('{{"status": "initializing", "group_count": "1"}}')
        time.sleep(0.7)
        file.write_text(whole[:100])
        time.sleep(0.7)
        file.write_text(whole)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    yield folder
    process.wait(timeout=120)


def test_waits_until_the_table_is_there_and_completed(job_manager: Path) -> None:
    table = load(job_manager, wait_seconds=120)
    assert [device.rank_id for device in table.devices] == [0, 1, 2, 3]


def test_waiting_ends(tmp_path: Path, save: Save, job: Job) -> None:
    with pytest.raises(RankTableError, match="no such file"):
        load(tmp_path / "never.json", wait_seconds=1.2)
    path = save({**job(["job-0"]), "status": "initializing"})
    with pytest.raises(RankTableError, match="initializing"):
        load(path, wait_seconds=1.2)


@pytest.mark.timeout(120)
def test_a_table_that_is_finished_and_wrong_is_not_waited_for(save: Save, job: Job) -> None:
    # It would take longer than a test may.
    with pytest.raises(RankTableError, match="group_count"):
        load(save({**job(["job-0"]), "group_count": "2"}), wait_seconds=100_000)
