"""Every way to start, up to and through HCCL on the stand-in: who is which rank on which device.

The ranks are `starts_worker.py` in the place of the training program. Each exports what sites
export, a rank table too.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.ascend import stand_in
from tests.ascend.stand_in.calls import Collective, Join, read_calls
from tests.launch.checkout import ON_PAPER, VARIABLES, copy_checkout
from tests.launch.kubernetes.containers import operator_variables
from tests.launch.modelarts_job.containers import (
    Container,
    card_variables,
    end_of,
    group_list,
    node_variables,
)
from tests.launch.slurm import cluster as slurm
from tests.marked import Marked, needs_open_mpi
from tests.npus import with_npus

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

WORKER = Path(__file__).with_name("starts_worker.py")
# One that waits in vain is to say so soon.
PATIENCE = {"MS_NODE_TIMEOUT": "100", "HCCL_CONNECT_TIMEOUT": "100", "HCCL_EXEC_TIMEOUT": "100"}


@pytest.fixture(scope="module")
def cann() -> stand_in.StandIn:
    if why := stand_in.problem():
        pytest.skip(why)
    return stand_in.build()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project whose training program ends after its first collectives."""
    folder = tmp_path_factory.mktemp("starts") / "project"
    return copy_checkout(folder, {"job.yaml": ON_PAPER}, train=WORKER.read_text())


class Site:
    """Where jobs are started.

    Args:
        folder: For logs and run folders.
        project: What is started.
        cann: What takes CANN's place.
    """

    def __init__(self, folder: Path, project: Path, cann: stand_in.StandIn) -> None:
        self.folder = folder
        self.project = project
        self.log = folder / "calls"
        given = cann.environment(self.log)
        self.variables = {
            **{**given, "PYTHONPATH": f"{project}:{given['PYTHONPATH']}"},
            **VARIABLES,
            **PATIENCE,
            "MTLN_PYTHON": sys.executable,
            "MTLN_JOB_ID": str(os.getpid()),
        }
        self.started: list[Marked] = []

    @property
    def job(self) -> list[object]:
        """What every launcher is given: configuration and run folder."""
        return [self.project / "configs/job.yaml", f"run_dir={self.folder / 'run'}"]

    def start(self, *words: object, npus: Sequence[int] = (0, 1), **variables: str) -> Marked:
        """Start a command in the project's folder, on a machine with these NPUs."""
        inside = ["bash", "-c", 'cd "$0" && exec "$@"', self.project]
        command = [*with_npus(self.folder, *npus), *inside, *words]
        self.started.append(Marked(command, {**self.variables, **variables}))
        return self.started[-1]

    def launch(self, *options: object, npus: Sequence[int] = (0, 1), **variables: str) -> Marked:
        """Start the launcher."""
        script = self.project / "launch/run_distribute_8p.sh"
        return self.start("bash", script, *self.job, *options, npus=npus, **variables)

    def table(self, servers: dict[str, list[int]]) -> Path:
        """Write a rank table with these servers and devices, in the order of the ranks."""
        rank, listed = 0, []
        for server, numbers in servers.items():
            devices = []
            for number in numbers:
                address = f"192.1.0.{rank + 1}"
                ids = {"device_id": str(number), "rank_id": str(rank)}
                devices.append({**ids, "device_ip": address})
                rank += 1
            listed.append({"server_id": server, "device": devices})
        tree = {"version": "1.0", "server_count": str(len(listed)), "server_list": listed}
        path = self.folder / "table.json"
        path.write_text(json.dumps({**tree, "status": "completed"}))
        return path

    def assert_ranks(self, *devices: int) -> None:
        """Ranks 0, 1 ... have joined with these devices, and called what the worker calls."""
        ranks = [process for process in read_calls(self.log) if process.of(Join)]
        joined = sorted((join for rank in ranks for join in rank.of(Join)), key=lambda j: j.rank)
        size = len(devices)
        assert joined == [Join(size, rank, device) for rank, device in enumerate(devices)]
        calls = [Collective("AllReduce", "float32", count, "sum") for count in (size, 1)]
        assert [rank.of(Collective) for rank in ranks] == [calls] * size


@pytest.fixture
def site(tmp_path: Path, project: Path, cann: stand_in.StandIn) -> Iterator[Site]:
    site = Site(tmp_path, project, cann)
    yield site
    for process in site.started:
        process.clean_up()


def planned(text: str) -> list[tuple[int, str]]:
    """Rank and device of the ranks in a plan."""
    processes = json.loads(text)["processes"]
    return [(p["rank"], p["variables"]["DEVICE_ID"]) for p in processes if p["rank"] is not None]


