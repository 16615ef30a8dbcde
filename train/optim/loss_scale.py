"""The dynamic loss scale that keeps small gradients from vanishing in float16."""

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.ops.operations.math_ops import NPUClearFloatStatusV2, NPUGetFloatStatusV2

from train.optim.optimizers import state_parameter

FIRST = 2.0**16
GOOD_STEPS = 1000
# A scale that no gradient ever stops must not grow until squares of a gradient leave float32.
LARGEST = 2.0**24


class LossScale(nn.Cell):
    """Dynamic loss scale (Micikevicius et al., "Mixed Precision Training", ICLR 2018).

    The loss is multiplied by the scale, and the gradient divided by it before it is used. Where the
    gradient is not finite the step is skipped and the scale halved; after many good steps in a row
    it is doubled. All are powers of two, so what they do to a gradient is undone exactly. Whether a
    step is finite is the same on all ranks, hence so is the scale.

    Args:
        good_steps: So many in a row double the scale.
        saturates: Whether a sum that is too large for float16 becomes its largest number, and not
            infinite: so on an Ascend 910 (A), which notes it in a status of its own.

    Attributes:
        state: The scale and the number of good steps in a row, by name; saved in checkpoints.
    """

    def __init__(self, good_steps: int = GOOD_STEPS, saturates: bool = False) -> None:
        super().__init__()
        self.saturates = saturates
        self.wanted = good_steps
        self.factor = state_parameter("loss_scale.factor", np.full(1, FIRST, np.float32))
        self.good_steps = state_parameter("loss_scale.good_steps", np.zeros(1, np.float32))
        self.read = NPUGetFloatStatusV2()
        self.clear = NPUClearFloatStatusV2()
        self.status = Tensor(np.zeros(8, np.int32))
        self.nothing = Tensor(np.float32(0))
        self.infinity = Tensor(np.float32(np.inf))
        self.state = {"factor": self.factor, "good_steps": self.good_steps}

    def construct(self) -> Tensor:
        """Return the scale of this step, scalar."""
        return self.factor.value().reshape(())

    def overflow(self, gradients: Sequence[Tensor]) -> Tensor:
        """Return infinity if a number was too large on the way to these gradients, otherwise 0.

        Scalar; only for an NPU that saturates, as no other has such a status.
        """
        # Read once all is computed, and cleared for the next step once it is read.
        status = ops.depend(self.status, gradients)
        found = self.read(status)
        cleared = self.clear(ops.depend(status, found))
        found = ops.depend(found, cleared)
        return ops.where((found != 0).any(), self.infinity, self.nothing)

    def update(self, finite: Tensor) -> None:
        """Learn, after the update, whether a step's gradient was finite (bool scalar)."""
        good = self.good_steps + 1.0
        enough = good >= self.wanted
        grown = ops.where(enough, ops.minimum(2.0 * self.factor, LARGEST), self.factor)
        shrunk = ops.maximum(0.5 * self.factor, 1.0)
        counted = ops.where(ops.logical_and(finite, ops.logical_not(enough)), good, 0.0)
        ops.assign(self.factor, ops.where(finite, grown, shrunk))
        ops.assign(self.good_steps, counted)

    def current(self) -> float:
        """Return the scale, on the host."""
        return float(self.factor.asnumpy()[0])
