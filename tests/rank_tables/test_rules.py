"""validate: one test per rule, with place and remedy; the properties are in test_properties.py."""

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rank_tables.parse import parse
from rank_tables.report import Report
from rank_tables.rules import check

Tree = dict[str, Any]
Table = Callable[[Sequence[int]], Tree]
Job = Callable[..., Tree]
Ranks = Callable[[int], Tree]


def report(tree: Any, name: str = "table.json") -> Report:
    return check(parse(Path(name), json.dumps(tree)))


def found(tree: Any) -> list[str]:
    return [str(violation) for violation in report(tree).violations]


def device(tree: Tree, server: int = 0, index: int = 0) -> Tree:
    chosen: Tree = tree["server_list"][server]["device"][index]
    return chosen


@pytest.mark.parametrize("sizes", [[1], [8], [16], [2, 2], [8, 8], [3, 1, 16]])
def test_valid_tables(table: Table, sizes: list[int]) -> None:
    assert found(table(sizes)) == []


@pytest.mark.parametrize(
    ("field", "value", "path", "problem", "remedy"),
    [
        ("rank_id", 3, "rank_id", "3 is a number", 'write "3"'),
        ("rank_id", "02", "rank_id", '"02" is not a plain decimal', 'write "2"'),
        ("rank_id", "x", "rank_id", '"x" is not a plain decimal', "write its rank"),
        ("rank_id", "٣", "rank_id", "not a plain decimal", "write its rank"),
        ("rank_id", "4", "rank_id", "rank 4 of a table of 4", "0 to 3: 3 is missing"),
        ("rank_id", "0", "rank_id", "rank 0 again, as in server_list[0].device[0]", "3 is missing"),
        ("device_id", None, "device_id", "null where a string", "/dev/davinciN"),
        ("device_id", "-1", "device_id", "not a plain decimal", "/dev/davinciN"),
        ("device_id", "0", "device_id", "device 0 again", "/dev/davinciN"),
        ("device_ip", "10.1.1.256", "device_ip", "not an IPv4 or IPv6", "hccn_tool -i 1 -ip -g"),
        ("device_ip", "10.1.1.1 ", "device_ip", "not an IPv4 or IPv6", "hccn_tool -i 1"),
        ("device_ip", "10.1.0.1", "device_ip", "10.1.0.1 again, as in server_list[0]", "hccn_tool"),
        ("device_ip", "2001:0:1::a", "device_ip", "not IPv4 as the others", "one family"),
        ("device_ip", "10.1.1.7,10.1.1.8", "device_ip", "2 addresses", "as many"),
        ("device_ip", "", "device_ip", "empty", "hccn_tool -i 1"),
        ("device_ip", "0.0.0.0", "device_ip", "cannot be the address", "hccn_tool -i 1"),
        ("device_ip", "224.0.0.1", "device_ip", "cannot be the address", "hccn_tool -i 1"),
        ("device_ip", ["10.1.1.2"], "device_ip", "a list where a string", "hccn_tool -i 1"),
        ("device_port", "0", "device_port", "0 is not a port", "1024 to 65535"),
        ("device_port", "65536", "device_port", "65536 is not a port", "1024 to 65535"),
        ("device_port", 16666, "device_port", "16666 is a number", 'write "16666"'),
        ("host_port", "x", "host_port", "not a plain decimal", "1024 to 65535"),
        ("super_device_id", 4, "super_device_id", "4 is a number", 'write "4"'),
    ],
)
def test_device_rules(
    table: Table, field: str, value: Any, path: str, problem: str, remedy: str
) -> None:
    tree = table([2, 2])
    device(tree, 1, 1)[field] = value
    (line,) = found(tree)
    place, _, rest = line.partition(": ")
    assert place == f"server_list[1].device[1].{path}"
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
def test_top_level_rules(table: Table, change: Tree, expected: str) -> None:
    (line,) = found({**table([2, 2]), **change})
    assert line.startswith(expected)


@pytest.mark.parametrize("field", ["version", "status", "server_count", "server_list"])
def test_top_level_fields_are_needed(table: Table, field: str) -> None:
    tree = table([2, 2])
    del tree[field]
    (line,) = found(tree)
    assert line.startswith(f"{field}: missing")


def test_server_rules(table: Table) -> None:
    tree = table([2, 2, 2])
    tree["server_list"][1]["server_id"] = "node_0"
    tree["server_list"][2]["server_id"] = "é" * 33
    assert [line.partition(" -> ")[0] for line in found(tree)] == [
        'server_list[1].server_id: "node_0" again, as in server_list[0]',
        "server_list[2].server_id: 66 bytes, and HCCL takes 64 at most",
    ]
    tree = table([2, 2])
    tree["server_list"][1]["device"] = []
    tree["server_list"][0] = 7
    assert [line.partition(" -> ")[0] for line in found(tree)] == [
        "server_list[0]: a number where an object belongs",
        "server_list[1].device: an empty list",
    ]


