"""Template 2, ModelArts' description of a job: its rules, and the ranks that it is given."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rank_tables import load
from tests.rank_tables.tables import Run, Save, Tree, found, job, printed, report


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
def test_modelarts_form(change: Callable[[Tree], object], path: str) -> None:
    tree = job(["job-0", "job-1"])
    assert found(tree) == []
    change(tree)
    assert report(tree).violations[0].path == path


def test_pods_of_one_server_stand_together() -> None:
    tree = job(["job-0", "job-1", "job-2"])
    apart = copy.deepcopy(tree)
    for number, item in zip("23", pods(apart)[2]["devices"], strict=True):
        item["device_id"] = number
    together = copy.deepcopy(apart)
    pods(apart)[2]["server_id"] = "10.0.0.1"
    pods(together)[2]["server_id"] = "10.0.0.2"
    assert found(together) == []
    assert report(apart).violations[0].path == "group_list[0].instance_list[2].server_id"


def test_pods_of_one_server_in_different_groups_stand_together_too() -> None:
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


def test_ranks_follow_the_numbers_of_the_pods(run: Run, save: Save) -> None:
    numbers = [11, 3, 10, 0, 2, 1, 4, 9, 8, 7, 6, 5]
    save(job([f"job94dc1-trainjob-{number}" for number in numbers]), "jobstart_hccl.json")
    tree = json.loads(printed(run("convert", "jobstart_hccl.json")))
    assert (tree["version"], tree["status"], tree["server_count"]) == ("1.0", "completed", "12")
    order = [int(server["server_id"].split(".")[3]) - 1 for server in tree["server_list"]]
    assert [numbers[index] for index in order] == list(range(12))
    given = [d["rank_id"] for server in tree["server_list"] for d in server["device"]]
    assert given == [str(rank) for rank in range(24)]


def test_several_pods_on_one_server_become_one(save: Save) -> None:
    tree = job(["job-1", "job-0"])
    first, second = tree["group_list"][0]["instance_list"]
    second["server_id"] = first["server_id"]
    for number, device in zip("45", second["devices"], strict=True):
        device["device_id"] = number
    (server,) = load(save(tree)).servers
    assert [(d.device_id, d.rank_id) for d in server.devices] == [(4, 0), (5, 1), (0, 2), (1, 3)]


def test_groups_without_devices_are_left_out(save: Save) -> None:
    tree = job(["job-0"])
    tree["group_count"] = "2"
    tree["group_list"].insert(0, {"group_name": "ps", "device_count": "0", "instance_list": []})
    assert len(load(save(tree)).devices) == 2


def test_a_converted_table_reads_back(save: Save, tmp_path: Path) -> None:
    converted = load(save(job(["job-1", "job-0"])))
    assert (converted.version, converted.converted) == ("1.0", True)
    (tmp_path / "version_1.json").write_text(converted.to_json())
    again = load(tmp_path / "version_1.json")
    assert (again.servers, again.converted) == (converted.servers, False)
