"""Versions 1.0 and 1.2: one test per rule of their fields, with place and remedy."""

from typing import Any

import pytest

from tests.rank_tables.tables import Tree, device, found, problems, report, table


@pytest.mark.parametrize("sizes", [[1], [8], [16], [2, 2], [8, 8], [3, 1, 16]])
def test_valid_tables(sizes: list[int]) -> None:
    assert found(table(sizes)) == []


@pytest.mark.parametrize(
    ("field", "value", "problem", "remedy"),
    [
        ("rank_id", 3, "3 is a number", 'write "3"'),
        ("rank_id", "02", '"02" is not a plain decimal', 'write "2"'),
        ("rank_id", "x", '"x" is not a plain decimal', "write its rank"),
        ("rank_id", "٣", "not a plain decimal", "write its rank"),
        ("rank_id", "4", "rank 4 of a table of 4", "0 to 3: 3 is missing"),
        ("rank_id", "0", "rank 0 again, as in server_list[0].device[0]", "3 is missing"),
        ("device_id", None, "null where a string", "/dev/davinciN"),
        ("device_id", "-1", "not a plain decimal", "/dev/davinciN"),
        ("device_id", "0", "device 0 again", "/dev/davinciN"),
        ("device_ip", "10.1.1.256", "not an IPv4 or IPv6", "hccn_tool -i 1 -ip -g"),
        ("device_ip", "10.1.1.1 ", "not an IPv4 or IPv6", "hccn_tool -i 1"),
        ("device_ip", "10.1.0.1", "10.1.0.1 again, as in server_list[0]", "hccn_tool"),
        ("device_ip", "2001:0:1::a", "not IPv4 as the others", "one family"),
        ("device_ip", "10.1.1.7,10.1.1.8", "2 addresses", "as many"),
        ("device_ip", "", "empty", "hccn_tool -i 1"),
        ("device_ip", "0.0.0.0", "cannot be the address", "hccn_tool -i 1"),
        ("device_ip", "224.0.0.1", "cannot be the address", "hccn_tool -i 1"),
        ("device_ip", ["10.1.1.2"], "a list where a string", "hccn_tool -i 1"),
        ("device_port", "0", "0 is not a port", "1024 to 65535"),
        ("device_port", "65536", "65536 is not a port", "1024 to 65535"),
        ("device_port", 16666, "16666 is a number", 'write "16666"'),
        ("host_port", "x", "not a plain decimal", "1024 to 65535"),
        ("super_device_id", 4, "4 is a number", 'write "4"'),
    ],
)
def test_device_rules(field: str, value: Any, problem: str, remedy: str) -> None:
    tree = table([2, 2])
    device(tree, 1, 1)[field] = value
    (line,) = found(tree)
    place, _, rest = line.partition(": ")
    assert place == f"server_list[1].device[1].{field}"
    told, _, advice = rest.partition(" -> ")
    assert problem in told and remedy in advice


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"status": "initializing"}, 'status: "initializing": the job manager'),
        ({"status": "done"}, 'status: "done" is no known status -> write "completed"'),
        ({"version": "1.1"}, 'version: "1.1" is not a version HCCL knows (1.0, 1.2, 2.0)'),
        ({"version": 1.0}, "version: 1.0 is a number"),
        ({"server_count": "3"}, 'server_count: 3, but server_list has 2 entries -> write "2"'),
        ({"server_count": 2}, "server_count: 2 is a number, and HCCL reads strings only"),
        ({"server_count": "two"}, 'server_count: "two" is not a plain decimal number -> write "2"'),
        ({"server_list": []}, "server_list: an empty list"),
        ({"server_list": {}}, "server_list: an object where a list belongs"),
    ],
)
def test_top_level_rules(change: Tree, expected: str) -> None:
    (line,) = found({**table([2, 2]), **change})
    assert line.startswith(expected)


@pytest.mark.parametrize("field", ["version", "status", "server_count", "server_list"])
def test_top_level_fields_are_needed(field: str) -> None:
    tree = table([2, 2])
    del tree[field]
    (line,) = found(tree)
    assert line.startswith(f"{field}: missing")


def test_server_rules() -> None:
    tree = table([2, 2, 2])
    tree["server_list"][1]["server_id"] = "node_0"
    tree["server_list"][2]["server_id"] = "é" * 33
    assert problems(tree) == [
        'server_list[1].server_id: "node_0" again, as in server_list[0]',
        "server_list[2].server_id: 66 bytes, and HCCL takes 64 at most",
    ]
    tree = table([2, 2])
    tree["server_list"][1]["device"] = []
    tree["server_list"][0] = 7
    assert problems(tree) == [
        "server_list[0]: a number where an object belongs",
        "server_list[1].device: an empty list",
    ]


def test_addresses_may_be_left_out_on_one_server_only() -> None:
    one, two = table([2]), table([2, 2])
    for tree in (one, two):
        for server in tree["server_list"]:
            for item in server["device"]:
                del item["device_ip"]
    assert found(one) == []
    assert any("Atlas 910 (A)" in note for note in report(one).notes)
    assert problems(two) == [
        f"server_list[{server}].device[{index}].device_ip: missing"
        for server in range(2)
        for index in range(2)
    ]
    some = table([2])
    del device(some, 0, 1)["device_ip"]
    assert found(some)[0].startswith("server_list[0].device[1].device_ip: missing, while other")


def test_all_violations_at_once_in_the_order_of_the_file() -> None:
    tree = table([12, 1])
    tree["status"] = 1
    tree["server_count"] = "1"
    device(tree, 0, 2)["device_id"] = 2
    device(tree, 0, 10)["device_ip"] = "x"
    device(tree, 1, 0)["rank_id"] = "99"
    assert [line.partition(": ")[0] for line in found(tree)] == [
        "server_count",
        "status",
        "server_list[0].device[2].device_id",
        "server_list[0].device[10].device_ip",
        "server_list[1].device[0].rank_id",
    ]


def test_version_1_2() -> None:
    tree = {**table([2, 2]), "version": "1.2"}
    tree["super_pod_list"] = [{"super_pod_id": "0", "server_list": [{"server_id": "node_0"}]}]
    del tree["server_count"]  # may be left out, as may addresses within a super pod
    del device(tree)["device_ip"]
    device(tree)["super_device_id"] = "0"
    assert found(tree) == []
    device(tree)["rank_id"] = "1"
    assert found(tree)[0].startswith("server_list[0].device[1].rank_id: rank 1 again")
