"""``python -m train.native``: builds the CPU operators where that is possible."""

import argparse
import sys
from collections.abc import Sequence

from train.native import library
from train.native.build import build, compiler
from train.native.library import NativeUnavailable


def main(arguments: Sequence[str] | None = None) -> int:
    """Say in one line what came of it; return 1 if there are no operators now."""
    parser = argparse.ArgumentParser(prog="python -m train.native", description=__doc__)
    parser.add_argument(
        "--quiet", action="store_true", help="say nothing if there was nothing to do"
    )
    quiet = parser.parse_args(arguments).quiet
    if library.is_switched_off():
        if not quiet:
            say(f"{library.SWITCH}=0; MindSpore's own are used, which are slower")
        return 1
    try:
        is_missing = bool(library.missing())
        if is_missing:
            compiler()  # raises if there is none, before anything is said
            say("building, once, 10-30 seconds ...")
        folder = build()
        library.load()
    except NativeUnavailable as reason:
        say(f"{reason}; MindSpore's own are used, which are slower")
        return 1
    if is_missing or not quiet:
        say(f"built in {folder}")
    return 0


def say(text: str) -> None:
    """Print a line for the user; the standard output is left to scripts."""
    print(f"native CPU operators: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