def test_ranks_of_a_server_follow_one_another(table: Table) -> None:
    tree = table([4, 4])
    device(tree, 0, 3)["rank_id"], device(tree, 1, 3)["rank_id"] = "7", "3"
    assert [line.partition(" -> ")[0] for line in found(tree)] == [
        "server_list[0]: its ranks 0-2, 7 do not follow one another",
    ]


def test_interleaved_ranks_are_found_on_every_server(table: Table) -> None:
    tree = table([2, 2])
    device(tree, 0, 1)["rank_id"], device(tree, 1, 0)["rank_id"] = "2", "1"
    assert [line.partition(":")[0] for line in found(tree)] == ["server_list[0]", "server_list[1]"]


def test_addresses_may_be_left_out_on_one_server_only(table: Table) -> None:
    one, two = table([2]), table([2, 2])
    for tree in (one, two):
        for server in tree["server_list"]:
            for item in server["device"]:
                del item["device_ip"]
    assert found(one) == []
    assert any("Atlas 910 (A)" in note for note in report(one).notes)
    assert [line.partition(" -> ")[0] for line in found(two)] == [
        f"server_list[{server}].device[{index}].device_ip: missing"
        for server in range(2)
        for index in range(2)
    ]
    some = table([2])
    del device(some, 0, 1)["device_ip"]
    assert found(some)[0].startswith("server_list[0].device[1].device_ip: missing, while other")


def test_all_violations_at_once_in_the_order_of_the_file(table: Table) -> None:
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
        ("[" * 100_000, "(top level): not JSON"),
        ("[]", "(top level): a list where an object belongs"),
    ],
)
def test_what_is_no_json_object(text: str, expected: str) -> None:
    (violation,) = check(parse(Path("table.json"), text)).violations
    assert str(violation).startswith(expected)


def test_keys_that_stand_twice(table: Table) -> None:
    text = json.dumps(table([1, 1])).replace('"rank_id": "1"', '"rank_id": "0", "rank_id": "1"')
    text = text.replace('"status"', '"status": "initializing", "status"')
    assert [v.path for v in check(parse(Path("table.json"), text)).violations] == [
        "status",
        "server_list[1].device[0].rank_id",
    ]


@pytest.mark.parametrize("name", ["table.txt", "table", ".json", "table.json5", "table.JSON"])
def test_the_file_name_ends_in_json(table: Table, name: str) -> None:
    (violation,) = report(table([1]), name).violations
    assert violation.path == "file name" and name in violation.problem


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"devices": ["2", "5"]}, "2 or 4 NPUs must all be from 0-3 or all from 4-7"),
        ({"devices": ["0", "1", "2"]}, "a server takes part with 1, 2, 4 or 8 NPUs"),
        ({"field": ("device_prot", "16666")}, "device[0].device_prot: HCCL does not know this"),
        ({"field": ("device_prot", "16666")}, "did you mean device_port?"),
        ({"field": ("device_port", "16666")}, "only some devices have a device_port"),
        ({"field": ("device_ip", "10.9.9.9")}, "device_ip equals a server_id"),
        ({"field": ("device_ip", "198.51.100.1")}, "addresses of the ready tables"),
    ],
)
def test_notes_are_no_violations(table: Table, change: Tree, expected: str) -> None:
    numbers = change.get("devices", ["0", "1"])
    tree = table([len(numbers)])
    tree["server_list"][0]["server_id"] = "10.9.9.9"
    for item, number in zip(tree["server_list"][0]["device"], numbers, strict=True):
        item["device_id"] = number
    name, value = change.get("field", ("device_id", numbers[0]))
    device(tree)[name] = value
    result = report(tree)
    assert result.violations == []
    assert any(expected in note for note in result.notes), result.notes


def test_a_usual_table_has_no_notes(table: Table) -> None:
    for sizes in ([1], [2], [4], [8], [8, 8], [16]):
        assert report(table(sizes)).notes == []


def test_servers_out_of_order_are_noted(table: Table) -> None:
    tree = table([1, 1])
    first, second = tree["server_list"]
    first["server_id"], second["server_id"] = "10.0.0.2", "10.0.0.10"  # as text 10 comes first
    assert "sorted by server_id as text" in report(tree).notes[0]


