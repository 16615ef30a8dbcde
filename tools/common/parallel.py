"""A function over many jobs in worker processes, in order, with little in flight."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import cycle
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from train.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")

# Per worker: enough that none waits, few enough that memory stays flat.
_JOBS_IN_FLIGHT = 3


def ordered_map(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Generator[Result, None, None]:
    """Yield ``function(job)`` for every job, in the order of the jobs.

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
    waiting: deque[Connection] = deque()
    with _processes(function, workers) as connections:
        for job, worker in zip(jobs, cycle(connections)):
            _call(worker.send, job)
            waiting.append(worker)
            if len(waiting) >= workers * _JOBS_IN_FLIGHT:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())


def batches(
    items: Iterable[Job], most: int, most_bytes: int, size: Callable[[Job], int]
) -> Iterator[list[Job]]:
    """Yield items in batches of at most ``most``, ended early by ``most_bytes`` or more in them."""
    batch: list[Job] = []
    held = 0
    for item in items:
        batch.append(item)
        held += size(item)
        if len(batch) >= most or held >= most_bytes:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


@contextmanager
def _processes(function: Callable[[Any], Any], workers: int) -> Iterator[list[Connection]]:
    """Start worker processes; yield a pipe to each of them.

    The pools of the standard library share one result pipe: a worker that is killed while it
    writes there (by the kernel for want of memory, or by a signal to the whole group) leaves the
    others and the parent waiting for ever. Here the parent sees the end of that worker's pipe.
    """
    # Spawned, not forked: MindSpore may have threads running here, and a fork would copy the
    # locks that they hold.
    context = multiprocessing.get_context("spawn")
    connections: list[Connection] = []
    started: list[BaseProcess] = []
    try:
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(function, theirs), daemon=True)
            process.start()
            theirs.close()
            connections.append(ours)
            started.append(process)
        yield connections
    finally:
        for connection, worker in zip(connections, started, strict=True):
            connection.close()
            worker.terminate()
        for worker in started:
            worker.join()


def _work(function: Callable[[Any], Any], connection: Connection) -> None:
    """Live as a worker: job in, result out, until the parent is gone or has had enough."""
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
