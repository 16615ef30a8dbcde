"""Containers as ModelArts makes them: variables, folders, files, and processes in them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.launch.checkout import ON_PAPER, VARIABLES, copy_checkout
from tests.object_store import foreign_variables
from tests.paths import ROOT

_PLATFORM = ("MA_", "VC_", "RANK", "MS_", "DEVICE_ID", "ASCEND_DEVICE_ID", "MTLN_", "HCCL_")

# In place of the training program, or of the launcher: notes what it was given, leaves results, and
# does what the test says.
_RECORDER = """\
import json, os, signal, sys, time
from pathlib import Path
from train.storage.address import local_run_folder
name = os.environ.get("RANK_ID", "launcher")
notes = Path(os.environ["TEST_NOTES"])
given = [word.removeprefix("run_dir=") for word in sys.argv if word.startswith("run_dir=")]
run_dir = local_run_folder([str(notes / "run"), *given][-1])
run_dir.mkdir(parents=True, exist_ok=True)
def leave(number, frame):
    (run_dir / "stopped").write_text(str(number))
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, leave)
known = {
    "arguments": sys.argv[1:],
    "cwd": os.getcwd(),
    "pid": os.getpid(),
    "variables": dict(os.environ),
}
for file in ("config.yaml", "metrics.jsonl"):
    (run_dir / file).write_text("{}")
(notes / f".{name}").write_text(json.dumps(known))
(notes / f".{name}").rename(notes / f"{name}.json")
while os.environ.get("TEST_HANG"):
    time.sleep(0.05)
sys.exit(int(os.environ.get("TEST_EXIT", "0")))
"""


def variables(**more: str) -> dict[str, str]:
    """This machine's variables without any that a platform or a user of object storage sets."""
    foreign = {name for name in os.environ if name.startswith(_PLATFORM)}
    kept = {k: v for k, v in os.environ.items() if k not in foreign.union(foreign_variables())}
    return {**kept, "MTLN_PYTHON": sys.executable, **VARIABLES, **more}


def node_variables(number: int, count: int, cards: int) -> dict[str, str]:
    """What a container with a custom image has; the hosts are this machine."""
    return {
        "MA_NUM_HOSTS": str(count),
        "MA_NUM_GPUS": str(cards),
        "MA_TASK_NAME": "worker",
        "MA_VJ_NAME": "job-4711",
        "VC_WORKER_NUM": str(count),
        "VC_TASK_INDEX": str(number),
        "VC_WORKER_HOSTS": ",".join(["localhost", *(f"worker-{i}.job" for i in range(1, count))]),
        "RANK_TABLE_FILE": "/user/config",  # always there, and often not complete
    }


def card_variables(rank: int, size: int, cards: int, table: Path) -> dict[str, str]:
    """What the preset Ascend engine gives the process of one card."""
    return {
        "MA_NUM_HOSTS": str(size // cards),
        "MA_NUM_GPUS": str(cards),
        "VC_TASK_INDEX": str(rank // cards),
        "RANK_ID": str(rank),
        "RANK_SIZE": str(size),
        "ASCEND_DEVICE_ID": str(rank % cards),
        "RANK_TABLE_FILE": str(table),
    }


def group_list(
    status: str = "completed",
    pods: int = 2,
    cards: int = 2,
    hosts: Sequence[str] = ("192.168.0.20", "192.168.0.19"),
) -> str:
    """The platform's rank table; the pods come in an order that is not theirs."""
    instances = [
        {
            "pod_name": f"job-4711-{pod}",
            "server_id": hosts[pod],
            "devices": [
                {"device_id": str(card), "device_ip": f"192.1.{pod}.{card + 1}"}
                for card in range(cards)
            ],
        }
        for pod in reversed(range(pods))
    ]
    group = {
        "group_name": "job-4711",
        "device_count": str(pods * cards),
        "instance_count": str(pods),
        "instance_list": instances,
    }
    return json.dumps({"status": status, "group_count": "1", "group_list": [group]})


def other_at(own: Path, usual: Path) -> list[str]:
    """Words before a command that let it find one file or folder at the place of another.

    In a mount namespace of its own, as containers are made. Skips the test where that is forbidden.
    """
    apart = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mount namespace (unshare --mount)")
    inside = 'mount --bind "$0" "$1" && shift && exec "$@"'
    return [*apart, "bash", "-c", inside, str(own), str(usual)]


class Container:
    """One container: its own home folder and cache.

    Args:
        folder: Where they are.
        project: The project, which may be a copy.
        cache: Where the container has its cache, if elsewhere.

    Attributes:
        before: Words before every command, of :func:`other_at`.
    """

    def __init__(self, folder: Path, project: Path = ROOT, cache: Path | None = None) -> None:
        self.home = folder / "home/ma-user"
        self.cache = cache or folder / "cache"
        self.notes = folder / "notes"
        self.project = project
        self.before: list[str] = []
        for made in (self.home, folder / "cache", self.notes):
            made.mkdir(parents=True)
        if cache:
            cache.mkdir(exist_ok=True)
            self.before = other_at(folder / "cache", cache)

    def start(self, *arguments: object, **more: str) -> "subprocess.Popen[str]":
        """Starts the boot file as the platform does: as a path, from the home folder."""
        where = {"MA_CACHE_DIR": str(self.cache), "TEST_NOTES": str(self.notes)}
        boot = [sys.executable, str(self.project / "launch/modelarts.py")]
        return subprocess.Popen(
            [*self.before, *boot, *map(str, arguments)],
            cwd=self.home,
            env=variables(**where, **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: object, **more: str) -> tuple[int, str, str]:
        """The same, to its end: exit code, standard output, standard error."""
        return end_of(self.start(*arguments, **more))

    def noted(self, name: str) -> dict:
        """What a recorder was given."""
        return dict(json.loads((self.notes / f"{name}.json").read_text()))


def end_of(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Waits for the end of a process: exit code, standard output, standard error."""
    out, err = process.communicate(timeout=500)
    return process.returncode, out, err


def project_copy(folder: Path, *programs: str) -> Path:
    """A copy of the project in which some programs only note what they are given."""
    configs = {"job.yaml": ON_PAPER}
    return copy_checkout(folder / "user job dir", configs, **dict.fromkeys(programs, _RECORDER))


def await_that(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Waits until a condition holds, while the process must be running."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
