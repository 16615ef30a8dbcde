"""What our training checks and saves while it goes on, each by itself."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mindspore import ParameterTuple, Tensor, nn, ops

from tools.bench.peers import ours
from train.environment import HEARTBEAT
from train.model.mtln import moving_statistics
from train.optim.ema import ModelAverage
from train.optim.loss_balance import build_balance
from train.process.health import Heartbeat
from train.run.checkpoint import Checkpoint
from train.run.checkpoint_folder import save_checkpoint
from train.run.saver import Saver
from train.run.state import TrainingState
from train.step.replicas import ReplicaCheck
from train.temporary import lasting_folder


class Checked(ours.Trainer):
    """A rank that trains, checks as in a step and at a consolidation point, and saves.

    Args:
        spec: See :class:`tools.bench.peers.ours.Trainer`.
        rank: This rank.
    """

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        super().__init__(spec, rank)
        network, optimizer = self.parts.network, self.parts.optimizer
        balance = build_balance(self.config.loss.balance, list(self.config.tasks))
        self.state = TrainingState(network, optimizer, balance, ModelAverage(network, 0))
        self.replicas = ReplicaCheck(self.state.everything, self.collectives, rank)
        self.consolidator = self.parts.consolidator(self.collectives)
        self.heartbeat = Heartbeat({HEARTBEAT: str(lasting_folder() / "heartbeat")})
        self.give_back = _GiveBack(network)
        self.nothing = _Nothing()
        for graph in (self.give_back, self.nothing):
            graph(Tensor(True)).asnumpy()  # compiles
        self.info["consolidate_every"] = self.config.schedule.consolidate_every

    def check(self, repeats: int) -> dict[str, Any]:
        """Take the seconds of the checks of a step, and of those of a consolidation point.

        In a step they are a part of its graph: here they have one of their own, and the seconds of
        another one in which nothing happens are those that this costs.
        """
        self.consolidator.consolidate()  # the ranks hold different task branches otherwise
        return {
            "step": [self._seconds(self._check_step) for _ in range(repeats)],
            "nothing": [self._seconds(self._do_nothing) for _ in range(repeats)],
            "point": [self._seconds(self._check_point) for _ in range(repeats)],
        }

    def save(self, repeats: int) -> dict[str, Any]:
        """Take the seconds for which a checkpoint holds the training up, and until it is written.

        For rank 0 alone, as in a run.
        """
        folder = lasting_folder()
        saver = Saver(folder, lambda checkpoint: _written(folder, checkpoint), print)
        held, written = [], []
        for step in range(repeats):
            begin = time.perf_counter()
            self.state.read()
            saver.save(self.state.to_checkpoint(step, {}))
            held.append(time.perf_counter() - begin)
            saver.wait()
            written.append(time.perf_counter() - begin)
        return {"held": held, "written": written}

    def _check_step(self) -> None:
        self.give_back(Tensor(True)).asnumpy()
        self.heartbeat.enter("step")
        self.heartbeat.enter("data", 1)

    def _do_nothing(self) -> None:
        self.nothing(Tensor(True)).asnumpy()

    def _check_point(self) -> None:
        self.replicas.require_equal(0, self.state.read())
        self.state.not_finite()

    def _seconds(self, action: Callable[[], None]) -> float:
        self.collectives.barrier()
        begin = time.perf_counter()
        action()
        return time.perf_counter() - begin


def _written(folder: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(folder, checkpoint, keep=1)


class _GiveBack(nn.Cell):
    """Keeping the statistics of batch norm and giving them back, as a step does."""

    def __init__(self, network: Any) -> None:
        super().__init__(auto_prefix=False)
        statistics = moving_statistics(network)
        self.statistics = ParameterTuple(statistics)
        self.flatten = network.backend.flatten()
        self.restore = network.backend.restore(statistics)

    def construct(self, finite: Tensor) -> Tensor:
        """Keep them, and give them back unless the step counts; return one of them."""
        kept = self.flatten(self.statistics)
        self.restore(kept, finite)
        return kept[:1]


class _Nothing(nn.Cell):
    """A graph that does nothing."""

    def construct(self, finite: Tensor) -> Tensor:
        """Return another value, so that the graph is not empty."""
        return ops.logical_not(finite)
