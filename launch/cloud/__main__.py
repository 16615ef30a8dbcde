"""``python -m launch.cloud``: what launch/modelarts.py becomes."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.cloud import arguments, container
from launch.cloud.job import CloudJob, run
from launch.cloud.staging import StagingFailed
from train.errors import USER_ERROR, UserError, error_text

ROOT = Path(__file__).resolve().parents[2]


def main(argv: Sequence[str]) -> int:
    """Runs the job, or this process's part of it; the exit code."""
    try:
        request = arguments.parse(argv, ROOT, os.environ.get("MA_CACHE_DIR"))
        if request is None:
            print(arguments.HELP)
            return 0
        return run(CloudJob(request, container.identify(os.environ), ROOT, dict(os.environ)))
    except StagingFailed as error:
        print(error_text(error), file=sys.stderr)
        return error.code
    except UserError as error:
        for line in str(error).splitlines():
            print(error_text(line), file=sys.stderr)
        return USER_ERROR


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