def test_launcher_of_one_node_with_the_table_of_a_site(site: Site) -> None:
    """In a container with three NPUs, of which the table has two, the last one first."""
    table = str(site.table({"127.0.0.1": [7, 2]}))
    exported = {"RANK_TABLE_FILE": table, "MINDSPORE_HCCL_CONFIG_PATH": table}
    plan = site.launch("--dry-run", "--format", "json", npus=(2, 4, 7), **exported).succeed()
    assert planned(plan) == [(0, "2"), (1, "0")]
    site.launch(npus=(2, 4, 7), **exported).succeed()
    site.assert_ranks(2, 0)


def test_launcher_of_one_node_with_eight_npus(site: Site) -> None:
    npus = range(8)
    plan = site.launch("--dry-run", "--format", "json", npus=npus).succeed()
    assert planned(plan) == [(n, str(n)) for n in npus]
    site.launch(npus=npus).succeed()
    site.assert_ranks(*npus)


def test_launchers_of_two_nodes_with_a_table(site: Site) -> None:
    """The second server has its rank on another device than the first."""
    table = site.table({"127.0.0.1": [0], "127.0.0.2": [1]})
    nodes = [site.launch("--rank-table", table, "--node-rank", node) for node in range(2)]
    assert [node.finish()[::2] for node in nodes] == [(0, "")] * 2
    site.assert_ranks(0, 1)


def test_a_launcher_for_every_rank(site: Site) -> None:
    """As scripts do it that started MindSpore from a rank table."""
    table = str(site.table({"127.0.0.1": [1, 0]}))
    ranks = [
        site.launch(
            RANK_TABLE_FILE=table, RANK_ID=str(rank), RANK_SIZE="2", DEVICE_ID=str(1 - rank)
        )
        for rank in range(2)
    ]
    assert [rank.finish()[::2] for rank in ranks] == [(0, "")] * 2
    site.assert_ranks(1, 0)


def test_modelarts_per_node(site: Site) -> None:
    container = Container(site.folder / "node", site.project)
    container.before = with_npus(site.folder, 0, 1)
    platform = {**site.variables, **node_variables(0, 1, 2)}
    code, _, err = container.run(*arguments(site), **platform)
    assert (code, err) == (0, "")
    site.assert_ranks(0, 1)


def test_modelarts_per_card(site: Site) -> None:
    """Two servers of four NPUs. The platform lists the pods in an order that is not theirs."""
    hosts = ["127.0.0.1", "127.0.0.2"]
    (site.folder / "jobstart_hccl.json").write_text(group_list(cards=4, hosts=hosts))
    started = []
    for rank in range(8):
        container = Container(site.folder / f"card{rank}", site.project)
        container.before = with_npus(site.folder, *range(4))
        platform = {**site.variables, **card_variables(rank, 8, 4, site.folder)}
        started.append(container.start(*arguments(site), **platform))
    assert [end_of(process)[::2] for process in started] == [(0, "")] * 8
    site.assert_ranks(*range(4), *range(4))


def arguments(site: Site) -> list[object]:
    """What the boot file is given."""
    return ["--config", "configs/job.yaml", f"--run_dir={site.folder / 'run'}"]


def test_msrun(site: Site) -> None:
    folder = Path(sys.executable).parent
    options = ("--worker_num=2", "--local_worker_num=2", "--join=True", "--master_port=28173")
    site.start(
        *(folder / "msrun", *options, f"--log_dir={site.folder / 'logs'}"),
        *("python", "-m", "train", *site.job),
        RANK_TABLE_FILE=str(site.table({"127.0.0.1": [1, 0]})),
        PATH=f"{folder}{os.pathsep}{os.environ['PATH']}",
    ).succeed()
    site.assert_ranks(0, 1)


def test_containers_of_mindcluster(site: Site) -> None:
    """Two containers with an NPU each, as Ascend Operator starts them."""
    containers = [
        site.launch(npus=(number,), **operator_variables(number, 2, 1, "127.0.0.1", 28179))
        for number in range(2)
    ]
    assert [container.finish()[::2] for container in containers] == [(0, "")] * 2
    site.assert_ranks(0, 0)


@needs_open_mpi
def test_mpirun(site: Site) -> None:
    script = site.project / "launch/run_mpi.sh"
    table = str(site.table({"127.0.0.1": [1, 0]}))
    site.start("bash", script, *site.job, RANK_TABLE_FILE=table).succeed()
    site.assert_ranks(0, 1)


@pytest.mark.skipif(bool(slurm.missing()), reason="Slurm is not on this machine")
def test_slurm(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two nodes, without device nodes, since Slurm's daemons see those of this machine."""
    script = site.project / "launch/slurm.sbatch"
    with slurm.running(Path("/tmp") / f"slurm{os.getpid()}") as cluster:
        words = ("--nodes=2", "--cpus-per-task=1", script, *site.job, "nproc=1")
        job = cluster.submit(*words, cwd=site.folder, **site.variables)
        assert job.wait_for_end()["JobState"] == "COMPLETED", job.output
    site.assert_ranks(0, 0)
