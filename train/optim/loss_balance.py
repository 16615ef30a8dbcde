"""Rules that weight the losses of the tasks.

The step takes the gradient of ``sum(weights * losses)`` with the weights as constants. What a rule
learns depends only on losses averaged over the ranks, so all ranks learn the same without a message
of their own. It is kept in parameters: new weights need no new graph.

Shape: K = number of tasks. Weights and losses are in the order of the tasks.
"""

from collections.abc import Sequence

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from train.config.sections import BalanceConfig
from train.optim.optimizers import Floats, state_parameter

# Below it a loss counts as this much: logarithms and ratios stay finite.
_SMALLEST_LOSS = 1e-8


class Balance(nn.Cell):
    """Base of the rules: equal weights, and nothing to learn.

    Attributes:
        is_learned: Whether :meth:`update` does anything.
        needs_losses: Whether the weights depend on the losses of the same step.
        needs_losses_after: Whether :meth:`update` needs the losses of the batch after the update.
        state: What the rule has learned, float32, by name; it is saved in checkpoints.

    Args:
        num_tasks: K.
    """

    is_learned = False
    needs_losses = False
    needs_losses_after = False

    def __init__(self, num_tasks: int) -> None:
        super().__init__()
        self.num_tasks = num_tasks
        self.state: dict[str, Parameter] = {}

    def construct(self, losses: Tensor) -> Tensor:
        """Return the weights (K,) of this step; they pass no gradient on.

        Args:
            losses: (K,), means over all ranks; not looked at unless ``needs_losses``.
        """
        return ops.ones_like(losses)

    def update(self, losses: Tensor, after: Tensor, finite: Tensor) -> None:
        """Learn from a step, after the update of the network; part of the compiled step.

        Args:
            losses: (K,), means over all ranks.
            after: (K,), those of the same batch after the update; not looked at unless
                ``needs_losses_after``.
            finite: bool scalar; if false, the state stays as it is.
        """

    def consolidate(self) -> None:
        """Learn from the steps since the last consolidation point, on the host."""

    def _slot(self, name: str, values: Floats) -> Parameter:
        self.state[name] = state_parameter(f"balance.{name}", values)
        return self.state[name]


