"""What holds for every table: made means valid, merged parts are the whole, no damage is missed."""

import copy
import ipaddress
import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rank_tables.generate import table_of_server
from rank_tables.load import Document, check, from_document, parse
from rank_tables.merge import merge
from tests.rank_tables.tables import Tree, job, ranks, table

Servers = list[tuple[str, list[int], list[str]]]

TABLE = Path("table.json")


@st.composite
def server_sets(draw: st.DrawFn, max_servers: int = 5) -> Servers:
    """Servers with names, device numbers (any number, with gaps) and addresses of one family."""
    name = st.text(min_size=1, max_size=16)
    names = draw(st.lists(name, min_size=1, max_size=max_servers, unique=True))
    number = st.integers(0, 63)
    numbers = [draw(st.lists(number, min_size=1, max_size=9, unique=True)) for _ in names]
    make: Callable[[int], object]
    make, first = draw(
        st.sampled_from([(ipaddress.IPv4Address, 10 << 24), (ipaddress.IPv6Address, 0x2001 << 112)])
    )
    step = draw(st.integers(1, 1000))
    addresses = (str(make(first + step * index)) for index in itertools.count(1))
    return [(n, d, [next(addresses) for _ in d]) for n, d in zip(names, numbers, strict=True)]


def documents(servers: Servers) -> list[Document]:
    return [parse(TABLE, table_of_server(*server)) for server in servers]


@settings(max_examples=60, deadline=None)
@given(server_sets(max_servers=1))
def test_what_generate_makes_is_valid(servers: Servers) -> None:
    (document,) = documents(servers)
    assert check(document).violations == []
    (server,) = from_document(document).servers
    name, devices, addresses = servers[0]
    assert server.server_id == name
    assert [device.device_id for device in server.devices] == sorted(devices)
    pairs = dict(zip(devices, addresses, strict=True))
    assert {device.device_id: device.device_ip for device in server.devices} == pairs


@settings(max_examples=60, deadline=None)
@given(server_sets(), st.randoms(use_true_random=False))
def test_merged_parts_in_any_order_are_the_whole(servers: Servers, chance: random.Random) -> None:
    whole = merge(documents(servers))
    assert check(parse(TABLE, whole)).violations == []
    merged = from_document(parse(TABLE, whole))
    assert [server.server_id for server in merged.servers] == sorted(name for name, _, _ in servers)
    parts = documents(servers)
    while len(parts) > 1:
        chance.shuffle(parts)
        size = chance.randint(2, len(parts))
        parts = [parse(TABLE, merge(parts[:size])), *parts[size:]]
    assert merge(parts) == whole


# A place in a table: the keys and indices that lead to it.
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Damage:
    """Values put into a table (or taken out: DROP, or appended to a list: index END).

    ``named``: the violation has to be told of this very place, and not just somewhere.
    """

    edits: tuple[tuple[Place, Any], ...]
    named: bool

    def apply(self, tree: Tree) -> Tree:
        damaged = copy.deepcopy(tree)
        for place, value in self.edits:
            *way, last = place
            parent = at(damaged, tuple(way))
            if value is DROP:
                del parent[last]
            elif last == END:
                parent.append(value)
            else:
                parent[last] = value
        return damaged

    def path(self) -> str:
        keys = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.edits[0][0])
        return "".join(keys).removeprefix(".")


DROP = object()
END = -1
NOT_STRINGS: list[Any] = [7, 1.5, True, None, [], ["x"], {}, {"x": "x"}]
NOT_LISTS: list[Any] = ["x", 7, None, {}, []]
NOT_OBJECTS: list[Any] = ["x", 7, None, []]
NOT_ADDRESSES = ["x", "10.0.0.256", "10.0.0", "10.0.0.1/24", "10.0.0.1,", "127.0.0.1", "::", "g::"]
NOT_NUMBERS = ["", "x", "-1", "1.0", "0x1", " 1", "00"]
WORDS: dict[str, list[str]] = {
    "status": ["", "Completed", "initializing", "completed "],
    "version": ["", "1", "1.1", "2.0 "],
    "server_count": [*NOT_NUMBERS, "0", "99"],
    "server_id": ["", "y" * 65],
    "device_id": NOT_NUMBERS,
    "device_ip": NOT_ADDRESSES,
    "rank_id": [*NOT_NUMBERS, "999"],
}


def damages(tree: Tree) -> Iterator[Damage]:
    """Yields every single damage that does not make another valid table of a version 1.0 table.

    Left out is, for instance, to take its last rank away, or to give a device another address
    that no other has: nobody could tell.
    """
    servers: list[Place] = [("server_list", s) for s in range(len(tree["server_list"]))]
    devices = [
        (*server, "device", d) for server in servers for d in range(len(at(tree, server)["device"]))
    ]
    for place in [(), *servers, *devices]:
        yield from wrong_fields(tree, place, only_device=len(devices) == 1)
    yield from wrong_items(tree, ("server_list",), None)
    for server in servers:
        yield from wrong_items(tree, (*server, "device"), str(len(devices) - 1))
    yield from repeated_values(tree, servers, devices)
    yield from exchanged_ranks(tree, servers)


def at(tree: Any, place: Place) -> Any:
    return reduce(lambda node, key: node[key], place, tree)


def wrong_fields(tree: Tree, place: Place, only_device: bool) -> Iterator[Damage]:
    for key, value in at(tree, place).items():
        here: Place = (*place, key)
        if not (only_device and key == "device_ip"):  # which may be left out
            yield Damage(((here, DROP),), True)
        for new in NOT_LISTS if isinstance(value, list) else [*NOT_STRINGS, *WORDS[key]]:
            yield Damage(((here, new),), True)


