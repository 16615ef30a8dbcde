"""merge: joins the tables of servers, in any order, and refuses what does not fit together."""

import json
from collections.abc import Sequence
from pathlib import Path

from rank_tables import load
from tests.rank_tables.tables import Run, Save, Tree, job, only_error, table


def of_server(name: str, addresses: Sequence[str], **more: str) -> Tree:
    devices = [
        {"device_id": str(index), "device_ip": ip, "rank_id": str(index), "device_port": "16667"}
        for index, ip in enumerate(addresses)
    ]
    server = {"server_id": name, **more, "device": devices}
    return {"version": "1.0", "server_count": "1", "server_list": [server], "status": "completed"}


def refused(run: Run, folder: Path, *files: str) -> str:
    error = only_error(run("merge", *files, "--out", "all.json"))
    assert not (folder / "all.json").exists()
    return error


def test_sorted_and_renumbered_whatever_the_order(run: Run, save: Save, tmp_path: Path) -> None:
    save(of_server("10.0.0.2", ["10.1.2.1", "10.1.2.2"]), "b.json")
    save(of_server("10.0.0.1", ["10.1.1.1"]), "a.json")
    save(of_server("10.0.0.10", ["10.1.9.1", "10.1.9.2"], host_ip="10.0.0.10"), "c.json")
    done = run("merge", "b.json", "c.json", "a.json", "--out", "all.json")
    assert (done.returncode, done.stdout) == (0, "all.json: version 1.0, 3 servers, 5 ranks\n")
    servers = load(tmp_path / "all.json").servers
    assert [server.server_id for server in servers] == ["10.0.0.1", "10.0.0.10", "10.0.0.2"]
    assert [d.rank_id for server in servers for d in server.devices] == [0, 1, 2, 3, 4]
    # What the rules allow on servers and devices is not lost.
    tree = json.loads((tmp_path / "all.json").read_text())
    assert tree["server_list"][1]["host_ip"] == "10.0.0.10"
    assert tree["server_list"][2]["device"][1]["device_port"] == "16667"
    assert run("merge", "a.json", "b.json", "c.json").stdout == (tmp_path / "all.json").read_text()


def test_the_order_of_the_ranks_on_a_server_stays(run: Run, save: Save) -> None:
    tree = of_server("a", ["10.1.1.1", "10.1.1.2"])
    first, second = tree["server_list"][0]["device"]
    first["rank_id"], second["rank_id"] = "1", "0"
    save(tree)
    (server,) = json.loads(run("merge", "table.json").stdout)["server_list"]
    assert [d["device_ip"] for d in server["device"]] == ["10.1.1.2", "10.1.1.1"]


def test_servers_and_addresses_given_twice(run: Run, save: Save, tmp_path: Path) -> None:
    save(of_server("a", ["10.1.1.1", "10.1.1.2"]), "a.json")
    save(of_server("a", ["10.1.1.3"]), "b.json")
    save(of_server("c", ["10.1.1.2"]), "c.json")
    error = refused(run, tmp_path, "a.json", "b.json")
    assert "b.json: server a again, as in a.json" in error and "--server-id" in error
    assert error.count("\n") == 1
    error = refused(run, tmp_path, "a.json", "c.json")
    assert "c.json: device_ip 10.1.1.2 of server c is in a.json too" in error
    refused(run, tmp_path, "a.json", "a.json")


def test_the_same_address_written_differently(run: Run, save: Save, tmp_path: Path) -> None:
    save(of_server("a", ["2001:0:1::a"]), "a.json")
    save(of_server("b", ["2001:0:1:0::A"]), "b.json")
    assert "2001:0:1::a of server b is in a.json too" in refused(run, tmp_path, "a.json", "b.json")


def test_families_and_missing_addresses(run: Run, save: Save, tmp_path: Path) -> None:
    save(of_server("a", ["10.1.1.1"]), "a.json")
    save(of_server("b", ["2001:0:1::a"]), "b.json")
    bare = of_server("c", ["10.1.1.3"])
    del bare["server_list"][0]["device"][0]["device_ip"]
    save(bare, "c.json")
    error = refused(run, tmp_path, "a.json", "b.json")
    assert "b.json: IPv6 addresses, but those in a.json are IPv4" in error
    assert run("validate", "c.json").returncode == 0  # enough for one server, not for two
    error = refused(run, tmp_path, "a.json", "c.json")
    assert "the merged table would not be valid" in error
    assert "server_list[1].device[0].device_ip: missing" in error


def test_only_valid_tables_of_version_1_0(run: Run, save: Save, tmp_path: Path) -> None:
    save(job(["job-0"]), "modelarts.json")
    save({**table([1]), "version": "1.2"}, "pod.json")
    save({**table([1]), "server_count": "2"}, "wrong.json")
    assert "convert it first" in refused(run, tmp_path, "modelarts.json")
    assert "version 1.2" in refused(run, tmp_path, "pod.json")
    error = refused(run, tmp_path, "wrong.json")
    assert error.startswith("error: wrong.json: not a valid rank table\n  server_count: 2, but")
    assert "no such file" in refused(run, tmp_path, "nowhere.json")
