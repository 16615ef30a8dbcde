"""generate: devices and addresses from the driver's tools, its file, or the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from rank_tables import RankTableError
from rank_tables.generate import find_addresses, find_numbers, host_name, parse_numbers
from tests.rank_tables.tables import Run, one_line, only_error, printed

# npu-smi info -m of a server whose cards hold two NPUs each, and a controller.
CARDS_OF_TWO = """\
\tNPU ID                         Chip ID                        Chip Logic ID                  \
Chip Phy-ID                    Chip Name
\t0                              0                              0                              \
0                              Ascend910
\t0                              1                              1                              \
1                              Ascend910
\t0                              2                              -                              \
-                              Mcu
\t4                              0                              2                              \
10                             Ascend910
\t4                              1                              3                              \
11                             Ascend910
\t4                              2                              -                              \
-                              Mcu
"""
WITHOUT_LOGIC_ID = """\
NPU ID    Slot ID    Chip ID    Chip Phy-ID    Chip Name
8         8          0          3              Ascend 950PR
9         9          0          12             Ascend 950PR
"""
WITHOUT_PHYSICAL = """\
NPU ID    Chip ID    Chip Logic ID    Chip Name
8         0          0                Ascend
8         1          -                Mcu
"""


def stand_in(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)


def hccn_tool(
    folder: Path, v4: dict[int, str] | None = None, v6: dict[int, str] | None = None
) -> None:
    """hccn_tool, which fails with what it prints if a device has no address."""
    cases = [
        f'"-i {n} -ip -g") echo ipaddr:{ip}; echo netmask:255.255.255.0;;\n'
        for n, ip in (v4 or {}).items()
    ]
    cases += [
        f'"-i {n} -ip -inet6 -g") echo ipaddr:{ip}; echo netmask:64;;\n'
        for n, ip in (v6 or {}).items()
    ]
    end = '*) echo "Cmd os error!"; echo "more"; exit 255;;\n'
    stand_in(folder, "hccn_tool", f'case "$*" in\n{"".join(cases)}{end}esac\n')


def npu_smi(folder: Path, text: str) -> None:
    (folder / "mapping.txt").write_text(text)
    show = f'[ "$*" = "info -m" ] && cat "{folder}/mapping.txt"\n'
    stand_in(folder, "npu-smi", show)


def pairs(text: str) -> list[tuple[str, str, str]]:
    (server,) = json.loads(text)["server_list"]
    return [(d["device_id"], d["device_ip"], d["rank_id"]) for d in server["device"]]


def test_all_devices_by_npu_smi_and_hccn_tool(run: Run, tools: Path, tmp_path: Path) -> None:
    npu_smi(tools, CARDS_OF_TWO)
    hccn_tool(tools, {0: "10.1.0.1", 1: "10.1.0.2", 10: "10.1.0.3", 11: "10.1.0.4"})
    text = printed(run("generate", "--server-id", "a", "--out", "a.json"))
    assert text == "a.json: version 1.0, 1 server, 4 ranks\n"
    assert pairs((tmp_path / "a.json").read_text()) == [
        ("0", "10.1.0.1", "0"),
        ("1", "10.1.0.2", "1"),
        ("10", "10.1.0.3", "2"),
        ("11", "10.1.0.4", "3"),
    ]
    assert run("validate", "a.json").returncode == 0


def test_more_than_eight_devices(run: Run, tools: Path) -> None:
    rows = [f"{n // 2}    {n % 2}    {n}    {n}    Ascend910" for n in range(16)]
    npu_smi(
        tools, "\n".join(["NPU ID    Chip ID    Chip Logic ID    Chip Phy-ID    Chip Name", *rows])
    )
    hccn_tool(tools, {number: f"10.1.0.{number + 1}" for number in range(16)})
    done = run("generate")
    assert run("generate", "--devices", "0-15").stdout == done.stdout
    assert [ip for _, ip, _ in pairs(done.stdout)] == [f"10.1.0.{n + 1}" for n in range(16)]


def test_ipv6_where_not_every_device_has_ipv4(run: Run, tools: Path) -> None:
    hccn_tool(tools, {0: "10.1.0.1"}, {0: "2001:0:1::a", 3: "2001:0:1::b"})
    assert [ip for _, ip, _ in pairs(run("generate", "--devices", "0,3").stdout)] == [
        "2001:0:1::a",
        "2001:0:1::b",
    ]


def test_ipv4_is_preferred_unless_ipv6_is_asked_for(run: Run, tools: Path) -> None:
    hccn_tool(tools, {0: "10.1.0.1"}, {0: "2001:0:1::a"})
    assert pairs(run("generate", "--devices", "0").stdout)[0][1] == "10.1.0.1"
    assert pairs(run("generate", "--devices", "0", "--ipv6").stdout)[0][1] == "2001:0:1::a"


def test_a_device_without_address_is_named_with_what_the_tool_says(run: Run, tools: Path) -> None:
    hccn_tool(tools, {0: "10.1.0.1", 1: "0.0.0.0", 2: "10.1.0.3"})
    error = one_line(run("generate", "--devices", "0-3"))
    assert "no address for devices 1, 3" in error
    assert "hccn_tool -i 1 -ip -g says 'ipaddr:0.0.0.0'" in error
    assert "--device-ips" in error


def test_addresses_from_the_file(run: Run, tmp_path: Path, tools: Path) -> None:
    hccn_tool(tools, {0: "10.9.9.9", 1: "10.9.9.8"})  # not asked: the file is given
    conf = tmp_path / "hccn.conf"
    conf.write_text(
        "address_0=10.1.0.1\nnetmask_0=255.255.0.0\nnetdetect_0=10.1.0.9\n"
        "address_10=10.1.0.7\naddress_1 = 10.1.0.2 \n"
        "IPv6address_0=2001:0:1::a\nIPv6address_1=2001:0:1::b\nIPv6netmask_0=112\n"
    )
    done = run("generate", "--devices", "0,1", "--hccn-conf", conf)
    assert [ip for _, ip, _ in pairs(done.stdout)] == ["10.1.0.1", "10.1.0.2"]
    done = run("generate", "--devices", "0,1", "--hccn-conf", conf, "--ipv6")
    assert [ip for _, ip, _ in pairs(done.stdout)] == ["2001:0:1::a", "2001:0:1::b"]
    error = one_line(run("generate", "--devices", "0-2", "--hccn-conf", conf))
    assert "device 2 (" in error and "hccn.conf has no address_2" in error
    error = one_line(run("generate", "--devices", "0", "--hccn-conf", "nowhere"))
    assert "nowhere: No such file" in error


def test_the_file_serves_where_the_tool_fails(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "hccn.conf"
    conf.write_text("address_4=10.1.0.5\n")
    monkeypatch.setattr("rank_tables.generate.HCCN_CONF", conf)
    assert find_addresses([4]) == ["10.1.0.5"]  # no tool at all
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    hccn_tool(tools)
    assert find_addresses([4]) == ["10.1.0.5"]
    hccn_tool(tools, {4: "10.1.0.6"})
    assert find_addresses([4]) == ["10.1.0.6"]  # what is set now counts


def test_given_addresses_belong_to_the_devices_in_their_order(run: Run) -> None:
    done = run("generate", "--devices", "6,2", "--device-ips", "10.1.0.6,10.1.0.2")
    assert pairs(done.stdout) == [("2", "10.1.0.2", "0"), ("6", "10.1.0.6", "1")]
    done = run("generate", "--device-ips", "10.1.0.6,10.1.0.2")
    assert pairs(done.stdout) == [("0", "10.1.0.6", "0"), ("1", "10.1.0.2", "1")]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--devices", "0,x"], "'x'"),
        (["--devices", "3-1"], "'3-1'"),
        (["--devices", "0-"], "'0-'"),
        (["--devices", "0-99999"], "'0-99999'"),
        (["--devices", "0-3,2"], "device 2 is named twice"),
        (["--device-ips", "10.1.0.1,10.1.0"], "'10.1.0'"),
        (["--devices", "0-2", "--device-ips", "10.1.0.1"], "1 addresses for 3 devices"),
        (["--device-ips", "10.1.0.1", "--out", "table.txt"], "end in .json"),
        (["--device-ips", "10.1.0.1", "--out", "no/such/folder.json"], "No such file"),
        (["--out"], "--out"),
        (["--device", "0"], "--device"),
    ],
)
def test_mistakes_end_in_one_line(
    run: Run, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    assert expected in one_line(run("generate", *arguments))
    assert [path.name for path in tmp_path.iterdir()] == ["tools on the path"]


def test_a_table_that_hccl_would_refuse_is_not_made(run: Run, tmp_path: Path) -> None:
    def error(addresses: str, *more: str) -> str:
        return only_error(run("generate", "--device-ips", addresses, *more, "--out", "a.json"))

    assert "10.1.0.1 again" in error("10.1.0.1,10.1.0.1")
    assert "not IPv4 as the others" in error("10.1.0.1,2001:0:1::a")
    assert "server_id: 65 bytes" in error("10.1.0.1", "--server-id", "x" * 65)
    assert not (tmp_path / "a.json").exists()


def test_npu_smi_that_tells_no_physical_numbers(run: Run, tools: Path) -> None:
    npu_smi(tools, WITHOUT_PHYSICAL)
    assert "no Chip Phy-ID" in one_line(run("generate"))
    npu_smi(tools, WITHOUT_LOGIC_ID)
    assert "devices 3, 12" in one_line(run("generate"))  # found, and have no address here


def test_device_nodes_come_before_npu_smi(
    tmp_path: Path, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    npu_smi(tools, CARDS_OF_TWO)
    nodes = tmp_path / "dev"
    nodes.mkdir()
    assert find_numbers(nodes) == [0, 1, 10, 11]
    for name in ("davinci16", "davinci2", "davinci10", "davinci_manager", "davinci", "davinci3x"):
        (nodes / name).touch()
    assert find_numbers(nodes) == [2, 10, 16]


def test_no_npu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RankTableError, match="no NPU on this server"):
        find_numbers(tmp_path)


def test_device_lists() -> None:
    assert parse_numbers("0,2,4-7") == [0, 2, 4, 5, 6, 7]
    assert parse_numbers(" 10-11, 3 ") == [10, 11, 3]


def test_the_name_of_this_server() -> None:
    assert 0 < len(host_name()) <= 64


def test_the_server_is_named_after_its_address_by_default(run: Run) -> None:
    tree: Any = json.loads(run("generate", "--device-ips", "10.1.0.1").stdout)
    assert tree["server_list"][0]["server_id"] == host_name()