def test_version_1_2(table: Table) -> None:
    tree = {**table([2, 2]), "version": "1.2"}
    tree["super_pod_list"] = [{"super_pod_id": "0", "server_list": [{"server_id": "node_0"}]}]
    del tree["server_count"]  # may be left out, as may addresses within a super pod
    del device(tree)["device_ip"]
    device(tree)["super_device_id"] = "0"
    assert found(tree) == []
    device(tree)["rank_id"] = "1"
    assert found(tree)[0].startswith("server_list[0].device[1].rank_id: rank 1 again")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda t: t.update(status="initializing"), "status"),
        (lambda t: t.update(rank_count=5), "rank_count"),
        (lambda t: t.update(rank_count="4"), "rank_count"),
        (lambda t: t.update(rank_count=0), "rank_count"),
        (lambda t: t.pop("rank_count"), "rank_count"),
        (lambda t: t.pop("rank_list"), "rank_list"),
        (lambda t: t["rank_list"][2].update(rank_id=1), "rank_list[2].rank_id"),
        (lambda t: t["rank_list"][2].update(rank_id=4), "rank_list[2].rank_id"),
        (lambda t: t["rank_list"][2].update(rank_id="2"), "rank_list[2].rank_id"),
        (lambda t: t["rank_list"][2].update(device_id=65), "rank_list[2].device_id"),
        (lambda t: t["rank_list"][2].update(local_id=True), "rank_list[2].local_id"),
        (lambda t: t["rank_list"][2].update(device_port=0), "rank_list[2].device_port"),
        (lambda t: t["rank_list"][2].update(level_list=[]), "rank_list[2].level_list"),
        (
            lambda t: t["rank_list"][2]["level_list"][0].pop("rank_addr_list"),
            "rank_list[2].level_list[0].rank_addr_list",
        ),
    ],
)
def test_version_2_0(ranks: Ranks, change: Callable[[Tree], object], path: str) -> None:
    tree = ranks(4)
    assert found(tree) == []
    assert found({key: value for key, value in tree.items() if key != "status"}) == []
    change(tree)
    assert [violation.path for violation in report(tree).violations] == [path]


def pods(tree: Tree) -> list[Tree]:
    instances: list[Tree] = tree["group_list"][0]["instance_list"]
    return instances


_POD = "group_list[0].instance_list[1]"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda t: t.update(status="initializing"), "status"),
        (lambda t: t.update(group_count="2"), "group_count"),
        (lambda t: t.update(group_list=[]), "group_list"),
        (lambda t: t.update(deploy_mode="lab"), "deploy_mode"),
        (lambda t: t["group_list"][0].update(device_count="3"), "group_list[0].device_count"),
        (lambda t: t["group_list"][0].update(device_count=4), "group_list[0].device_count"),
        (lambda t: t["group_list"][0].update(instance_count="3"), "group_list[0].instance_count"),
        (lambda t: t["group_list"][0].pop("instance_list"), "group_list[0].instance_list"),
        (lambda t: pods(t)[1].pop("pod_name"), f"{_POD}.pod_name"),
        (lambda t: pods(t)[1].update(pod_name="job-0"), f"{_POD}.pod_name"),
        (lambda t: pods(t)[1].update(pod_name="other-00"), f"{_POD}.pod_name"),
        (lambda t: pods(t)[1].update(pod_name="job-bae41"), f"{_POD}.pod_name"),
        (lambda t: pods(t)[1].update(pod_name="x" * 130 + "-1"), f"{_POD}.pod_name"),
        (lambda t: pods(t)[1].update(server_id=""), f"{_POD}.server_id"),
        (lambda t: pods(t)[1].update(devices=[]), f"{_POD}.devices"),
        (lambda t: pods(t)[1]["devices"][1].update(device_id="0"), f"{_POD}.devices[1].device_id"),
        (lambda t: pods(t)[1]["devices"][1].pop("device_ip"), f"{_POD}.devices[1].device_ip"),
        (
            lambda t: pods(t)[1]["devices"][1].update(device_ip="10.1.0.1"),
            f"{_POD}.devices[1].device_ip",
        ),
        (
            lambda t: pods(t)[1].update(server_id="10.0.0.1"),
            f"{_POD}.devices[0].device_id",  # and [1]: the same devices of one server
        ),
    ],
)
def test_modelarts_form(job: Job, change: Callable[[Tree], object], path: str) -> None:
    tree = job(["job-0", "job-1"])
    assert found(tree) == []
    change(tree)
    assert report(tree).violations[0].path == path


def test_pods_of_one_server_stand_together(job: Job) -> None:
    tree = job(["job-0", "job-1", "job-2"])
    apart = copy.deepcopy(tree)
    for number, item in zip("23", pods(apart)[2]["devices"], strict=True):
        item["device_id"] = number
    together = copy.deepcopy(apart)
    pods(apart)[2]["server_id"] = "10.0.0.1"
    pods(together)[2]["server_id"] = "10.0.0.2"
    assert found(together) == []
    assert report(apart).violations[0].path == "group_list[0].instance_list[2].server_id"


def test_pods_of_one_server_in_different_groups_stand_together_too(job: Job) -> None:
    tree = job(["job-0", "job-1"])
    other = copy.deepcopy(tree["group_list"][0])
    for pod in other["instance_list"]:
        pod["devices"] = [
            {"device_id": f"{int(d['device_id']) + 2}", "device_ip": f"{d['device_ip']}0"}
            for d in pod["devices"]
        ]
    tree["group_list"].append(other)
    tree["group_count"] = "2"
    assert report(tree).violations[0].path == "group_list[1].instance_list[0].server_id"
