"""What becomes of a run that meets damaged records: they are named, and it saves and stops.

The other ranks wait for this one in the reduction of every step. So a rank that cannot read on
repeats whole images up to the next consolidation point, where all save and stop: hours of training
are not lost for one picture.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import numpy as np

from train.data.batch import Array
from train.data.inspection import Damages, damaged_records, undecodable_records
from train.data.manifest import RecordSet
from train.data.pipeline import Columns, Records
from train.errors import UserError

_SHOWN = 3
# Longer than other ranks let rank 0 go first under mpirun (train/distributed/mpirun.py).
_SECONDS_FOR_THE_NAMES = 7.0


class DamageWatch:
    """The damaged records of some data sets that this rank has met."""

    def __init__(self, sets: Sequence[RecordSet]) -> None:
        self.sets = sets
        self._found: dict[tuple[str, str, int], str] = {}

    @property
    def damages(self) -> list[str]:
        """A line for each of them, by data set, split and number."""
        return [self._found[place] for place in sorted(self._found)]

    def check_all(self) -> None:
        """Check every record before the training; raise a UserError if some are damaged."""
        for record_set in self.sets:
            for split in record_set.manifest.splits:
                self._note(record_set, split, damaged_records(record_set, split))
        if self._found:
            raise self.error("nothing was trained")

    def diagnose(
        self, record_set: RecordSet, split: str, records: Records, error: Exception
    ) -> list[int]:
        """Find out why records could not be read.

        Args:
            record_set: Their data set.
            split: Their split.
            records: Numbers of those that were about to be read.
            error: What came of it.

        Returns:
            Numbers of those that are damaged, at least one.

        Raises:
            UserError: None of them is damaged.
        """
        numbers = np.unique(records).tolist()
        for damages in (
            damaged_records(record_set, split),
            undecodable_records(record_set, split, numbers),
        ):
            bad = self._note(record_set, split, damages)
            if found := [number for number in numbers if number in bad]:
                return found
        raise UserError(
            f"{record_set.name}: {split} cannot be read, although all its shards in "
            f"{record_set.folder} are whole: {_reason(error)}"
        )

    def error(self, consequence: str) -> UserError:
        """Return the error that says what is damaged, what became of the run, and what to do."""
        damages = self.damages
        shown = "; ".join(damages[:_SHOWN])
        more = f"; and {len(damages) - _SHOWN} more" if len(damages) > _SHOWN else ""
        damaged = {name for name, _, _ in self._found}
        folders = " ".join(sorted({str(s.folder) for s in self.sets if s.name in damaged}))
        return UserError(
            f"damaged records: {shown}{more}: {consequence} "
            f"(see: python -m tools verify {folders}; prepare or copy the data again)"
        )

    def stop(self, step: int, saved: bool) -> NoReturn:
        """End the run at a consolidation point, by the error that names the damaged records."""
        consequence = (
            f"stopped, {'saved at' if saved else 'and could not be saved after'} step {step}"
        )
        if self._found:
            raise self.error(consequence)
        # The error that comes first is the one that is shown: it shall be the one with the names.
        time.sleep(_SECONDS_FOR_THE_NAMES)
        raise UserError(f"damaged records: another rank has met and named them: {consequence}")

    def _note(self, record_set: RecordSet, split: str, damages: Damages) -> set[int]:
        noted = dict(damages)
        self._found |= {(record_set.name, split, n): line for n, line in noted.items()}
        return set(noted)


class BatchGuard:
    """The training batches of one data set, as many as planned whatever becomes of its records.

    Where they cannot be read, the damaged ones are found, and the last whole batch comes again for
    the rest of the interval.
    """

    def __init__(self, record_set: RecordSet, watch: DamageWatch) -> None:
        self._set = record_set
        self._watch = watch
        self._last: Columns | None = None

    def batches(
        self, records: Records, size: int, start: Callable[[], Iterator[Columns]]
    ) -> Iterator[Columns]:
        """Start reading an interval at once, so that its first images are there when it begins.

        Args:
            records: Numbers of the planned records, (steps, images of this rank).
            size: Height and width of the images in pixels.
            start: Starts the pipeline over them, a batch per step.

        Returns:
            A batch per step. It raises a UserError if there is no whole batch to repeat, or if
            records cannot be read although none is damaged.
        """
        pipeline = None
        try:
            pipeline = start()
        except (RuntimeError, ValueError) as error:
            self._watch.diagnose(self._set, "train", records, error)
        return self._guarded(pipeline, records, size)

    def _guarded(
        self, pipeline: Iterator[Columns] | None, records: Records, size: int
    ) -> Iterator[Columns]:
        for _ in records:
            try:
                self._last = next(pipeline) if pipeline is not None else self._last
            except (RuntimeError, StopIteration) as error:
                self._watch.diagnose(self._set, "train", records, error)
                pipeline = None
            if self._last is None:
                raise self._watch.error("nothing was trained")
            yield tuple(_of_size(array, size) for array in self._last)


def _of_size(array: Array, size: int) -> Array:
    """Shrink or enlarge images or masks (n, H, W, ...); the last ones may be of another stage."""
    if array.ndim < 3 or array.shape[1] == size:
        return array
    chosen = np.arange(size) * array.shape[1] // size
    resized: Array = array[:, chosen][:, :, chosen]
    return resized


def _reason(error: Exception) -> str:
    """Return what MindSpore says in the midst of its many lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("[ERROR]", "[Internal ERROR]"))]
    return (told or lines or [type(error).__name__])[0]
