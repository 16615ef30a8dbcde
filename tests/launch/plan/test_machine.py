"""Looking at what the machine has, and dealing its cores to ranks."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.job import Job
from launch.plan.machine import Machine, share_cores
from launch.plan.numa import allowed_cores, parse_list
from launch.plan.processes import Node, World, make_plan
from train.environment import visible_npus


def machine(folder: Path, nodes: dict[int, str], siblings: dict[int, str]) -> Path:
    """The kernel's description of a machine."""
    for node, cores in nodes.items():
        (folder / f"node/node{node}").mkdir(parents=True)
        (folder / f"node/node{node}/cpulist").write_text(f"{cores}\n")
    for core, text in siblings.items():
        (folder / f"cpu/cpu{core}/topology").mkdir(parents=True)
        (folder / f"cpu/cpu{core}/topology/thread_siblings_list").write_text(f"{text}\n")
    return folder


def test_list_of_the_kernel() -> None:
    assert parse_list("0-3,8,10-11\n") == [0, 1, 2, 3, 8, 10, 11]
    assert parse_list("\n") == []


def test_numa_nodes_and_threads_of_a_core(tmp_path: Path) -> None:
    siblings = {core: f"{core % 4},{core % 4 + 4}" for core in range(8)}
    system = machine(tmp_path, {0: "0-1,4-5", 1: "2-3,6-7"}, siblings)
    assert allowed_cores(system, frozenset(range(8))) == ((0, 4, 1, 5), (2, 6, 3, 7))
    assert allowed_cores(system, frozenset({1, 2, 6})) == ((1,), (2, 6))


def test_nodes_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    system = machine(tmp_path, {10: "2", 2: "1", 0: "0"}, {})
    assert allowed_cores(system, frozenset(range(3))) == ((0,), (1,), (2,))


def test_kernel_that_tells_nothing(tmp_path: Path) -> None:
    assert allowed_cores(tmp_path, frozenset({3, 1})) == ((1, 3),)


def test_this_machine() -> None:
    assert sum(map(len, allowed_cores())) >= 1


@pytest.mark.parametrize(
    ("groups", "nproc", "expected"),
    [
        ([(0, 1, 2, 3)], 2, [(0, 1), (2, 3)]),
        ([(0, 1), (2, 3)], 4, [(0,), (1,), (2,), (3,)]),
        ([(0, 1, 2), (3, 4, 5)], 3, [(0,), (1,), (3,)]),
        ([(0, 1), (2, 3), (4, 5), (6, 7)], 2, [(0, 1, 2, 3), (4, 5, 6, 7)]),
        ([(0,), (1, 2, 3)], 4, [(0,), (1,), (2,), (3,)]),
        ([(0, 1)], 3, [None, None, None]),
    ],
)
def test_shares(groups: list, nproc: int, expected: list) -> None:
    assert share_cores(groups, nproc) == expected


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.integers(1, 20))
def test_shares_are_equal_disjoint_and_within_a_node_where_they_can_be(
    sizes: list[int], nproc: int
) -> None:
    numbers = iter(range(sum(sizes)))
    groups = [tuple(next(numbers) for _ in range(size)) for size in sizes]
    shares = share_cores(groups, nproc)
    if nproc > sum(sizes):
        assert shares == [None] * nproc
        return
    given_out = [core for share in shares for core in share or ()]
    assert len(set(given_out)) == len(given_out)
    assert len({len(share or ()) for share in shares}) == 1
    assert shares[0]
    if nproc % len(groups) == 0 and min(sizes) >= nproc // len(groups):
        assert all(any(set(share or ()) <= set(group) for group in groups) for share in shares)


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    names = ["davinci0", "davinci3", "davinci12", "davinci_manager", "davinci0.bak", "null"]
    for name in names:
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 3, 12)),
        ({"ASCEND_RT_VISIBLE_DEVICES": "0,1"}, (0, 3)),
        ({"ASCEND_RT_VISIBLE_DEVICES": "2"}, (12,)),
        ({"ASCEND_RT_VISIBLE_DEVICES": "0,1,2,3,4,5"}, (0, 3, 12)),
        ({"ASCEND_RT_VISIBLE_DEVICES": ""}, ()),
    ],
)
def test_visible_npus(dev: Path, environment: dict[str, str], expected: tuple[int, ...]) -> None:
    assert visible_npus(environment, dev) == expected


def test_no_npus(tmp_path: Path) -> None:
    assert visible_npus({}, tmp_path) == ()


@pytest.mark.parametrize(
    ("npus", "cores", "expected"), [(0, 2, 2), (0, 64, 8), (8, 192, 8), (16, 192, 16), (4, 2, 4)]
)
def test_default_world_size(npus: int, cores: int, expected: int) -> None:
    machine = Machine(tuple(range(npus)), (tuple(range(cores)),))
    assert machine.default_world_size == expected


def test_a_quota_counts_as_cores() -> None:
    """A container of --cpus=2 on a machine of 8 cores: two ranks, and no cores for one alone."""
    limited = Machine((), ((0, 1, 2, 3), (4, 5, 6, 7)), quota=2.75)
    assert (limited.num_cores, limited.default_world_size) == (2, 2)
    assert limited.shares([0, 1]) == [None, None]
    assert "2.75 cores" in limited.quota_note
    plan = make_plan(Job(["true"], Path("run")), Node(0, "here", 0, 2), World(2), limited, {})
    assert [(p.cores, p.variables["OMP_NUM_THREADS"]) for p in plan] == [(None, "1")] * 2
    assert Machine((), ((0, 1),), quota=0.5).default_world_size == 1
    roomy = Machine((), ((0, 1),), quota=4.0)
    assert (roomy.num_cores, roomy.quota_note, roomy.shares([0, 1])) == (2, "", [(0,), (1,)])
