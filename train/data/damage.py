"""What a run knows of damaged records, and what it does about them.

A damaged record is replaced in the plan by the next whole one. With ``on_bad_record: stop`` that
only leads to the next consolidation point, where all ranks save and stop: every step before it was
made with whole records, and hours of training are not lost for one picture.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from train.data.inspection import Damage, damaged_records, undecodable_records
from train.data.pipeline import Records
from train.data.record_set import RecordSet
from train.data.records import SPLITS
from train.distributed.collectives import Collectives
from train.errors import UserError

_SHOWN = 3
_LISTED = 100


class NothingLeft(Exception):
    """No record of a split can be used."""


class DamageWatch:
    """The damaged records of all data sets, as far as this rank knows.

    Args:
        sets: The data sets.
        policy: ``on_bad_record`` of the configuration.

    Attributes:
        replaced: Training images of this rank that were replaced.
        unshared: Damaged records that the other ranks have not been told of.
    """

    def __init__(self, sets: Sequence[RecordSet], policy: Literal["stop", "skip"]) -> None:
        self.sets = sets
        self.policy = policy
        self.replaced = 0
        self.unshared = 0
        self._found: dict[tuple[str, str], dict[int, Damage]] = {}

    @property
    def damages(self) -> list[Damage]:
        """All that are known, in order."""
        return [found[n] for _, found in sorted(self._found.items()) for n in sorted(found)]

    @property
    def must_stop(self) -> bool:
        """Whether the run cannot or may not go on beyond the next consolidation point."""
        return bool(self._found) and (self.policy == "stop" or self._nothing_left)

    @property
    def _nothing_left(self) -> bool:
        """Whether a data set has no whole record left to train on."""
        return any(len(self.bad(s, "train")) == s.num_records("train") for s in self.sets)

    def check_all(self) -> None:
        """Inspects every record before the training.

        Raises:
            UserError: Some are damaged and may not be skipped.
        """
        for record_set in self.sets:
            for split in record_set.manifest.splits:
                self._note(damaged_records(record_set, split))
        if self.must_stop:
            raise UserError(self.message("nothing was trained"))

    def bad(self, record_set: RecordSet, split: str) -> Records:
        """Numbers of the damaged records of a split."""
        return np.array(sorted(self._found.get((record_set.name, split), ())), np.int64)

    def _bad_among(self, record_set: RecordSet, split: str, numbers: range) -> Records:
        bad = self.bad(record_set, split)
        return bad[(bad >= numbers.start) & (bad < numbers.stop)]

    def whole(self, record_set: RecordSet, split: str, records: Records) -> Records:
        """The same records, damaged ones replaced by the next whole one of the split.

        Raises:
            NothingLeft: There is none.
        """
        bad = self.bad(record_set, split)
        total = record_set.num_records(split)
        if len(bad) == total:
            raise NothingLeft
        result = records.copy()
        while (damaged := np.isin(result, bad)).any():
            result[damaged] = (result[damaged] + 1) % total
        return result

    def diagnose(
        self,
        record_set: RecordSet,
        split: str,
        records: Records,
        read: Callable[[Sequence[int]], None],
        error: Exception,
    ) -> None:
        """Finds out why records could not be read.

        Args:
            record_set: Their data set.
            split: Their split.
            records: Numbers of those that were about to be read.
            read: Reads and decodes some of them.
            error: What came of it.

        Raises:
            UserError: There is no damaged record that was not known before.
        """
        known = len(self.damages)
        self._note(damaged_records(record_set, split))
        if len(self.damages) == known:
            candidates = np.setdiff1d(records, self.bad(record_set, split)).tolist()
            self._note(undecodable_records(record_set, split, candidates, read))
        if len(self.damages) == known:
            raise UserError(
                f"{record_set.name}: {split} cannot be read, although all its shards in "
                f"{record_set.folder} are whole: {_reason(error)}"
            )

    def share(self, collectives: Collectives) -> None:
        """Tells all ranks what any of them knows. All ranks must call it together.

        First which shards have damaged records, then which records of those shards: no rank needs
        memory for the records of whole shards.
        """
        places = [
            (s, split, numbers)
            for s in self.sets
            for split in SPLITS
            for _, numbers in s.shards(split)
        ]
        counts = np.array([len(self._bad_among(*place)) for place in places], np.int64)
        anywhere = collectives.sum_counts(counts)
        damaged = [place for place, count in zip(places, anywhere, strict=True) if count]
        if not damaged:
            return
        flags = [np.zeros(len(numbers), np.int64) for _, _, numbers in damaged]
        for place, shard_flags in zip(damaged, flags, strict=True):
            shard_flags[self._bad_among(*place) - place[2].start] = 1
        total = collectives.sum_counts(np.concatenate(flags))
        parts = np.split(total, np.cumsum([len(f) for f in flags])[:-1])
        for (record_set, split, numbers), part in zip(damaged, parts, strict=True):
            found = numbers.start + np.flatnonzero(part)
            if len(np.setdiff1d(found, self.bad(record_set, split))):
                self._note(damaged_records(record_set, split))
                self._note(_found_elsewhere(record_set, split, found))
        self.unshared = 0

    def message(self, consequence: str) -> str:
        """One line for the user: what is damaged, what became of the run, what can be done."""
        damages = self.damages
        shown = "; ".join(map(str, damages[:_SHOWN]))
        more = f"; and {len(damages) - _SHOWN} more" if len(damages) > _SHOWN else ""
        folders = " ".join(
            sorted({str(s.folder) for s in self.sets if s.name in {d.dataset for d in damages}})
        )
        may_skip = self.policy == "stop" and not self._nothing_left
        skip = ", or go on without them with on_bad_record=skip" if may_skip else ""
        return (
            f"damaged records: {shown}{more}: {consequence} "
            f"(see: python -m tools verify {folders}; prepare or copy the data again{skip})"
        )

    def nothing_left(self, record_set: RecordSet) -> UserError:
        """The error that says that a data set has no whole record left."""
        return UserError(self.message(f"nothing of {record_set.name} can be used"))

    def summary(self, collectives: Collectives) -> dict[str, Any]:
        """What the summary says of it. All ranks must call it together."""
        replaced = int(collectives.sum_counts(np.array([self.replaced]))[0])
        return {
            "found": len(self.damages),
            "images_replaced": replaced,
            "records": [str(damage) for damage in self.damages[:_LISTED]],
        }

    def _note(self, damages: Iterable[Damage]) -> None:
        for damage in damages:
            found = self._found.setdefault((damage.dataset, damage.split), {})
            if damage.record not in found:
                found[damage.record] = damage
                self.unshared += 1


def _found_elsewhere(
    record_set: RecordSet, split: str, numbers: npt.NDArray[np.int64]
) -> Iterator[Damage]:
    for shard, in_shard in record_set.shards(split):
        for number in numbers:
            if int(number) in in_shard:
                yield Damage(
                    record_set.name, split, shard.file, int(number), "", "damaged for another rank"
                )


def _reason(error: Exception) -> str:
    """What MindSpore says in the midst of its many lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("[ERROR]", "[Internal ERROR]"))]
    return (told or lines or [type(error).__name__])[0]
