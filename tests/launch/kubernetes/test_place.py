"""Which node of a job a container takes itself for."""

import json
import sys
from pathlib import Path

import pytest

from launch.arguments import parse
from launch.kubernetes.place import Place, forget_roles, place_in_cluster
from tests.launch.checkout import ON_PAPER, copy_checkout
from tests.launch.kubernetes.containers import operator_variables, volcano_variables
from tests.launch.script_jobs import Launch
from tests.marked import Marked
from train.errors import UserError


@pytest.mark.parametrize("number", [0, 1, 2])
def test_containers_of_ascend_operator(number: int) -> None:
    told = operator_variables(number, 3, 8, "10.96.0.7", 2223)
    assert place_in_cluster(told) == Place(3, number, "10.96.0.7", 2223, 8)


def test_one_container_of_ascend_operator_needs_no_address() -> None:
    told = operator_variables(0, 1, 8)
    del told["MS_SCHED_HOST"], told["MS_SCHED_PORT"]
    assert place_in_cluster(told) == Place(1, 0, nproc=8)


@pytest.mark.parametrize(("number", "count"), [(0, 1), (0, 12), (11, 12)])
def test_containers_of_volcano(number: int, count: int) -> None:
    told = volcano_variables(number, count, "mtln-worker-0.mtln")
    expected = Place(count, number, "mtln-worker-0.mtln" if count > 1 else None)
    assert place_in_cluster(told) == expected


@pytest.mark.parametrize(
    "variables",
    [
        {},
        # What msrun, this launcher or ModelArts' engine give to each rank, also in a container.
        {**operator_variables(1, 2, 8), "RANK_ID": "3", "MS_NODE_ID": "3"},
        {"MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": "2", "MS_SCHED_HOST": "h", "MS_NODE_ID": "0"},
        {"MS_SCHED_HOST": "127.0.0.1", "MS_SCHED_PORT": "29000"},
        {**volcano_variables(1, 2), "RANK_ID": "8"},
        # Volcano without its plugin svc: a job of one container.
        {"VC_TASK_INDEX": "0"},
    ],
)
def test_other_processes_have_no_place(variables: dict[str, str]) -> None:
    assert place_in_cluster(variables) is None


NO_NPUS = "the Scheduler of this AscendJob has no NPUs"


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"MS_NODE_RANK": "3"}, "MS_NODE_RANK is 3, but 24 ranks, 8 in each container, make 3"),
        ({"MS_NODE_RANK": "one"}, "MS_NODE_RANK must be a whole number, not 'one'"),
        ({"MS_NODE_RANK": ""}, "MS_NODE_RANK must be set"),
        ({"MS_LOCAL_WORKER": ""}, "MS_LOCAL_WORKER must be set"),
        ({"MS_LOCAL_WORKER": "0"}, "not a multiple of MS_LOCAL_WORKER, 0"),
        ({"MS_WORKER_NUM": "20"}, "MS_WORKER_NUM is 20, not a multiple of MS_LOCAL_WORKER, 8"),
        ({"MS_WORKER_NUM": "0"}, "MS_WORKER_NUM is 0"),
        ({"MS_WORKER_NUM": ""}, "MS_WORKER_NUM must be set"),
        ({"MS_SCHED_HOST": ""}, "MS_SCHED_HOST must be set"),
        ({"MS_SCHED_PORT": "80"}, "MS_SCHED_PORT is 80, not a port"),
        ({"MS_SCHED_PORT": ""}, "MS_SCHED_PORT must be set"),
        ({"MS_ROLE": "MS_PSERVER"}, "MS_ROLE must be MS_SCHED or MS_WORKER, not 'MS_PSERVER'"),
        # How the operator counts where the Scheduler has no NPUs: both are 0.
        ({"MS_NODE_RANK": "0"}, NO_NPUS),
        ({"MS_NODE_RANK": "0", "MS_ROLE": "MS_SCHED", "NPU_POD": "false"}, NO_NPUS),
    ],
)
def test_mistakes_in_the_variables_of_ascend_operator(
    variables: dict[str, str], named: str
) -> None:
    with pytest.raises(UserError) as raised:
        place_in_cluster({**operator_variables(1, 3, 8), **variables})
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"VC_TASK_INDEX": "2"}, "VC_TASK_INDEX is 2, but VC_WORKER_NUM is 2"),
        ({"VC_TASK_INDEX": "x"}, "VC_TASK_INDEX must be a whole number, not 'x'"),
        ({"VC_WORKER_NUM": "x"}, "VC_WORKER_NUM must be a whole number, not 'x'"),
        ({"VC_WORKER_NUM": ""}, "plugin svc, and its task the name worker"),
        ({"VC_WORKER_HOSTS": ""}, "VC_WORKER_NUM is 2, but VC_WORKER_HOSTS names no host"),
    ],
)
def test_mistakes_in_the_variables_of_volcano(variables: dict[str, str], named: str) -> None:
    with pytest.raises(UserError) as raised:
        place_in_cluster({**volcano_variables(1, 2), **variables})
    assert named in str(raised.value)


