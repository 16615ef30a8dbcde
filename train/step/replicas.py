"""The check that the ranks hold one model, bit for bit, after a consolidation point.

The shared branch is never averaged: every rank makes the same updates of it. A bit that a faulty
memory or link turns over on one rank would stay there, and evaluation would mix two models.
"""

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from mindspore import Parameter

from train.distributed.collectives import Collectives, Counts, of_all_ranks


class ReplicasDiffer(RuntimeError):
    """Ranks hold different numbers where they must be the same; a restart mends it."""


class ReplicaCheck:
    """Compares what the ranks hold.

    Args:
        parameters: What must be the same on all of them: model, optimizer, loss balance and scale.
        collectives: The other ranks.
        rank: This rank.
    """

    def __init__(
        self, parameters: Sequence[Parameter], collectives: Collectives, rank: int
    ) -> None:
        self.parameters = parameters
        self.collectives = collectives
        self.rank = rank

    def require_equal(self, step: int, values: Sequence[npt.NDArray[np.generic]]) -> None:
        """Check that all ranks hold the same after ``step`` steps.

        Args:
            step: Steps done.
            values: What this rank's parameters hold.

        Raises:
            ReplicasDiffer: They do not, on every rank; names ranks and parameters.
        """
        if self.collectives.world_size == 1:
            return
        digests = np.array([_digest(value) for value in values], np.int64)
        # One number is compared first: that is all, unless something is wrong.
        own = np.array([_digest(digests)], np.int64)
        together = of_all_ranks(self.collectives, self.rank, own)
        if (together != together[0]).any():
            table = of_all_ranks(self.collectives, self.rank, digests)
            raise ReplicasDiffer(self._explain(step, table))

    def _explain(self, step: int, table: Counts) -> str:
        """Say in what the ranks differ and, if most of them agree, which do not."""
        usual = [_majority(column) for column in table.T]
        others = np.flatnonzero((table != np.array([-1 if u is None else u for u in usual])).any(1))
        word, verb = ("rank", "differs") if len(others) == 1 else ("ranks", "differ")
        who = "" if None in usual else f": only {_listed(word, others.tolist())} {verb}"
        different = np.flatnonzero((table != table[0]).any(axis=0))
        names = _listed("in", [self.parameters[i].name for i in different])
        return (
            f"the ranks hold different models after step {step}, {names}{who}. This is not saved: "
            "start again from the newest checkpoint. If it comes back, suspect memory or links"
        )


def _listed(word: str, names: Sequence[object]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{word} {', '.join(map(str, names[:3]))}{more}"


def _majority(column: Counts) -> int | None:
    """Return the number that more than half of the ranks have, None if there is none."""
    values, times = np.unique(column, return_counts=True)
    return int(values[times.argmax()]) if 2 * times.max() > len(column) else None


def _digest(values: npt.NDArray[np.generic]) -> int:
    """Return a number that a single bit changes, or two values that change places."""
    return zlib.crc32(np.ascontiguousarray(values).ravel().view(np.uint8).data)
