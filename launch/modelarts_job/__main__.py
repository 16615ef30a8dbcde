"""``python -m launch.modelarts_job``: what launch/modelarts.py becomes."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.modelarts_job import arguments, hand_over, place
from train.errors import USER_ERROR, UserError, error_text

ROOT = Path(__file__).resolve().parents[2]


def main(argv: Sequence[str]) -> int:
    """Run the job, or this process's part of it; return the exit code."""
    try:
        request = arguments.parse(argv, ROOT, os.environ.get("MA_CACHE_DIR"))
        if request is None:
            print(arguments.HELP)
            return 0
        os.chdir(ROOT)  # what paths in a configuration are relative to
        return hand_over.run(request, place.identify(os.environ))
    except UserError as error:
        print(error_text(error), file=sys.stderr)
        return USER_ERROR


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
