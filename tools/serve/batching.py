"""What arrives together is answered together: a bounded queue, and one thread that works it off.

MindSpore is asked by that thread alone, which has compiled the network.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")

# Seconds between two looks of an idle thread whether it is to end.
_LOOK_EVERY = 0.2


class Full(Exception):
    """The queue is full: whoever asks may ask again later."""


class Batcher(Generic[Question, Answer]):
    """Answers questions in batches.

    Args:
        answer: Makes one answer per question; an exception in the place of an answer is raised for
            whoever has asked. Called from one thread only.
        batch: Most questions of one call.
        waiting: Most questions that wait; further ones are refused.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Question]], Sequence[Answer | Exception]],
        batch: int,
        waiting: int,
    ) -> None:
        self._answer = answer
        self._batch = batch
        self._queue: queue.Queue[tuple[Question, Future[Answer]]] = queue.Queue(waiting)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="network", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many questions wait."""
        return self._queue.qsize()

    def ask(self, question: Question) -> "Future[Answer]":
        """Put a question into the queue.

        Raises:
            Full: There is no room for it.
        """
        future: Future[Answer] = Future()
        try:
            self._queue.put_nowait((question, future))
        except queue.Full:
            raise Full from None
        return future

    def close(self) -> None:
        """Answer what waits, and end."""
        self._closed.set()
        self._thread.join()

    def _work(self) -> None:
        while not (self._closed.is_set() and self._queue.empty()):
            try:
                first = self._queue.get(timeout=_LOOK_EVERY)
            except queue.Empty:
                continue
            together = [first, *self._others()]
            # Who has gone in the meantime is not waited for.
            asked = [one for one in together if one[1].set_running_or_notify_cancel()]
            if asked:
                self._settle([q for q, _ in asked], [future for _, future in asked])

    def _others(self) -> list[tuple[Question, "Future[Answer]"]]:
        found: list[tuple[Question, Future[Answer]]] = []
        while len(found) < self._batch - 1:
            try:
                found.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return found

    def _settle(self, questions: Sequence[Question], futures: Sequence["Future[Answer]"]) -> None:
        answers: Sequence[Answer | Exception]
        try:
            answers = self._answer(questions)
        except Exception as error:  # the next batch is another one
            answers = [error] * len(questions)
        for future, answer in zip(futures, answers, strict=True):
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
