"""What several command lines have in common: texts, options, and what is said of mistakes."""

import argparse
import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from train.errors import UserError

MAX_WORKERS = 64


def describe(parser: argparse.ArgumentParser, description: str, epilog: str = "") -> None:
    """Set what ``--help`` says of a command; with an epilog all lines are shown as they stand."""
    parser.description, parser.epilog = description, epilog
    if epilog:
        parser.formatter_class = argparse.RawDescriptionHelpFormatter


def add_workers_option(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare ``--workers``, the processes that do ``what``."""
    cores = min(len(os.sched_getaffinity(0)), MAX_WORKERS)
    text = f"processes that {what} (default: the cores of this machine)"
    parser.add_argument("--workers", metavar="N", type=int, default=cores, help=text)


def check_ranges(options: object, limits: Mapping[str, tuple[int, int]]) -> None:
    """Raise a UserError that names an option out of its range.

    Args:
        options: Has the values as attributes; None stands for an option that was not given.
        limits: The smallest and largest value by the name of the attribute.
    """
    for name, (low, high) in limits.items():
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be in {low}..{high}")


def require_packages(what: str, file: str, *modules: str) -> None:
    """Raise a UserError unless the packages of an optional requirement file are installed.

    Args:
        what: What needs them.
        file: The file, in the project's folder.
        modules: The names under which its packages are imported.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        command = f"python -m pip install -r {file}"
        raise UserError(f"{what} needs {', '.join(missing)}: {command}")


@contextmanager
def refused(path: Path, what: str = "") -> Iterator[None]:
    """Turn an OSError of the block into a UserError: the path, what cannot be done, and why."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: {what}{': ' if what else ''}{error.strerror}") from None
