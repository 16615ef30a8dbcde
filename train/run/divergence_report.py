"""How a run ends that has diverged: what is told, and the error with the advice."""

from collections.abc import Mapping, Sequence

from train.config.schema import Config
from train.data.loader import TrainLoader
from train.errors import UserError
from train.run.run_log import RunLog


class DivergenceReport:
    """Tells of gradients and models that are not finite.

    Args:
        config: The run.
        loader: Knows which records a step has seen.
        log: Knows the losses before it, and shows the lines.
    """

    def __init__(self, config: Config, loader: TrainLoader, log: RunLog) -> None:
        self._rate = config.optimizer.learning_rate
        self._loader = loader
        self._log = log

    def of_steps(
        self, done: int, skipped: int, found: Mapping[int, str], saved: int | None
    ) -> UserError:
        """Say where the gradients are not finite, and return the error that ends the run.

        Args:
            done: Steps done, the last one of them skipped.
            skipped: How many in a row were.
            found: What was not finite when it was made again, by rank.
            saved: The step of the newest checkpoint, if there is one.
        """
        for rank, what in found.items():
            records = self._loader.tell_records(done - 1, rank)
            self._log.say(f"Not finite in step {done} on rank {rank}: {what} (records {records})")
        if not found:
            self._log.say(f"Made again, step {done} is finite: a device or a link may be faulty.")
        self._log.say(f"Losses before: {self._log.told_losses() or 'none'}")
        what = f"the gradients of the last {skipped} steps up to {done} were not finite"
        return self._error(what, saved)

    def of_model(self, step: int, names: Sequence[str], saved: int | None) -> UserError:
        """Return the error that ends a run whose model answers nothing any more.

        Args:
            step: Steps done.
            names: Of the parameters that are not finite.
            saved: The step of the newest checkpoint, if there is one.
        """
        what = f"{names[0]} and {len(names) - 1} more are" if names[1:] else f"{names[0]} is"
        return self._error(f"after step {step}, {what} not finite, which is not saved", saved)

    def _error(self, what: str, saved: int | None) -> UserError:
        after, spoilt = "starts again", ""
        if saved is not None:
            after = f"goes on from step {saved}"
            spoilt = (
                f"; where that does not help, step {saved} is spoilt already: remove "
                f"checkpoints/step_{saved:08d}, and it goes on from before"
            )
        return UserError(
            f"training has diverged: {what} (the same command {after} with a lower "
            f"optimizer.learning_rate, for example {self._rate / 2:g}, or an "
            f"optimizer.clip_norm{spoilt})"
        )
