"""Consolidation points: the ranks make one model of their replicas.

Between two of them every rank updates its own copy of the task branches and sees its own images in
batch norm. At a consolidation point the ranks average their task branches with the optimizer's
state of them, and merge their batch-norm statistics. Evaluation, checkpoints and the end of a run
come only here, so what they see does not depend on a rank.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from mindspore import Parameter, nn

from train.distributed.collectives import Collectives
from train.model.mtln import is_trunk, moving_statistics, split_by_branch
from train.optim.optimizers import FlatOptimizer, pack, unpack


class Consolidator:
    """Averages what differs between the ranks.

    Args:
        network: The network.
        optimizer: Its optimizer; the shared branch comes first in the state vectors.
        collectives: The other ranks.
        local_branches: Whether the ranks update their task branches on their own.
    """

    def __init__(
        self,
        network: nn.Cell,
        optimizer: FlatOptimizer,
        collectives: Collectives,
        local_branches: bool,
    ) -> None:
        shared, branches = split_by_branch(network)
        self.num_shared = sum(p.size for p in shared)
        self.branches = branches if local_branches else []
        self.slots = list(optimizer.slots.values()) if local_branches else []
        statistics = moving_statistics(network)
        half = len(statistics) // 2
        self.means, self.variances = statistics[:half], statistics[half:]
        self.collectives = collectives

    def consolidate(self, frozen_trunk: bool = False) -> None:
        """Make network and optimizer the same, bit for bit, on all ranks.

        Args:
            frozen_trunk: Whether the trunk's statistics are the same already. They are left alone
                then, as the mean of equal numbers is not always the number.
        """
        if self.collectives.world_size == 1:
            return
        chosen = [not (frozen_trunk and is_trunk(p.name)) for p in self.means]
        self._merge_statistics(
            list(itertools.compress(self.means, chosen)),
            list(itertools.compress(self.variances, chosen)),
        )
        if self.branches:
            self._average_branches()

    def _merge_statistics(self, means: Sequence[Parameter], variances: Sequence[Parameter]) -> None:
        """Set mean and variance to those of all ranks' images together."""
        if not means:  # group norm keeps none
            return
        own_mean = pack(means)
        mean = self.collectives.mean(own_mean)
        # The variance of a mixture: the mean variance, plus the variance of the means.
        variance = self.collectives.mean(pack(variances) + (own_mean - mean) ** 2)
        unpack(mean, means)
        unpack(variance, variances)

    def _average_branches(self) -> None:
        states = [slot.asnumpy() for slot in self.slots]
        own = [pack(self.branches), *(state[self.num_shared :] for state in states)]
        mean = np.split(self.collectives.mean(np.concatenate(own)), len(own))
        unpack(mean[0], self.branches)
        for slot, state, branch_state in zip(self.slots, states, mean[1:], strict=True):
            unpack(np.concatenate([state[: self.num_shared], branch_state]), [slot])
