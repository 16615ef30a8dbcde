"""Rules across devices: ranks that belong together, and what is only noted."""

import pytest

from tests.rank_tables.tables import Tree, device, found, problems, report, table


def test_ranks_of_a_server_follow_one_another() -> None:
    tree = table([4, 4])
    device(tree, 0, 3)["rank_id"], device(tree, 1, 3)["rank_id"] = "7", "3"
    assert problems(tree) == [
        "server_list[0]: its ranks 0-2, 7 do not follow one another",
    ]


def test_interleaved_ranks_are_found_on_every_server() -> None:
    tree = table([2, 2])
    device(tree, 0, 1)["rank_id"], device(tree, 1, 0)["rank_id"] = "2", "1"
    assert [line.partition(":")[0] for line in found(tree)] == ["server_list[0]", "server_list[1]"]


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
def test_notes_are_no_violations(change: Tree, expected: str) -> None:
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


def test_a_usual_table_has_no_notes() -> None:
    for sizes in ([1], [2], [4], [8], [8, 8], [16]):
        assert report(table(sizes)).notes == []


def test_servers_out_of_order_are_noted() -> None:
    tree = table([1, 1])
    first, second = tree["server_list"]
    first["server_id"], second["server_id"] = "10.0.0.2", "10.0.0.10"  # as text 10 comes first
    assert "sorted by server_id as text" in report(tree).notes[0]
