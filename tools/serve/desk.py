"""The way of a picture: its header is read, it is decoded, computed with others, and told of.

All but the computing is done in threads for each picture on its own, so that others need not wait
for a large one. Large ones have a thread of their own, one after another, which bounds the memory.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from tools.serve.answering import Answered, Opened, Question, Seen
from tools.serve.batching import Batcher, Full
from train.preflight.limits import usable_cores

# Pixels of a large picture are more than these.
LARGE = 16_000_000
_MOST_THREADS = 4


class Steps(Protocol):
    """What is done with a picture (:class:`tools.serve.answering.Answerer`)."""

    def pixels(self, question: Question) -> int:
        """Return how many pixels it has, without decoding it."""

    def open(self, question: Question) -> Opened:
        """Decode it."""

    def compute(self, pictures: Sequence[Opened]) -> Sequence[Seen | Exception]:
        """Show several to the network."""

    def tell(self, seen: Seen) -> Answered:
        """Say what the network has seen."""


class Desk:
    """Takes pictures through all steps.

    Args:
        steps: What is done with them. Only the network's step is called from one thread alone.
        batch: Most pictures that are computed together.
        most: Most pictures without an answer; further ones are refused.

    Attributes:
        waiting: How many pictures are without an answer.
    """

    def __init__(self, steps: Steps, batch: int, most: int) -> None:
        self.waiting = 0
        self._steps, self._most = steps, most
        self._small = ThreadPoolExecutor(min(_MOST_THREADS, usable_cores()), "small")
        self._large = ThreadPoolExecutor(1, "large")
        self._network: Batcher[Opened, Seen] = Batcher(steps.compute, batch, most)

    async def answer(self, question: Question) -> Answered:
        """Return an answer. Only for one loop of events: nothing here is locked.

        Raises:
            Full: Too many pictures are without one.
            NoPicture: It cannot be used.
        """
        if self.waiting >= self._most:
            raise Full
        self.waiting += 1
        try:
            return await self._through(question)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """End, once nobody asks any more."""
        for pool in (self._small, self._large):
            pool.shutdown(cancel_futures=True)
        self._network.close()

    async def _through(self, question: Question) -> Answered:
        in_thread = asyncio.get_running_loop().run_in_executor
        pixels = await in_thread(self._small, self._steps.pixels, question)
        pool = self._large if pixels > LARGE else self._small
        opened = await in_thread(pool, self._steps.open, question)
        seen = await asyncio.wrap_future(self._network.ask(opened))
        return await in_thread(pool, self._steps.tell, seen)
