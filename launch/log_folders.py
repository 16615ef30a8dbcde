"""Where the logs of a job go: ``logs/attempt_K`` of its run folder, one for every attempt."""

import itertools
from pathlib import Path

from train.errors import UserError


def log_folder(run_dir: Path, attempt: int) -> Path:
    """Return where the logs of an attempt go."""
    return run_dir / "logs" / f"attempt_{attempt}"


def next_attempt(run_dir: Path) -> int:
    """Return the number of the first attempt that has no logs yet."""
    return next(n for n in itertools.count() if not log_folder(run_dir, n).exists())


def claim_attempt(run_dir: Path) -> int:
    """Make the log folder of a new attempt and return its number; logs of earlier ones stay.

    Raises:
        UserError: The run folder cannot be written.
    """
    attempt = next_attempt(run_dir)
    while not make_log_folder(run_dir, attempt):  # another launcher was quicker
        attempt += 1
    return attempt


def make_log_folder(run_dir: Path, attempt: int) -> bool:
    """Make the log folder of an attempt; return False if it is there already.

    Raises:
        UserError: The run folder cannot be written.
    """
    folder = log_folder(run_dir, attempt)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise UserError(f"run folder {run_dir}: {folder.parent} is not a folder") from None
        return False
    except OSError as error:
        raise UserError(f"cannot write run folder {run_dir}: {error.strerror}") from None
    return True