def test_mistake_ends_the_launcher_with_one_line(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(ON_PAPER)
    ended = launch("job.yaml", **{**operator_variables(1, 2, 8), "MS_NODE_RANK": "2"})
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: environment: MS_NODE_RANK is 2")
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], (2, 1, "10.96.0.7", 2222, 3)),
        (["nproc=1"], (2, 1, "10.96.0.7", 2222, 1)),
        (["--master", "fast-0"], (2, 1, "fast-0", None, 3)),
        (["--nnodes", "1"], (1, None, None, None, None)),
    ],
)
def test_options_take_precedence_over_the_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], expected: tuple
) -> None:
    (tmp_path / "job.yaml").write_text(ON_PAPER)
    for name, value in operator_variables(1, 2, 3, "10.96.0.7").items():
        monkeypatch.setenv(name, value)
    job = parse([str(tmp_path / "job.yaml"), *options]).job
    assert (job.nnodes, job.node_rank, job.master, job.control_port, job.nproc) == expected


def test_without_its_word_on_the_nodes_the_operators_address_does_not_count(
    launch: Launch, tmp_path: Path
) -> None:
    (tmp_path / "job.yaml").write_text(ON_PAPER)
    alone = ("--nnodes", "1", "nproc=2", "--dry-run", "--format", "json")
    ended = launch("job.yaml", *alone, **operator_variables(1, 2, 3))
    ranks = json.loads(ended.stdout)["processes"]
    assert [rank["rank"] for rank in ranks] == [None, 0, 1]
    assert {rank["variables"]["MS_SCHED_HOST"] for rank in ranks} == {"127.0.0.1"}


def test_single_rank_does_not_take_the_role_of_its_container(tmp_path: Path) -> None:
    """With MS_ROLE it would be MindSpore's scheduler, and wait for ranks for ever."""
    rank = "import json, os; print('TOLD', json.dumps(dict(os.environ)))"
    project = copy_checkout(tmp_path / "project", {"job.yaml": ON_PAPER}, train=rank)
    command = [sys.executable, "-m", "launch", project / "configs/job.yaml"]
    told = {**operator_variables(0, 1, 1), "PYTHONPATH": str(project)}
    # From a folder of its own: the one in which tests start has the real program.
    printed = Marked(["env", "-C", project, *command], told).succeed()
    variables = json.loads(printed.partition("TOLD ")[2].splitlines()[0])
    assert (variables["RANK_ID"], variables["RANK_SIZE"]) == ("0", "1")
    assert not {name for name in variables if name.startswith("MS_")} & {
        *("MS_ROLE", "MS_SCHED_HOST", "MS_SCHED_PORT", "MS_WORKER_NUM"),
        *("MS_LOCAL_WORKER", "MS_NODE_RANK"),
    }


@pytest.mark.parametrize(
    "variables",
    [
        {"MS_SCHED_HOST": "10.0.0.1", "MS_SCHED_PORT": "29000"},
        {**operator_variables(1, 2, 8), "MS_NODE_ID": "9"},
    ],
)
def test_what_others_say_with_these_names_is_kept(variables: dict[str, str]) -> None:
    before = dict(variables)
    forget_roles(variables)
    assert variables == before
