"""Version 2.0: a list of ranks."""

import json
from collections.abc import Callable

import pytest

from rank_tables import Device, Server, load
from tests.rank_tables.tables import Save, Tree, found, ranks, report


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
def test_rules(change: Callable[[Tree], object], path: str) -> None:
    tree = ranks(4)
    assert found(tree) == []
    assert found({key: value for key, value in tree.items() if key != "status"}) == []
    change(tree)
    assert [violation.path for violation in report(tree).violations] == [path]


def test_what_is_read(save: Save) -> None:
    tree = ranks(4)
    tree["rank_list"][3]["level_list"][0]["rank_addr_list"][0] = {"addr_type": "EID", "addr": "0a"}
    loaded = load(save(tree))
    assert loaded.version == "2.0"
    assert loaded.servers == (
        Server("rack0", (Device(0, 0, "10.1.0.1"), Device(1, 1, "10.1.0.2"))),
        Server("rack1", (Device(0, 2, "10.1.0.3"), Device(1, 3, None))),
    )
    assert json.loads(loaded.to_json()) == tree
