"""load and the classes that the launcher uses."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rank_tables import Device, RankTable, RankTableError, Server, load
from tests.paths import ROOT

Tree = dict[str, Any]
Save = Callable[..., Path]
Table = Callable[[Sequence[int]], Tree]


def test_version_1_0(save: Save, table: Table) -> None:
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


def test_devices_and_servers_are_in_rank_order(save: Save, table: Table) -> None:
    tree = table([2, 2])
    tree["server_list"].reverse()
    tree["server_list"][0]["device"].reverse()
    loaded = load(save(tree))
    assert [device.rank_id for device in loaded.devices] == [0, 1, 2, 3]
    assert [server.server_id for server in loaded.servers] == ["node_0", "node_1"]
    assert [device.rank_id for device in loaded.servers[1].devices] == [2, 3]


def test_nothing_is_lost_from_a_table_that_is_passed_on(save: Save, table: Table) -> None:
    tree = table([1])
    tree["server_list"][0]["device"][0]["device_port"] = "16667"
    assert load(save(tree)).to_json() == json.dumps(tree)


def test_a_converted_table_reads_back(save: Save, job: Callable[..., Tree], tmp_path: Path) -> None:
    converted = load(save(job(["job-1", "job-0"])))
    assert (converted.version, converted.converted) == ("1.0", True)
    (tmp_path / "version_1.json").write_text(converted.to_json())
    again = load(tmp_path / "version_1.json")
    assert (again.servers, again.converted) == (converted.servers, False)


def test_devices_without_address(save: Save, table: Table) -> None:
    tree = table([2])
    first, second = tree["server_list"][0]["device"]
    del first["device_ip"]
    second["device_ip"] = ""
    loaded = load(save(tree))
    assert [device.device_ip for device in loaded.devices] == [None, None]
    made = RankTable("1.0", loaded.servers, loaded.source, converted=True).to_json()
    assert "device_ip" not in made and load(save(json.loads(made))).servers == loaded.servers


def test_version_1_2(save: Save, table: Table) -> None:
    tree = {**table([2]), "version": "1.2"}
    loaded = load(save(tree))
    assert (loaded.version, len(loaded.devices)) == ("1.2", 2)
    assert json.loads(loaded.to_json())["version"] == "1.2"


def test_version_2_0(save: Save, ranks: Callable[[int], Tree]) -> None:
    tree = ranks(4)
    tree["rank_list"][3]["level_list"][0]["rank_addr_list"][0] = {"addr_type": "EID", "addr": "0a"}
    loaded = load(save(tree))
    assert loaded.version == "2.0"
    assert loaded.servers == (
        Server("rack0", (Device(0, 0, "10.1.0.1"), Device(1, 1, "10.1.0.2"))),
        Server("rack1", (Device(0, 2, "10.1.0.3"), Device(1, 3, None))),
    )
    assert json.loads(loaded.to_json()) == tree


def test_which_file_of_a_folder(save: Save, table: Table, tmp_path: Path) -> None:
    with pytest.raises(RankTableError, match=f"^{tmp_path}: this folder holds no rank table"):
        load(tmp_path)
    only = save(table([1]), "only.json")
    assert load(tmp_path).source == only
    save(table([1]), "second.json")
    with pytest.raises(RankTableError, match=r"holds 2 \.json files \(only.json, second.json\)"):
        load(tmp_path)
    named = save(table([1]), "jobstart_hccl.json")
    assert load(tmp_path).source == named


def test_the_error_names_the_file_and_has_a_line_per_violation(save: Save, table: Table) -> None:
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


def test_a_byte_order_mark_does_no_harm(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table([1])), encoding="utf-8-sig")
    assert len(load(path).devices) == 1


def test_importing_it_needs_the_standard_library_only() -> None:
    script = (
        "import sys; before = set(sys.modules); import rank_tables; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    root = ROOT
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    names = set(done.stdout.split()) - {"rank_tables"}
    assert names <= sys.stdlib_module_names
    assert not names & {"argparse", "asyncio", "subprocess", "socket"}
