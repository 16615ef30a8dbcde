"""Runs a function over many jobs in worker processes, in order, with little in flight."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from itertools import cycle
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from train.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")

MAX_WORKERS = 64

# Per worker: enough that none waits, few enough that memory stays flat.
_JOBS_IN_FLIGHT = 3


def usable_cores() -> int:
    """Number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def add_workers_option(parser: argparse.ArgumentParser, what: str) -> None:
    """Declares ``--workers``, the processes that do ``what``."""
    parser.add_argument(
        "--workers",
        metavar="N",
        type=int,
        default=min(usable_cores(), MAX_WORKERS),
        help=f"processes that {what} (default: the cores of this machine)",
    )


def ordered_map(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Generator[Result, None, None]:
    """Yields ``function(job)`` for every job, in the order of the jobs.

    Args:
        function: A module-level function, as it is sent to other processes by name.
        jobs: The jobs, each a few kilobytes at most; taken only a few ahead of the results.
        workers: Number of processes; with 1 everything runs in this one.

    Raises:
        UserError: A worker process died.
        Exception: Whatever the function raised.
    """
    if workers <= 1:
        yield from map(function, jobs)
        return
    pool = _Pool(function, workers)
    waiting: deque[Connection] = deque()
    try:
        for job, worker in zip(jobs, cycle(pool.connections)):
            _call(worker.send, job)
            waiting.append(worker)
            if len(waiting) >= workers * _JOBS_IN_FLIGHT:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:
        pool.close()


class _Pool:
    """Worker processes, each with a pipe of its own.

    The pools of the standard library share one result pipe: a worker that is killed while it
    writes there (by the kernel for want of memory, or by a signal to the whole group) leaves the
    others and the parent waiting for ever. Here the parent sees the end of that worker's pipe.
    """

    def __init__(self, function: Callable[[Any], Any], workers: int) -> None:
        # Spawned, not forked: MindSpore may have threads running here, and a fork would copy the
        # locks that they hold.
        context = multiprocessing.get_context("spawn")
        self.connections: list[Connection] = []
        self._processes: list[BaseProcess] = []
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(function, theirs), daemon=True)
            process.start()
            theirs.close()
            self.connections.append(ours)
            self._processes.append(process)

    def close(self) -> None:
        for connection, process in zip(self.connections, self._processes, strict=True):
            connection.close()
            process.terminate()
        for process in self._processes:
            process.join()


def _work(function: Callable[[Any], Any], connection: Connection) -> None:
    """A worker's life: job in, result out, until the parent is gone or has had enough."""
    # Ctrl-C reaches the workers too, but it is the parent's to answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            job = connection.recv()
            try:
                answer: tuple[Any, Exception | None] = (function(job), None)
            except Exception as error:
                answer = (None, error)
            connection.send(answer)
    except (EOFError, OSError):
        return


def _result(worker: Connection) -> Any:
    result, error = _call(worker.recv)
    if error is not None:
        raise error
    return result


def _call(function: Callable[..., Any], *arguments: object) -> Any:
    try:
        return function(*arguments)
    except (EOFError, OSError):
        raise UserError(
            "a worker process died, perhaps for want of memory: try fewer with --workers"
        ) from None
