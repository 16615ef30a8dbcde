"""A group of worker processes that measure together, seen from the command that asks them.

``python -m tools.bench.group RANKS FOLDER COMMAND ...`` starts one by our launcher.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any, Literal

from tools.bench.worker import short

ROOT = Path(__file__).resolve().parents[2]

# How the ranks are started and connected: by nothing (each finds the others itself), by OpenMPI's
# mpirun, or by this project's launcher and MindSpore's own cluster.
Starter = Literal["plain", "mpirun", "launch"]

# They would tell a worker of a cluster it is not in, or of settings that are not its own:
# ``python -m tools`` prepares this process for MindSpore, and a peer runs as its user would run it.
_NOT_HANDED_ON = (
    *("OMPI_", "PMIX_", "MS_ROLE", "MS_NODE_ID", "MS_WORKER_NUM", "MS_SCHED_", "MS_SUBMODULE_LOG"),
    *("RANK_", "ONEDNN_MAX_CPU_ISA", "OMP_NUM_THREADS"),
)
_SECONDS_TO_START = 1200.0
_SECONDS_TO_STOP = 30.0
_SECONDS_TO_FAIL = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")


class WorkerFailed(Exception):
    """A worker has ended, or does not answer."""


class Group(contextlib.AbstractContextManager["Group"]):
    """Some processes, each pinned to cores of its own.

    Args:
        name: What messages call it.
        kind: Module of ``tools.bench.peers`` and the class in it, ``module.Class``.
        spec: What the class is to do; plain values.
        cores: Cores of every rank.
        folder: For the socket, the logs, and what the ranks share; its path must be short.
        starter: How the ranks are started.
        python: Interpreter of the workers.
        variables: What their environment has on top of this one's.

    Attributes:
        info: What every rank said when it was ready.
        cpu_seconds: CPU time that the ranks used while nothing was asked of them.
        idle_seconds: How long that was, summed over the ranks.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        spec: Mapping[str, Any],
        cores: Sequence[Sequence[int]],
        folder: Path,
        starter: Starter = "plain",
        python: str = sys.executable,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.starter = starter
        self.ranks = len(cores)
        self.cpu_seconds = self.idle_seconds = 0.0
        self._log = folder / "log"
        self._pids: list[int] = []
        self._connections: dict[int, Any] = {}
        address = folder / "socket"
        text = json.dumps({**spec, "cores": cores, "folder": str(folder)})
        command = [python, "-m", "tools.bench.worker", str(address), kind, text]
        # What is compiled is compiled here, and nothing is left in the user's cache.
        own = {"OMP_NUM_THREADS": str(len(cores[0])), "MTLN_GRAPH_CACHE": "0", **(variables or {})}
        environment = {**handed_on(os.environ), **own}
        with socket.socket(socket.AF_UNIX) as listener, self._log.open("w") as log:
            listener.bind(short(str(address)))
            listener.listen(self.ranks)
            self._processes = self._start(command, environment, folder, log)
            try:
                self._accept(listener)
                self.info = self.answers()
            except BaseException:
                self.kill()
                raise

    def ask(self, do: str, **values: Any) -> list[dict[str, Any]]:
        """Ask all ranks at once; return their answers.

        Raises:
            WorkerFailed: A rank has ended.
        """
        self.tell(do, **values)
        return self.answers()

    def tell(self, do: str, **values: Any) -> None:
        """Do the first half of :meth:`ask`: so two groups can work at the same time."""
        self.cpu_seconds += self._cpu_time() - self._used
        self.idle_seconds += (time.monotonic() - self._idle_since) * self.ranks
        self._send(do, **values)

    def answers(self) -> list[dict[str, Any]]:
        """Do the second half of :meth:`ask`. A rank that has ended is noticed whichever it is."""
        found: dict[int, dict[str, Any]] = {}
        while len(found) < self.ranks:
            left = {rank: c for rank, c in self._connections.items() if rank not in found}
            ready = wait(left.values(), _SECONDS_TO_START)
            if not ready:
                raise self._failure("no answer")
            for rank in [rank for rank, connection in left.items() if connection in ready]:
                try:
                    found[rank] = json.loads(left[rank].recv_bytes())
                except (EOFError, OSError):
                    self._let_them_end()
                    raise self._failure(f"rank {rank} has ended") from None
        self._idle_since, self._used = time.monotonic(), self._cpu_time()
        return [found[rank] for rank in range(self.ranks)]

    def stop(self) -> None:
        """End all ranks."""
        self._send("close")
        deadline = time.monotonic() + _SECONDS_TO_STOP
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """End what is left at once."""
        running = [process for process in self._processes if process.poll() is None]
        for pid in self._pids if running else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in running:
            # The starter has children of its own, in its session.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for connection in self._connections.values():
            connection.close()

    def __exit__(self, kind: object, *others: object) -> None:
        if kind is None:
            self.stop()
        else:
            self.kill()

    def _start(
        self, command: list[str], environment: dict[str, str], folder: Path, log: IO[str]
    ) -> list[subprocess.Popen[bytes]]:
        if self.starter == "mpirun":
            # As launch.mpi starts it, but that the workers choose their cores themselves.
            allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
            environment = {**environment, "OMPI_MCA_mpi_yield_when_idle": "1", **allowed}
            options = ["-n", str(self.ranks), "--quiet", "--oversubscribe", "--bind-to", "none"]
            command = ["mpirun", *options, *command]
        elif self.starter == "launch":
            job = [sys.executable, "-m", "tools.bench.group", str(self.ranks), str(folder / "job")]
            command = [*job, *command]
        return [
            subprocess.Popen(
                command,
                cwd=ROOT,
                env={**environment, "BENCH_RANK": str(rank)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            for rank in range(self.ranks if self.starter == "plain" else 1)
        ]

    def _accept(self, listener: socket.socket) -> None:
        """Wait until all ranks have connected and said who they are."""
        listener.settimeout(0.2)
        deadline = time.monotonic() + _SECONDS_TO_START
        while len(self._connections) < self.ranks:
            try:
                accepted, _ = listener.accept()
            except TimeoutError:
                if any(process.poll() for process in self._processes):
                    raise self._failure("a process has ended") from None
                if time.monotonic() > deadline:
                    raise self._failure("not all ranks have started") from None
                continue
            accepted.setblocking(True)
            connection = Connection(accepted.detach())
            hello = json.loads(connection.recv_bytes())
            self._connections[hello["rank"]] = connection
            self._pids.append(hello["pid"])

    def _send(self, do: str, **values: Any) -> None:
        for connection in self._connections.values():
            with contextlib.suppress(OSError):  # the answer will tell why
                connection.send_bytes(json.dumps([do, values]).encode())

    def _let_them_end(self) -> None:
        """Wait for a process to end: it closes its connection before it prints its error."""
        deadline = time.monotonic() + _SECONDS_TO_FAIL
        while time.monotonic() < deadline and all(p.poll() is None for p in self._processes):
            time.sleep(0.05)

    def _failure(self, what: str) -> WorkerFailed:
        return WorkerFailed(f"{self.name}: {what}: {last_line(self._log)}")

    def _cpu_time(self) -> float:
        """Return the seconds of CPU that all ranks have used so far."""
        total = 0
        for pid in self._pids:
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / _TICKS


def last_line(log: Path) -> str:
    """Return what a program printed last."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no output"


def why_no_mpi(engine: str) -> str | None:
    """Return why ranks cannot be connected by this engine; None if they can."""
    if engine != "MPI" or shutil.which("mpirun"):
        return None
    return "no mpirun here (Debian, Ubuntu: apt install openmpi-bin)"


def handed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of this process without what workers must find out themselves."""
    return {k: v for k, v in environment.items() if not k.startswith(_NOT_HANDED_ON)}


if __name__ == "__main__":
    from launch.job import Job
    from launch.run import run_job

    _, _ranks, _folder, *_command = sys.argv
    sys.exit(run_job(Job(tuple(_command), Path(_folder), int(_ranks))))
