"""Cores by the NPUs' own topology: what npu-smi prints, real and hostile, and who gets what."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.plan import machine, npu_topology
from launch.plan.machine import Machine
from launch.plan.npu_topology import TopologyUnknown, ask, deal_cores, parse
from launch.plan.numa import allowed_cores, nearest_nodes, numa_nodes
from tests.paths import ROOT

LEGEND = """\

Legend:

  X    = Self
  SYS  = Path traversing PCIe and NUMA nodes. Nodes are connected through SMP, such as QPI, UPI.
  PIX  = Path traversing a single PCIe switch
  HCCS = Connection traversing HCCS.
  NA   = Unknown relationship.
"""
LAST_COLUMN = ["144-167", "144-167", "96-119", "96-119", "0-23", "0-23", "48-71", "48-71"]


def table(
    rows: list[str], name: str = "NPU", links: str = "HCCS", title: str = "CPU Affinity"
) -> str:
    """The format of npu-smi 23 to 25 for as many NPUs as there are cells of the last column."""
    numbers = range(len(rows))
    lines = ["\t   " + "".join(f"{name}{n:<8}" for n in numbers) + title]
    for n, last in enumerate(rows):
        cells = ("X" if n == other else links for other in numbers)
        lines.append(f"{name}{n:<8}" + "".join(f"{cell:<11}" for cell in cells) + last)
    return "\n".join(lines) + "\n" + LEGEND


# Atlas 800T A2: 8 x 910B3, 192 cores of Kunpeng 920, as modelscope/ms-swift prints it.
A2 = table(LAST_COLUMN)
# Four NPUs behind PCIe switches, and a column with two spans.
PCIE = """\
        NPU0    NPU1    NPU2    NPU3  CPU Affinity
NPU0     X      PIX     SYS     SYS   0-3,8-11
NPU1    PIX      X      SYS     SYS   0-3,8-11
NPU2    SYS     SYS      X      PXB   4-7, 12-15
NPU3    SYS     SYS     PXB      X    4-7, 12-15
"""
# Atlas A3, as "python -m sglang.check_env" prints it: no such column.
A3 = """\
           Phy-ID12   Phy-ID13
Phy-ID12   X          SIO
Phy-ID13   SIO        X
"""


@pytest.fixture
def kunpeng(tmp_path: Path) -> Path:
    """The kernel's description of four sockets with two NUMA nodes of 24 cores each."""
    for node in range(8):
        folder = tmp_path / f"node/node{node}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(f"{24 * node}-{24 * node + 23}\n")
        far = [10 if other == node else 12 if other // 2 == node // 2 else 24 for other in range(8)]
        (folder / "distance").write_text(" ".join(map(str, far)) + "\n")
    return tmp_path


def span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


def test_table_of_an_a2() -> None:
    near = parse(A2)
    assert list(near) == list(range(8))
    assert near[0] == near[1] == set(range(144, 168))
    assert near[4] == set(range(24))


def test_table_with_switches_and_spans() -> None:
    assert parse(PCIE)[1] == {*range(4), *range(8, 12)}
    assert parse(PCIE)[2] == {*range(4, 8), *range(12, 16)}


@pytest.mark.parametrize(
    "text",
    [
        A3,
        "This device does not support querying topo.\n",
        "",
        table(["NA"] * 8),
        table(["0-99999999999999999999"] * 2),
        table(["-3", "4--5"]),
        "NPU0  X  0-3\n",  # no column of that name
        "\0\x1b[31mNPU0" * 9999,
    ],
)
def test_tables_that_name_no_cores(text: str) -> None:
    assert parse(text) == {}
    with pytest.raises(TopologyUnknown, match="names no cores"):
        deal_cores(parse(text), [0, 1], [span(0, 7)])


def test_every_npu_gets_a_numa_node_of_its_socket(kunpeng: Path) -> None:
    groups = allowed_cores(kunpeng, frozenset(range(192)))
    shares = deal_cores(parse(A2), range(8), groups, kunpeng)
    starts = {npu: cores[0] for npu, cores in shares.items()}
    assert starts == {0: 144, 1: 168, 2: 96, 3: 120, 4: 0, 5: 24, 6: 48, 7: 72}
    assert all(cores == span(cores[0], cores[0] + 23) for cores in shares.values())


def test_spare_nodes_go_to_whoever_has_least(kunpeng: Path) -> None:
    """Of two nodes equally near, to the one whose NPUs are more for as many cores."""
    for node, far in ((1, [12, 10, 12]), (0, [10, 12, 12]), (2, [12, 12, 10])):
        (kunpeng / f"node/node{node}/distance").write_text(" ".join(map(str, far)) + "\n")
    rows = ["0-23", "24-47", "24-47", "24-47"]
    groups = allowed_cores(kunpeng, frozenset(range(72)))
    shares = deal_cores(parse(table(rows)), range(4), groups, kunpeng)
    assert {npu: len(cores) for npu, cores in shares.items()} == dict.fromkeys(range(4), 16)
    assert shares[0] == span(0, 15) and shares[3] == span(56, 71)


def test_cores_that_the_process_may_not_use(kunpeng: Path) -> None:
    # A container on the second half of the machine.
    groups = allowed_cores(kunpeng, frozenset(range(100, 192)))
    shares = deal_cores(parse(A2), range(8), groups, kunpeng)
    assert set(shares) == {0, 1, 2, 3}
    assert shares[2] == span(100, 121) and shares[3] == span(122, 143)
    assert {len(cores) for cores in shares.values()} == {22}
    with pytest.raises(TopologyUnknown, match="fewer cores than NPUs"):
        deal_cores(parse(A2), range(8), [span(24, 47)], kunpeng)


def test_a_machine_whose_kernel_tells_no_distances(tmp_path: Path) -> None:
    shares = deal_cores(parse(PCIE), range(4), [span(0, 15)], tmp_path)
    assert shares == {0: (0, 1, 2, 3), 1: (8, 9, 10, 11), 2: (4, 5, 6, 7), 3: (12, 13, 14, 15)}
    assert nearest_nodes(numa_nodes(tmp_path), tmp_path) == {}


def test_cores_that_overlap_in_part() -> None:
    with pytest.raises(TopologyUnknown, match="overlap"):
        deal_cores(parse(table(["0-3", "2-5"])), [0, 1], [span(0, 7)])


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        pytest.param([4, 6], {4: 0, 6: 48}, id="numbers of the host"),
        pytest.param(
            [10, 11, 12, 13, 14, 15, 16, 17], {10: 144, 12: 96, 14: 0, 17: 72}, id="numbers from 0"
        ),
    ],
)
def test_a_container_with_some_of_the_devices(
    kunpeng: Path, nodes: list[int], first: dict[int, int]
) -> None:
    groups = allowed_cores(kunpeng, frozenset(range(192)))
    shares = deal_cores(parse(A2), nodes, groups, kunpeng)
    assert {npu: shares[npu][0] for npu in first} == first


