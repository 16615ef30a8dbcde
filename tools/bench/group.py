"""A group of worker processes that measure together, seen from the command that asks them."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

ROOT = Path(__file__).resolve().parents[2]

# How the ranks are started and connected: by nothing (each finds the others itself), by OpenMPI's
# mpirun, or by this project's launcher and MindSpore's own cluster.
Starter = Literal["plain", "mpirun", "launch"]

# They would tell a worker of a cluster it is not in, or of settings that are not its own:
# importing ``train`` has set the cap of the instruction set for this process.
_NOT_HANDED_ON = (
    *("OMPI_", "PMIX_", "MS_ROLE", "MS_NODE_ID", "MS_WORKER_NUM", "MS_SCHED_"),
    *("RANK_", "ONEDNN_MAX_CPU_ISA", "OMP_NUM_THREADS"),
)
_SECONDS_TO_START = 1200.0
_SECONDS_TO_STOP = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")


class WorkerFailed(Exception):
    """A worker has ended, or does not answer."""


class Group:
    """Some processes, each pinned to cores of its own.

    Args:
        name: What messages call it.
        kind: Module of ``tools.bench.peers``.
        spec: What the module is to do; plain values.
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
        self.ranks = len(cores)
        self.cpu_seconds = self.idle_seconds = 0.0
        self._log = folder / "log"
        self._pids: dict[int, int] = {}
        self._streams: dict[int, IO[str]] = {}
        self._connections: dict[int, socket.socket] = {}
        address = folder / "socket"
        text = json.dumps({**spec, "cores": cores, "folder": str(folder)})
        command = [python, "-m", "tools.bench.worker", str(address), kind, text]
        threads = str(len(cores[0]))
        # What is compiled is compiled here, and nothing is left in the user's cache.
        own = {"OMP_NUM_THREADS": threads, "MTLN_GRAPH_CACHE": "0", **(variables or {})}
        environment = {**handed_on(os.environ), **own}
        with socket.socket(socket.AF_UNIX) as listener, self._log.open("w") as log:
            listener.bind(str(address))
            listener.listen(self.ranks)
            self._processes = _start(command, environment, starter, self.ranks, folder, log)
            try:
                self._accept(listener)
                self.info = self._answers()
            except BaseException:
                self.kill()
                raise
        self._idle_since = time.monotonic()
        self._used = self._cpu_time()

    def ask(self, do: str, **values: Any) -> list[dict[str, Any]]:
        """Asks all ranks at once; their answers.

        Raises:
            WorkerFailed: A rank has ended.
        """
        self.tell(do, **values)
        return self.answers()

    def tell(self, do: str, **values: Any) -> None:
        """The first half of :meth:`ask`: so two groups can work at the same time."""
        self.cpu_seconds += self._cpu_time() - self._used
        self.idle_seconds += (time.monotonic() - self._idle_since) * self.ranks
        for stream in self._streams.values():
            with contextlib.suppress(BrokenPipeError):  # the answer will tell why
                stream.write(json.dumps({"do": do, **values}) + "\n")
                stream.flush()

    def answers(self) -> list[dict[str, Any]]:
        """The second half of :meth:`ask`."""
        found = self._answers()
        self._idle_since, self._used = time.monotonic(), self._cpu_time()
        return found

    def stop(self) -> None:
        """Ends all ranks."""
        for stream in self._streams.values():
            with contextlib.suppress(OSError):
                stream.write('{"do": "stop"}\n')
                stream.flush()
        deadline = time.monotonic() + _SECONDS_TO_STOP
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """Ends what is left at once."""
        running = [process for process in self._processes if process.poll() is None]
        for pid in [*self._pids.values()] if running else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in running:
            # The starter has children of its own, in its session.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for stream in self._streams.values():
            with contextlib.suppress(OSError):
                stream.close()
        for connection in self._connections.values():
            connection.close()

    def __enter__(self) -> Group:
        return self

    def __exit__(self, kind: object, *others: object) -> None:
        if kind is None:
            self.stop()
        else:
            self.kill()

    def _accept(self, listener: socket.socket) -> None:
        """Waits until all ranks have connected and said who they are."""
        listener.settimeout(0.2)
        deadline = time.monotonic() + _SECONDS_TO_START
        while len(self._streams) < self.ranks:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                if any(process.poll() for process in self._processes):
                    raise self._failure("a process has ended") from None
                if time.monotonic() > deadline:
                    raise self._failure("not all ranks have started") from None
                continue
            connection.setblocking(True)
            stream = connection.makefile("rw", encoding="utf-8")
            hello = json.loads(stream.readline())
            rank = hello["rank"]
            self._streams[rank], self._connections[rank] = stream, connection
            self._pids[rank] = hello["pid"]

    def _answers(self) -> list[dict[str, Any]]:
        """A line of every rank. One that has ended is noticed whichever rank that is."""
        found: dict[int, dict[str, Any]] = {}
        with selectors.DefaultSelector() as selector:
            for rank, connection in self._connections.items():
                selector.register(connection, selectors.EVENT_READ, rank)
            while len(found) < self.ranks:
                ready = selector.select(_SECONDS_TO_START)
                if not ready:
                    raise self._failure("no answer")
                for key, _ in ready:
                    line = self._streams[key.data].readline()
                    if not line:
                        raise self._failure(f"rank {key.data} has ended")
                    found[key.data] = json.loads(line)
                    selector.unregister(key.fileobj)
        return [found[rank] for rank in range(self.ranks)]

    def _failure(self, what: str) -> WorkerFailed:
        return WorkerFailed(f"{self.name}: {what}: {last_line(self._log)}")

    def _cpu_time(self) -> float:
        """Seconds of CPU that all ranks have used so far."""
        total = 0
        for pid in self._pids.values():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / _TICKS


def last_line(log: Path) -> str:
    """What a program printed last."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no output"


def mpirun_is_there() -> bool:
    """Whether ranks can be connected by OpenMPI."""
    return shutil.which("mpirun") is not None


def handed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of this process without what workers must find out themselves."""
    return {k: v for k, v in environment.items() if not k.startswith(_NOT_HANDED_ON)}


def _start(
    command: list[str],
    environment: dict[str, str],
    starter: Starter,
    ranks: int,
    folder: Path,
    log: IO[str],
) -> list[subprocess.Popen[bytes]]:
    environments = [environment]
    if starter == "plain":
        environments = [{**environment, "BENCH_RANK": str(rank)} for rank in range(ranks)]
    elif starter == "mpirun":
        # As launch.mpi starts it, but that the workers choose their cores themselves.
        allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        environments = [{**environment, "OMPI_MCA_mpi_yield_when_idle": "1", **allowed}]
        options = ["-n", str(ranks), "--quiet", "--oversubscribe", "--bind-to", "none"]
        command = ["mpirun", *options, *command]
    else:
        job = [sys.executable, "-m", "tools.bench.job", str(ranks), str(folder / "job")]
        command = [*job, *command]
    return [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=own,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        for own in environments
    ]
