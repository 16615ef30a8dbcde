"""A real Slurm on this machine: controller, two nodes and munge, private to the tests."""

import getpass
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# The daemons are not on the path of every user.
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
NODES = ("n1", "n2")

# More cores than there are: Slurm only counts them. Processes are followed by their parents, so
# that no control groups are needed; then Slurm's signals reach every process of a job's steps.
# cred_expire is how long a job that was put back waits, 5 s at least. KillWait is how long a
# cancelled job has. Jobs count from anywhere, since ports are derived from their numbers and other
# tests use ports too. The generic resource has no device file, as on a machine without NPUs.
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1
ReturnToService=2
FirstJobId={first_job}
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=npu
NodeName=n1 NodeHostname=n1 NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 Gres=npu:8 State=UNKNOWN
NodeName=n2 NodeHostname=n2 NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 Gres=npu:8 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=300
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF
"""


def missing() -> list[str]:
    """Returns the programs that a cluster needs and this machine does not have."""
    programs = ("munged", "slurmctld", "slurmd", "sbatch")
    return [program for program in programs if shutil.which(program, path=_PATH) is None]


class Cluster:
    """A running Slurm.

    Args:
        folder: for everything it writes; its path must be short, since sockets go there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH"))},
            "PATH": _PATH,
            "SLURM_CONF": str(folder / "slurm.conf"),
        }
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Starts all daemons and waits until both nodes take jobs."""
        folder = self._folder
        (folder / "state").mkdir()
        (folder / "munge.key").touch(0o600)
        (folder / "munge.key").write_bytes(os.urandom(128))
        user, host = getpass.getuser(), socket.gethostname().split(".")[0]
        text = _CONFIGURATION.format(
            folder=folder,
            ports=_free_ports(3),
            user=user,
            host=host,
            first_job=random.randint(1, 11000),
        )
        (folder / "slurm.conf").write_text(text)
        (folder / "gres.conf").write_text("Name=npu Count=8\n")

        files = {"key-file": "key", "log-file": "log", "pid-file": "pid", "seed-file": "seed"}
        options = [f"--{name}={folder}/munge.{end}" for name, end in files.items()]
        socket_path = folder / "munge.socket"
        self._start("munged", "--foreground", "--force", f"--socket={socket_path}", *options)
        _wait_until(socket_path.exists, self._logs, 60)
        self._start("slurmctld", "-D", "-c")
        for node in NODES:
            self._start("slurmd", "-D", "-N", node)
        _wait_until(lambda: self._states() == ["idle"] * len(NODES), self._logs, 60)

    def stop(self) -> None:
        """Ends all jobs and all daemons."""
        try:
            self._run("scancel", "--user", getpass.getuser())
            _wait_until(lambda: not self._run("squeue", "--noheader").stdout, self._logs, 60)
        finally:
            for daemon in reversed(self._daemons):
                daemon.terminate()
            for daemon in reversed(self._daemons):
                daemon.wait(timeout=60)
            # Whatever went wrong: all that Slurm starts knows where its configuration is.
            for pid in _processes_with(f"SLURM_CONF={self._environment['SLURM_CONF']}"):
                os.kill(pid, signal.SIGKILL)

    def ask(self, *command: str, cwd: Path | None = None, **variables: str) -> str:
        """Runs a command of Slurm's, which must succeed; what it prints."""
        result = self._run(*command, cwd=cwd, **variables)
        assert result.returncode == 0, f"{command}: {result.stderr}\n{self._logs()}"
        return result.stdout

    def submit(self, *words: object, cwd: Path, **variables: str) -> "Job":
        """Submits a job; ``words`` are what follows sbatch, its options first."""
        mark = f"TEST_MARK={uuid.uuid4().hex}"
        name, value = mark.split("=")
        variables[name] = value
        number = self.ask("sbatch", "--parsable", *map(str, words), cwd=cwd, **variables)
        return Job(self, number.strip(), mark, cwd)

    def _run(
        self, *command: str, cwd: Path | None = None, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            cwd=cwd,
            env={**self._environment, **variables},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def _states(self) -> list[str]:
        return self._run("sinfo", "-h", "-N", "-p", "main", "-o", "%T").stdout.split()

    def _start(self, *command: str) -> None:
        output = (self._folder / "daemons.log").open("ab")
        with output:
            self._daemons.append(
                subprocess.Popen(
                    command,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            )

    def _logs(self) -> str:
        return "\n".join(
            f"{path.name}:\n{path.read_text(errors='replace')[-3000:]}"
            for path in sorted(self._folder.glob("*.log"))
        )


class Job:
    """A submitted job, or one task of an array.

    Args:
        cluster: where it was submitted.
        name: its number, or ARRAY_TASK.
        mark: an environment variable and its value that all its processes have.
        folder: where it was submitted.
    """

    def __init__(self, cluster: Cluster, name: str, mark: str, folder: Path) -> None:
        self.cluster = cluster
        self.name = name
        self._mark = mark
        self._folder = folder

    def task(self, number: int) -> "Job":
        """Returns a task of this array."""
        return Job(self.cluster, f"{self.name}_{number}", self._mark, self._folder)

    @property
    def output(self) -> str:
        """What it has printed."""
        path = self._folder / f"slurm-{self.name}.out"
        return path.read_text(errors="replace") if path.exists() else ""

    def record(self) -> dict[str, str]:
        """Returns what Slurm knows of it."""
        text = self.cluster.ask("scontrol", "show", "job", "--oneliner", self.name)
        return dict(re.findall(r"(\S+?)=(\S*)", text))

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits; the job must not end before."""

        def check() -> bool:
            if condition():
                return True
            assert self.record()["JobState"] not in _FINAL, self._story()
            return False

        _wait_until(check, self._story)

    def wait_for_output(self, text: str) -> None:
        """Waits until it has printed this."""
        self.wait_until(lambda: text in self.output)

    def wait_for_end(self) -> dict[str, str]:
        """Waits until it has ended for good; the record."""
        _wait_until(lambda: self.record()["JobState"] in _FINAL, self._story)
        return self.record()

    def processes(self) -> dict[int, dict[str, str]]:
        """Returns its processes, Slurm's own aside, with their environments."""
        return _processes_with(self._mark)

    def end(self) -> None:
        """Cancels it, if it still is there."""
        self.cluster.ask("scancel", "--quiet", self.name)

    def assert_all_gone(self) -> None:
        """All its processes must have ended, or be ending."""
        _wait_until(lambda: not self.processes(), lambda: f"left: {list(self.processes())}")

    def _story(self) -> str:
        return f"{self.record()}\n{self.output[-3000:]}"


_FINAL = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED"}


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Starts a cluster with a folder of its own, and removes both."""
    folder.mkdir(exist_ok=True)
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _processes_with(variable: str) -> dict[int, dict[str, str]]:
    """Returns the processes with a variable, NAME=VALUE, and their environments."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_text(errors="replace").split("\0")
        except OSError:
            continue
        if variable in variables:
            found[int(entry.name)] = dict(v.split("=", 1) for v in variables if "=" in v)
    return found


def _wait_until(
    condition: Callable[[], bool], story: Callable[[], str], seconds: float = 540
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {story()}"
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    """Returns ports below those that the kernel hands out by itself."""
    sockets: list[socket.socket] = []
    try:
        for port in random.sample(range(15000, 20000), 100):
            try:
                sockets.append(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            if len(sockets) == count:
                break
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()
