"""A function over many jobs in threads, in order, a few ahead of whoever takes the results."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Job], Result], jobs: Iterable[Job], threads: int, most: int
) -> Iterator[Result]:
    """Yield ``function(job)`` for every job, in their order.

    For functions that decode or wait and so leave Python to others meanwhile.

    Args:
        function: Called in a thread.
        jobs: Taken at most ``most`` ahead.
        threads: Number of threads.
        most: Results that wait at most.

    Raises:
        Exception: Whatever the function raised, in its place.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(function, job))
                if len(waiting) > most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
