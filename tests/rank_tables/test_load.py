"""load: the file, its JSON, waiting for it, and the classes that the launcher uses."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from rank_tables import Device, RankTable, RankTableError, Server, load
from rank_tables.load import check, parse
from tests.paths import ROOT
from tests.rank_tables.tables import Save, job, report, table


def test_version_1_0(save: Save) -> None:
    path = save(table([1, 2]))
    assert load(path) == RankTable(
        version="1.0",
        servers=(
            Server("node_0", (Device(0, 0, "10.1.0.1"),)),
            Server("node_1", (Device(0, 1, "10.1.1.1"), Device(1, 2, "10.1.1.2"))),
        ),
        source=path,
        converted=False,
    )


def test_devices_and_servers_are_in_rank_order(save: Save) -> None:
    tree = table([2, 2])
    tree["server_list"].reverse()
    tree["server_list"][0]["device"].reverse()
    loaded = load(save(tree))
    assert [device.rank_id for device in loaded.devices] == [0, 1, 2, 3]
    assert [server.server_id for server in loaded.servers] == ["node_0", "node_1"]
    assert [device.rank_id for device in loaded.servers[1].devices] == [2, 3]


def test_nothing_is_lost_from_a_table_that_is_passed_on(save: Save) -> None:
    tree = table([1])
    tree["server_list"][0]["device"][0]["device_port"] = "16667"
    assert load(save(tree)).to_json() == json.dumps(tree)


def test_devices_without_address(save: Save) -> None:
    tree = table([2])
    first, second = tree["server_list"][0]["device"]
    del first["device_ip"]
    second["device_ip"] = ""
    loaded = load(save(tree))
    assert [device.device_ip for device in loaded.devices] == [None, None]
    made = RankTable("1.0", loaded.servers, loaded.source, converted=True).to_json()
    assert "device_ip" not in made and load(save(json.loads(made))).servers == loaded.servers


def test_version_1_2(save: Save) -> None:
    tree = {**table([2]), "version": "1.2"}
    loaded = load(save(tree))
    assert (loaded.version, len(loaded.devices)) == ("1.2", 2)
    assert json.loads(loaded.to_json())["version"] == "1.2"


def test_which_file_of_a_folder(save: Save, tmp_path: Path) -> None:
    with pytest.raises(RankTableError, match=f"^{tmp_path}: this folder holds no rank table"):
        load(tmp_path)
    only = save(table([1]), "only.json")
    assert load(tmp_path).source == only
    save(table([1]), "second.json")
    with pytest.raises(RankTableError, match=r"holds 2 \.json files \(only.json, second.json\)"):
        load(tmp_path)
    named = save(table([1]), "jobstart_hccl.json")
    assert load(tmp_path).source == named


def test_the_error_names_the_file_and_has_a_line_per_violation(save: Save) -> None:
    tree = table([2])
    tree["server_count"] = "2"
    tree["server_list"][0]["device"][1]["device_ip"] = "10.1\n.0.1"
    path = save(tree)
    with pytest.raises(RankTableError) as caught:
        load(path)
    first, count, address = str(caught.value).splitlines()
    assert first == f"{path}: not a valid rank table"
    assert count.startswith("  server_count: 2, but server_list has 1 entry")
    assert address.startswith("  server_list[0].device[1].device_ip: ")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RankTableError, match=r"nowhere.json: no such file$"):
        load(tmp_path / "nowhere.json")
    (tmp_path / "file").touch()
    with pytest.raises(RankTableError, match=r"file/table\.json: cannot be read"):
        load(tmp_path / "file" / "table.json")
    (tmp_path / "latin.json").write_bytes(b'{"status": "compl\xe9t"}')
    with pytest.raises(RankTableError, match="not UTF-8"):
        load(tmp_path / "latin.json")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table([1])), encoding="utf-8-sig")
    assert len(load(path).devices) == 1


@pytest.mark.parametrize("name", ["table.txt", "table", ".json", "table.json5", "table.JSON"])
def test_the_file_name_ends_in_json(name: str) -> None:
    (violation,) = report(table([1]), name).violations
    assert violation.path == "file name" and name in violation.problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1, column 1: the file is empty"),
        ('{"version": "1.0",\n  "server_count"', "line 2, column 17: the JSON ends too early"),
        ('{\n  // all\n  "version": "1.0"}', "line 2, column 3: a comment"),
        ('{"a": [1,\n]}', "line 2, column 1: a comma before the closing ]"),
        ('{"a": "b"\n "c": 1}', "line 2, column 2: not JSON: Expecting ',' delimiter"),
        ('{"a": NaN}', "(top level): not JSON: NaN"),
        ('{"server_id": "\\ud83d"}', "(top level): not JSON: half a surrogate pair"),
        ("[" * 100_000, "(top level): not JSON: nested too deeply"),
        ('{"a": ' + "9" * 4000 + "}", "(top level): not JSON: a number of 4,000 digits"),
        ("[]", "(top level): a list where an object belongs"),
    ],
)
def test_what_is_no_json_object(text: str, expected: str) -> None:
    (violation,) = check(parse(Path("table.json"), text)).violations
    assert str(violation).startswith(expected)


def test_keys_that_stand_twice() -> None:
    text = json.dumps(table([1, 1])).replace('"rank_id": "1"', '"rank_id": "0", "rank_id": "1"')
    text = text.replace('"status"', '"status": "initializing", "status"')
    assert [v.path for v in check(parse(Path("table.json"), text)).violations] == [
        "status",
        "server_list[1].device[0].rank_id",
    ]


@pytest.fixture
def job_manager(tmp_path: Path) -> Iterator[Path]:
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


@pytest.mark.slow
def test_waits_until_the_table_is_there_and_completed(job_manager: Path) -> None:
    loaded = load(job_manager, wait_seconds=120)
    assert [device.rank_id for device in loaded.devices] == [0, 1, 2, 3]


def test_waiting_ends(tmp_path: Path, save: Save) -> None:
    with pytest.raises(RankTableError, match="no such file"):
        load(tmp_path / "never.json", wait_seconds=1.2)
    path = save({**job(["job-0"]), "status": "initializing"})
    with pytest.raises(RankTableError, match="initializing"):
        load(path, wait_seconds=1.2)


@pytest.mark.timeout(120)
def test_a_table_that_is_finished_and_wrong_is_not_waited_for(save: Save) -> None:
    # It would take longer than a test may.
    with pytest.raises(RankTableError, match="group_count"):
        load(save({**job(["job-0"]), "group_count": "2"}), wait_seconds=100_000)


def imported_with(module: str) -> set[str]:
    before = "import sys; before = set(sys.modules)"
    script = f"{before}; import {module}; print(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_commands_need_the_standard_library_only() -> None:
    names = {name.split(".")[0] for name in imported_with("rank_tables.__main__")}
    assert names - {"rank_tables", "train"} <= sys.stdlib_module_names


def test_the_launcher_gets_even_less_with_it() -> None:
    modules = imported_with("rank_tables")
    assert {name for name in modules if name.startswith("train")} == {"train", "train.errors"}
    names = {name.split(".")[0] for name in modules} - {"rank_tables", "train"}
    assert names <= sys.stdlib_module_names
    assert not names & {"argparse", "asyncio", "subprocess", "socket"}
