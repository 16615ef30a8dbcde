"""How a rank that fails says so: in its log, to the launcher, and by its exit code."""

import faulthandler
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from train.environment import ERROR
from train.errors import FAILURE, USER_ERROR, UserError, error_text
from train.files import replace_file
from train.storage.retry import StorageError


def explain_crashes() -> None:
    """Have the Python stacks of all threads printed on a crash, and on USR1 (the hang watch's)."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)


def report(error: Exception) -> int:
    """Tell about an error on standard error and to the launcher; return the exit code."""
    if isinstance(error, (UserError, StorageError)):
        text = error_text(error)
    else:
        text = "".join(traceback.format_exception(error))
    print(text.rstrip(), file=sys.stderr, flush=True)
    # When it happened, which says more than when this process has ended: whose failure was first
    # decides whose is told.
    if path := os.environ.get(ERROR):
        message = traceback.format_exception_only(error)[-1].strip()
        record = {"time": time.time(), "message": message}
        replace_file(Path(path), json.dumps(record).encode())
    return USER_ERROR if isinstance(error, UserError) else FAILURE


def leave(code: int) -> None:
    """End this process at once.

    MindSpore's own end of a rank waits for ranks that wait for this one, and may crash.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
