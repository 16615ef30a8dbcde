"""One data set's part of the mixed batches of an interval, whatever becomes of its records."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from train.data.damage import DamageWatch, NothingLeft
from train.data.pipeline import Records
from train.data.record_set import RecordSet

# Images, labels, masks of the data set in this rank's part of a mixed batch.
Columns = tuple[npt.NDArray[Any], ...]


class TrainPart:
    """The training images of one data set for the steps of an interval.

    Its pipeline is started at once, so that the first images are decoded before they are needed.
    Where it fails, the damaged records are found and replaced, and it is started again from the
    step it had come to. If no record is left, the last images are repeated up to the consolidation
    point, where the run stops.

    Args:
        record_set: The data set.
        records: Numbers of the planned records, (steps, images of this rank).
        start: Starts a pipeline over some of these rows, a batch per row.
        watch: Knows the damaged records.
    """

    def __init__(
        self,
        record_set: RecordSet,
        records: Records,
        start: Callable[[Records], Iterator[Columns]],
        watch: DamageWatch,
    ) -> None:
        self._set = record_set
        self._records = records
        self._start = start
        self._watch = watch
        self._done = 0
        self._last: Columns | None = None
        self._batches: Iterator[Columns] | None = None
        self._restart()

    def __iter__(self) -> Iterator[Columns]:
        while self._done < len(self._records):
            batch = self._next()
            if batch is None:
                continue
            self._count_replaced()
            self._done += 1
            self._last = batch
            yield batch

    def _next(self) -> Columns | None:
        if self._batches is None:
            return self._repeated()
        try:
            return next(self._batches)
        except (RuntimeError, StopIteration) as error:
            self._recover(error)
        return None

    def _repeated(self) -> Columns:
        if self._last is None:
            raise self._watch.nothing_left(self._set)
        return self._last

    def _restart(self) -> None:
        """Starts the pipeline, with whole records only, from the step that is due."""
        while True:
            self._batches = None
            due = self._records[self._done :]
            try:
                self._planned = self._watch.whole(self._set, "train", due)
                self._first = self._done
                self._batches = self._start(self._planned)
                return
            except NothingLeft:
                return
            except (RuntimeError, ValueError) as error:
                self._diagnose(error)

    def _recover(self, error: Exception) -> None:
        self._diagnose(error)
        self._restart()

    def _diagnose(self, error: Exception) -> None:
        records = self._planned.ravel()
        self._watch.diagnose(self._set, "train", records, self._read, error)

    def _read(self, records: Sequence[int]) -> None:
        for _ in self._start(np.asarray(records, np.int64)[:, None]):
            pass

    def _count_replaced(self) -> None:
        planned = self._records[self._done]
        used = self._planned[self._done - self._first] if self._batches is not None else None
        self._watch.replaced += len(planned) if used is None else int((planned != used).sum())
