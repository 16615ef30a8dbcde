"""python -m rank_tables: what the commands print and write, exit codes, the ready tables."""

import json
from pathlib import Path

import pytest

from rank_tables import Device, load
from rank_tables.generate import table_of_server
from rank_tables.load import parse
from rank_tables.merge import merge
from tests.paths import ROOT
from tests.rank_tables.tables import Run, Save, job, one_line, only_error, printed, ranks, table

READY = ROOT / "rank_tables"


def test_validate_tells_all_of_all_files(run: Run, save: Save) -> None:
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


def test_validate_takes_every_form(run: Run, save: Save) -> None:
    save(job(["job-0", "job-1"]), "m.json")
    save({**table([2]), "version": "1.2"}, "pod.json")
    save(ranks(4), "ranks.json")
    assert printed(run("validate", "m.json", "pod.json", "ranks.json")).splitlines() == [
        "m.json: valid, version 1.0, 2 servers, 4 ranks, converted from ModelArts' form",
        "pod.json: valid, version 1.2, 1 server, 2 ranks",
        "ranks.json: valid, version 2.0, 2 servers, 4 ranks",
    ]


def test_show(run: Run, save: Save) -> None:
    tree = table([1, 2])
    tree["server_list"][1]["server_id"] = "[red]rack[/red]"
    save(tree)
    title, *rows = printed(run("show", "table.json")).splitlines()
    assert title == "table.json: version 1.0, 2 servers, 3 ranks"
    cells = [[cell.strip() for cell in row.split("│")[1:-1]] for row in rows if "│" in row]
    assert cells == [
        ["0", "node_0", "0", "10.1.0.1"],
        ["1", "[red]rack[/red]", "0", "10.1.1.1"],
        ["2", "", "1", "10.1.1.2"],
    ]


def test_show_other_forms(run: Run, save: Save) -> None:
    save(ranks(2), "ranks.json")
    shown = run("show", "ranks.json").stdout
    assert "network" in shown and "rack0" in shown and "10.1.0.2" in shown
    save(job(["job-0"]), "m.json")
    assert "converted from ModelArts' form" in run("show", "m.json").stdout
    save({**job(["job-0"]), "group_count": "3"}, "m.json")
    error = only_error(run("show", "m.json"))
    assert error.startswith("error: m.json: not a valid rank table\n  group_count: 3")


def test_convert_a_folder_to_a_file(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "other.json").write_text("{}")
    (folder / "jobstart_hccl.json").write_text(json.dumps(job(["job-0"], size=8)))
    text = printed(run("convert", folder, "--out", "table.json"))
    assert text == "table.json: version 1.0, 1 server, 8 ranks\n"
    written = load(tmp_path / "table.json")
    assert not written.converted
    assert written.servers == load(folder).servers


def test_convert_goes_by_the_content_and_not_the_name(run: Run, save: Save) -> None:
    text = save(table([2]), "jobstart_hccl.json").read_text()
    done = run("convert", "jobstart_hccl.json")
    assert (done.returncode, done.stdout) == (0, text)
    assert "a version 1.0 table already: passed on as it is" in done.stderr
    save(job(["job-0"]), "my_table.json")
    assert '"version": "1.0"' in run("convert", "my_table.json").stdout


def test_an_unfinished_table_is_not_waited_for_unless_asked(run: Run, save: Save) -> None:
    path = save({**job(["job-0"]), "status": "initializing"}, "jobstart_hccl.json")
    for wait in ((), ("--wait", "1")):
        error = only_error(run("convert", path, *wait))
        assert 'status: "initializing"' in error and "--wait SECONDS" in error
    assert "--wait" in one_line(run("convert", path, "--wait", "soon"))
    assert "--wait" in one_line(run("convert", path, "--wait", "-1"))


def test_a_file_that_is_there_already_is_replaced_in_one_go(run: Run, tmp_path: Path) -> None:
    # A reader that has it open, as the link here, sees the old table and never half of the new.
    (tmp_path / "a.json").write_text("old")
    (tmp_path / "open.json").hardlink_to(tmp_path / "a.json")
    assert run("generate", "--device-ips", "10.1.0.1", "--out", "a.json").returncode == 0
    assert (tmp_path / "open.json").read_text() == "old"
    assert load(tmp_path / "a.json").devices == (Device(0, 0, "10.1.0.1"),)
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


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
    error = one_line(run(*arguments))
    assert expected in error and "--help" in error


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
    sample = load(READY / "modelarts")
    assert sample.converted
    assert [server.server_id for server in sample.servers] == ["192.0.2.2", "192.0.2.1"]
    assert [device.rank_id for device in sample.devices] == list(range(16))


def test_ready_tables_are_valid_and_marked_as_templates(run: Run) -> None:
    files = sorted(READY.glob("*.json"))
    assert len(files) == 5
    text = printed(run("validate", *files, READY / "modelarts"))
    assert text.count(": valid, version 1.0") == 6
    assert text.count("addresses of the ready tables") == 5
    assert json.loads((READY / "8p.json").read_text())["status"] == "completed"