class FixedWeights(Balance):
    """Given weights.

    Args:
        weights: K numbers.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__(len(weights))
        self.weights = Tensor(np.array(weights, np.float32))

    def construct(self, losses: Tensor) -> Tensor:
        """See the base class."""
        return self.weights


class Uncertainty(Balance):
    """Learned log-variances (Kendall, Gal and Cipolla, CVPR 2018, eq. 10, for cross-entropies).

    With s the logarithm of a task's variance, the total is ``sum(exp(-s) * L + s / 2)``; s takes
    steps of plain gradient descent. It goes to log(2 L), the weight exp(-s) to 1 / (2 L): it cannot
    run away as long as the loss does not go to 0, which label smoothing sees to. It sinks by at
    most rate / 2 per step, but a loss that jumps lifts it at once, and it is slow to come back.

    Args:
        num_tasks: K.
        rate: Learning rate of s.
    """

    is_learned = True

    def __init__(self, num_tasks: int, rate: float) -> None:
        super().__init__(num_tasks)
        self.rate = rate
        self.log_variances = self._slot("log_variances", np.zeros(num_tasks, np.float32))

    def construct(self, losses: Tensor) -> Tensor:
        """See the base class."""
        return ops.exp(-self.log_variances)

    def update(self, losses: Tensor, after: Tensor, finite: Tensor) -> None:
        """See the base class."""
        gradient = 0.5 - ops.exp(-self.log_variances) * losses
        moved = self.log_variances - self.rate * gradient
        ops.assign(self.log_variances, ops.where(finite, moved, self.log_variances))


class DynamicWeightAverage(Balance):
    """Larger weights where the loss falls more slowly (Liu, Johns and Davison, CVPR 2019, eq. 7).

    ``K * softmax(L(t - 1) / L(t - 2) / temperature)`` of the mean losses of the last two periods.
    A period is what lies between two consolidation points; the weights of the first two are 1.

    Args:
        num_tasks: K.
        temperature: The larger, the more alike the weights.
    """

    is_learned = True

    def __init__(self, num_tasks: int, temperature: float) -> None:
        super().__init__(num_tasks)
        self.temperature = temperature
        zeros = np.zeros(num_tasks, np.float32)
        self.weights = self._slot("weights", np.ones(num_tasks, np.float32))
        self.sums = self._slot("sums", zeros)
        self.steps = self._slot("steps", np.zeros(1, np.float32))
        self.previous = self._slot("previous", zeros)  # 0 before the first period has ended

    def construct(self, losses: Tensor) -> Tensor:
        """See the base class."""
        return self.weights.value()

    def update(self, losses: Tensor, after: Tensor, finite: Tensor) -> None:
        """See the base class."""
        ops.assign(self.sums, ops.where(finite, self.sums + losses, self.sums))
        ops.assign(self.steps, ops.where(finite, self.steps + 1.0, self.steps))

    def consolidate(self) -> None:
        """See the base class. A period without a single update does not count."""
        steps = float(self.steps.asnumpy()[0])
        if not steps:
            return
        means = np.maximum(self.sums.asnumpy().astype(np.float64) / steps, _SMALLEST_LOSS)
        previous = self.previous.asnumpy().astype(np.float64)
        if previous.all():
            ratios = means / previous / self.temperature
            parts = np.exp(ratios - ratios.max())
            weights = self.num_tasks * (parts / parts.sum())
            self.weights.set_data(Tensor(weights.astype(np.float32)))
        self.previous.set_data(Tensor(means.astype(np.float32)))
        self.sums.set_data(Tensor(np.zeros(self.num_tasks, np.float32)))
        self.steps.set_data(Tensor(np.zeros(1, np.float32)))


class FAMO(Balance):
    """Fast adaptive multitask optimization (Liu, Feng, Stone and Liu, NeurIPS 2023).

    The update follows ``sum(z * grad log L)`` with z = softmax(logits), that is weights
    proportional to z / L; they are scaled to the sum K, where the paper's sum to 1, so that the
    learning rate means the same as with the other rules. The logits learn from the change of the
    logarithms of the losses by the update: z grows where the loss has fallen less.

    They learn by plain descent, as in Algorithm 1. The authors' code takes Adam at the same rate.
    On a toy problem with three tasks both came to about the same z, Adam in a third of the steps;
    but it keeps two vectors more, takes steps of full size from changes that are mere rounding,
    and near the end of a cosine schedule, where losses hardly change, it forgot what was learned.

    Args:
        num_tasks: K.
        rate: Learning rate of the logits.
        decay: Weight decay of the logits.
    """

    is_learned = True
    needs_losses = True
    needs_losses_after = True

    def __init__(self, num_tasks: int, rate: float, decay: float) -> None:
        super().__init__(num_tasks)
        self.rate, self.decay = rate, decay
        self.logits = self._slot("logits", np.zeros(num_tasks, np.float32))

    def construct(self, losses: Tensor) -> Tensor:
        """See the base class."""
        parts = ops.softmax(self.logits, -1) / ops.maximum(losses, _SMALLEST_LOSS)
        return ops.stop_gradient(self.num_tasks * parts / parts.sum())

    def update(self, losses: Tensor, after: Tensor, finite: Tensor) -> None:
        """See the base class. Nor is anything learned where a loss is not finite afterwards."""
        moved = self.logits - self.rate * self.gradient(losses, after)
        # The network may have been sent to infinity by a gradient that was still finite.
        finite = ops.logical_and(finite, ops.isfinite(after).all())
        ops.assign(self.logits, ops.where(finite, moved, self.logits))

    def gradient(self, losses: Tensor, after: Tensor) -> Tensor:
        """Return the gradient with respect to the logits (K,), with their decay.

        It is that of ``sum(z * (log losses - log after))``.
        """
        z = ops.softmax(self.logits, -1)
        before = ops.log(ops.maximum(losses, _SMALLEST_LOSS))
        fallen = before - ops.log(ops.maximum(after, _SMALLEST_LOSS))
        return z * (fallen - (z * fallen).sum()) + self.decay * self.logits


def build_balance(config: BalanceConfig, tasks: Sequence[str]) -> Balance:
    """Return the rule of section ``loss.balance``, for tasks in the order of their losses."""
    if config.rule == "fixed":
        return FixedWeights([config.weights[task] for task in tasks])
    if config.rule == "uncertainty":
        return Uncertainty(len(tasks), config.learning_rate)
    if config.rule == "dwa":
        return DynamicWeightAverage(len(tasks), config.temperature)
    if config.rule == "famo":
        return FAMO(len(tasks), config.learning_rate, config.decay)
    return Balance(len(tasks))