def wrong_items(tree: Tree, place: Place, last_rank: str | None) -> Iterator[Damage]:
    """An item too few, one too much, or one that is something else."""
    items = at(tree, place)
    yield Damage((((*place, END), None),), False)
    for index, item in enumerate(items):
        # Ranks that end one earlier are as good as before.
        if len(items) == 1 or item.get("rank_id", "") != last_rank:
            yield Damage((((*place, index), DROP),), False)
        yield Damage((((*place, END), copy.deepcopy(item)),), False)
        for new in NOT_OBJECTS:
            yield Damage((((*place, index), new),), True)


def repeated_values(tree: Tree, servers: list[Place], devices: list[Place]) -> Iterator[Damage]:
    """The value of another server or device, or one that does not suit the others."""
    for a, b in itertools.permutations(servers, 2):
        yield Damage((((*a, "server_id"), at(tree, b)["server_id"]),), False)
    for a, b in itertools.permutations(devices, 2):
        keys = ["rank_id", "device_ip"] + (["device_id"] if a[:2] == b[:2] else [])
        for key in keys:
            yield Damage((((*a, key), at(tree, b)[key]),), False)
    for device in devices if len(devices) > 1 else []:
        is_ipv4 = "." in at(tree, device)["device_ip"]
        for new in ("10.99.0.1,10.99.0.2", "fc00::7" if is_ipv4 else "10.99.0.1"):
            yield Damage((((*device, "device_ip"), new),), False)


def exchanged_ranks(tree: Tree, servers: list[Place]) -> Iterator[Damage]:
    """The ranks of devices of different servers, each of which has further devices."""
    for a, b in itertools.combinations(servers, 2):
        if min(len(at(tree, a)["device"]), len(at(tree, b)["device"])) > 1:
            one: Place = (*a, "device", 0, "rank_id")
            two: Place = (*b, "device", len(at(tree, b)["device"]) - 1, "rank_id")
            yield Damage(((one, at(tree, two)), (two, at(tree, one))), False)


def assert_found(tree: Tree, damage: Damage) -> None:
    violations = check(parse(TABLE, json.dumps(damage.apply(tree)))).violations
    assert violations, f"not found: {damage}"
    if damage.named:
        assert any(v.path.startswith(damage.path()) for v in violations), (damage, violations)


@settings(max_examples=50, deadline=None)
@given(server_sets(max_servers=3), st.randoms(use_true_random=False))
def test_any_single_damage_is_found(servers: Servers, chance: random.Random) -> None:
    tree = json.loads(merge(documents(servers)))
    for damage in chance.sample(list(damages(tree)), 20):
        assert_found(tree, damage)


@pytest.mark.parametrize("sizes", [[1], [2], [2, 2], [1, 3]])
def test_every_damage_to_small_tables_is_found(sizes: list[int]) -> None:
    tree = table(sizes)
    ways = list(damages(tree))
    assert len(ways) > 100
    for damage in ways:
        assert_found(tree, damage)


def test_text_that_ends_too_early_or_too_late_is_found() -> None:
    text = json.dumps(table([2, 1]))
    assert not check(parse(TABLE, text)).violations
    for end in range(len(text)):
        assert check(parse(TABLE, text[:end])).violations
    for more in ("}", "x", ",", "{}"):
        assert check(parse(TABLE, text + more)).violations


@settings(max_examples=60, deadline=None)
@given(server_sets(), st.randoms(use_true_random=False))
def test_what_convert_makes_is_valid(servers: Servers, chance: random.Random) -> None:
    numbers = chance.sample(range(200), len(servers))
    pods = [
        {
            "pod_name": f"job-{number}",
            "server_id": name,
            "devices": [
                {"device_id": str(device), "device_ip": address}
                for device, address in zip(devices, addresses, strict=True)
            ],
        }
        for number, (name, devices, addresses) in zip(numbers, servers, strict=True)
    ]
    group = {
        "device_count": str(sum(len(devices) for _, devices, _ in servers)),
        "instance_count": str(len(servers)),
        "instance_list": pods,
    }
    tree = {"status": "completed", "group_count": "1", "group_list": [group]}
    converted = from_document(parse(TABLE, json.dumps(tree)))
    assert converted.converted
    assert check(parse(TABLE, converted.to_json())).violations == []
    by_number = dict(zip(numbers, (name for name, _, _ in servers), strict=True))
    assert [server.server_id for server in converted.servers] == [
        by_number[number] for number in sorted(numbers)
    ]


JSON = st.recursive(
    st.sampled_from(["1.0", "2.0", "completed", "1", "0", "10.0.0.1", "", 1, 0, 1.5, None, True]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["server_id", "device", "devices", "x"]), inner)
    ),
    max_leaves=5,
)


def places(tree: Any, here: Place = ()) -> Iterator[Place]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*here, key)
        if isinstance(value, dict | list):
            yield from places(value, (*here, key))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["1.0", "1.2", "2.0", "modelarts"]), JSON, st.randoms())
def test_whatever_is_put_into_a_table_it_is_refused_or_read(
    form: str, value: Any, chance: random.Random
) -> None:
    trees = {
        "1.0": table([1, 2]),
        "1.2": {**table([2, 1]), "version": "1.2"},
        "2.0": ranks(3),
        "modelarts": job(["job-1", "job-0"]),
    }
    place = chance.choice(list(places(trees[form])))
    damaged = Damage(((place, value),), False).apply(trees[form])
    document = parse(TABLE, json.dumps(damaged))
    if not check(document).violations:
        from_document(document)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_any_json_is_refused_or_read(tree: Any) -> None:
    check(parse(TABLE, json.dumps(tree)))