def test_devices_that_the_table_does_not_have() -> None:
    with pytest.raises(TopologyUnknown, match="names other NPUs than /dev has"):
        deal_cores(parse(A2), [8, 9], [span(0, 191)])


def test_ranks_get_the_cores_of_the_npu_behind_their_device() -> None:
    cores = {npu: (npu,) for npu in range(8)}
    # What ASCEND_RT_VISIBLE_DEVICES=4,5,7 leaves; a rank table then names devices of the process.
    machine = Machine((4, 5, 7), (span(0, 23),), cores)
    assert machine.shares([0, 1, 2]) == [(4,), (5,), (7,)]
    assert machine.shares([2, 0]) == [(7,), (4,)]
    assert Machine((0, 1), (span(0, 3),), {0: (3,), 1: (1,)}).shares([0, 1]) == [(3,), (1,)]
    assert machine.shares([0, 1, 2, 3]) == [span(6 * k, 6 * k + 5) for k in range(4)]
    assert Machine((), (span(0, 3),)).shares([0, 1]) == [(0, 1), (2, 3)]


@pytest.mark.parametrize(("first_core", "known"), [(0, True), (100, False)])
def test_a_machine_of_which_some_npus_have_no_core_is_told(
    first_core: int, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then all ranks go by NUMA node, and not some by their NPU."""
    monkeypatch.setattr(npu_topology, "ask", lambda: A2)
    for name in ("visible_npus", "npu_nodes"):
        monkeypatch.setattr(machine, name, lambda *_: tuple(range(8)))
    monkeypatch.setattr(machine, "allowed_cores", lambda: (span(first_core, 191),))
    found = machine.this_machine()
    assert (len(found.npu_cores) == 8) == known == (found.note == "")
    assert known or found.note.endswith("names cores that this process may not use")
    assert known or not found.npu_cores


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, r"cannot be run \(No such file or directory\)"),
        ("echo dcmi module initialize failed; exit 13", "failed with exit code 13"),
        # The shell's child lives on and holds the output open.
        ("echo NPU0; sleep 60 & echo $! > child; wait", "gave no answer within 1 s"),
    ],
)
def test_tool_that_is_missing_fails_or_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, why: str
) -> None:
    tool = tmp_path / "npu-smi"
    if script:
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TopologyUnknown, match=why):
        ask([str(tool)], seconds=1)
    child = tmp_path / "child"
    # What has ended but is not collected has an empty command line.
    while child.exists() and read(Path("/proc", child.read_text().strip(), "cmdline")):
        time.sleep(0.01)


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_tool_that_prints_no_text(tmp_path: Path) -> None:
    tool = tmp_path / "npu-smi"
    tool.write_text("#!/bin/sh\nhead -c 3000000 /dev/urandom\n")
    tool.chmod(0o755)
    assert parse(ask([str(tool)])) == {}


# The launcher where the device nodes, cores and kernel are those of another machine.
PROGRAM = """\
import sys
from pathlib import Path
import launch.plan.machine as machine
from launch.job import Job
from launch.dry_run import print_plan
machine.visible_npus = lambda environment: (4, 5) if sys.argv[1] == "t" else tuple(range(8))
machine.npu_nodes = lambda: tuple(range(8))
machine.allowed_cores = lambda: (tuple(range(192)),)
job = Job(["train"], Path("run"), nproc=2, scheduler_command=["s"])
print_plan(job, as_json=sys.argv[1] == "j")
"""


@pytest.mark.parametrize("form", ["t", "j"])
@pytest.mark.parametrize("works", [True, False])
def test_dry_run(tmp_path: Path, works: bool, form: str) -> None:
    """With some of the NPUs to be seen, and in the other form with all of them."""
    (tmp_path / "table").write_text(A2)
    tool = tmp_path / "npu-smi"
    tool.write_text(f"#!/bin/sh\n[ $3 = topo ] && cat {tmp_path}/table\n" if works else "exit 1")
    tool.chmod(0o755)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, form],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    note = "note: cores go by NUMA node, not by NPU: npu-smi info -t topo "
    assert (note in ended.stdout) is (not works and form == "t")
    if form == "t":
        cores = [line.split()[1] for line in ended.stdout.splitlines() if "  cores " in line][1:]
        assert [line.split(",")[0] for line in cores] == (["0", "12"] if works else ["0", "96"])
    else:
        workers = json.loads(ended.stdout)["processes"][1:]
        assert [w["cores"][0] for w in workers] == ([144, 156] if works else [0, 96])
