"""``python -m train.native``: builds the CPU operators where that is possible."""

import sys

from train.native import library
from train.native.build import build
from train.native.library import NativeUnavailable


def main() -> int:
    """Says in one line what came of it; 1 if there are no operators now."""
    try:
        folder = build()
        library.load()
    except NativeUnavailable as reason:
        print(f"native CPU operators: {reason}; MindSpore's own are used", file=sys.stderr)
        return 1
    print(f"native CPU operators: {folder}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
