"""python -m rank_tables: what validate and show print, exit codes, the ready tables."""

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rank_tables import load
from rank_tables.generate import table_of_server
from rank_tables.merge import merge
from rank_tables.parse import parse
from tests.paths import ROOT

Tree = dict[str, Any]
Run = Callable[..., subprocess.CompletedProcess[str]]
Save = Callable[..., Path]
Table = Callable[[Sequence[int]], Tree]

READY = ROOT / "rank_tables"


def test_validate_tells_all_of_all_files(run: Run, save: Save, table: Table) -> None:
    save(table([8]), "good.json")
    bad = table([1])
    bad["server_count"] = 1
    bad["server_list"][0]["device"][0]["rank_id"] = "1"
    save(bad, "bad.json")
    done = run("validate", "bad.json", "good.json")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (
        "bad.json: not valid, 2 violations\n"
        '  server_count: 1 is a number, and HCCL reads strings only -> write "1"\n'
        "  server_list[0].device[0].rank_id: rank 1 of a table of 1 devices -> "
        "number the 1 devices 0 to 0: 0 is missing\n"
        "good.json: valid, version 1.0, 1 server, 8 ranks\n"
    )
    done = run("validate", "nowhere.json", "good.json")
    assert (done.returncode, done.stderr) == (2, "error: nowhere.json: no such file\n")
    assert done.stdout.startswith("good.json: valid")


def test_validate_takes_every_form(
    run: Run,
    save: Save,
    table: Table,
    job: Callable[..., Tree],
    ranks: Callable[[int], Tree],
) -> None:
    save(job(["job-0", "job-1"]), "m.json")
    save({**table([2]), "version": "1.2"}, "pod.json")
    save(ranks(4), "ranks.json")
    done = run("validate", "m.json", "pod.json", "ranks.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "m.json: valid, version 1.0, 2 servers, 4 ranks, converted from ModelArts' form",
        "pod.json: valid, version 1.2, 1 server, 2 ranks",
        "ranks.json: valid, version 2.0, 2 servers, 4 ranks",
    ]


def test_show(run: Run, save: Save, table: Table) -> None:
    tree = table([1, 2])
    tree["server_list"][1]["server_id"] = "[red]rack[/red]"
    save(tree)
    done = run("show", "table.json")
    assert (done.returncode, done.stderr) == (0, "")
    title, *rows = done.stdout.splitlines()
    assert title == "table.json: version 1.0, 2 servers, 3 ranks"
    cells = [[cell.strip() for cell in row.split("│")[1:-1]] for row in rows if "│" in row]
    assert cells == [
        ["0", "node_0", "0", "10.1.0.1"],
        ["1", "[red]rack[/red]", "0", "10.1.1.1"],
        ["2", "", "1", "10.1.1.2"],
    ]


def test_show_other_forms(
    run: Run, save: Save, job: Callable[..., Tree], ranks: Callable[[int], Tree]
) -> None:
    save(ranks(2), "ranks.json")
    shown = run("show", "ranks.json").stdout
    assert "network" in shown and "rack0" in shown and "10.1.0.2" in shown
    save(job(["job-0"]), "m.json")
    assert "converted from ModelArts' form" in run("show", "m.json").stdout
    save({**job(["job-0"]), "group_count": "3"}, "m.json")
    done = run("show", "m.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: m.json: not a valid rank table\n  group_count: 3")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "COMMAND"),
        (["check"], "'check'"),
        (["validate"], "FILE"),
        (["merge"], "FILE"),
        (["show"], "PATH"),
        (["show", "a.json", "--fast"], "--fast"),
    ],
)
def test_wrong_commands_end_in_one_line(run: Run, arguments: list[str], expected: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert expected in done.stderr and "--help" in done.stderr


def test_help_names_every_command(run: Run) -> None:
    text = run("--help").stdout
    for command in ("generate", "validate", "merge", "convert", "show"):
        assert command in text
        assert run(command, "--help").returncode == 0


def ready(network: str, number: int) -> list[str]:
    return [f"{network}.{101 + index}" for index in range(number)]


@pytest.mark.parametrize("number", [1, 2, 4, 8])
def test_ready_tables_are_what_generate_makes(run: Run, number: int, tmp_path: Path) -> None:
    addresses = ",".join(ready("198.51.100", number))
    run("generate", "--server-id", "192.0.2.1", "--device-ips", addresses, "--out", "p.json")
    assert (tmp_path / "p.json").read_text() == (READY / f"{number}p.json").read_text()


def test_the_ready_table_of_two_servers_is_what_merge_makes() -> None:
    tables = [
        parse(Path("table.json"), table_of_server(server, list(range(8)), ready(network, 8)))
        for server, network in (("192.0.2.2", "203.0.113"), ("192.0.2.1", "198.51.100"))
    ]
    assert merge(tables) == (READY / "2x8p.json").read_text()


def test_the_modelarts_sample() -> None:
    table = load(READY / "modelarts")
    assert table.converted
    assert [server.server_id for server in table.servers] == ["192.0.2.2", "192.0.2.1"]
    assert [device.rank_id for device in table.devices] == list(range(16))


def test_ready_tables_are_valid_and_marked_as_templates(run: Run) -> None:
    files = sorted(READY.glob("*.json"))
    assert len(files) == 5
    done = run("validate", *files, READY / "modelarts")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(": valid, version 1.0") == 6
    assert done.stdout.count("addresses of the ready tables") == 5
    assert json.loads((READY / "8p.json").read_text())["status"] == "completed"
