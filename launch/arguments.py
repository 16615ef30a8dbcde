"""The command line of the launcher."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from launch.errors import UserError

DEFAULT_GRACE_SECONDS = 8.0

_DESCRIPTION = """\
Starts one training process per device, on this machine, and watches over them.

Without --nproc there is one process per NPU, or, without NPUs, one per processor core
(at most 8). What the processes print goes to RUN_DIR/logs/attempt_K; rank 0 prints its
progress here."""

_EPILOG = """\
Settings are those of the configuration file, key.sub=value. Two of them are read here too:
  nproc=N         same as --nproc N
  run_dir=PATH    the run folder (default: run_dir in CONFIG, or else
                  runs/NAME for NAME.yaml)

exit code: 0 success; 2 a mistake in what was asked for, named in one line; 128+N ended by
signal N; otherwise that of the rank that failed first."""


@dataclass(frozen=True)
class Arguments:
    """A parsed command line.

    Attributes:
        config: the configuration file.
        overrides: settings for the workers, without ``nproc=`` and ``run_dir=``.
        run_dir: the run folder.
        nproc: number of ranks, None to choose by the machine.
        master_port: port of the scheduler, None to choose a free one.
        grace: seconds between passing a signal on and killing what is left.
        dry_run: print the plan, start nothing.
    """

    config: Path
    overrides: tuple[str, ...]
    run_dir: Path
    nproc: int | None
    master_port: int | None
    grace: float
    dry_run: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see python -m launch --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m launch",
        usage="%(prog)s [options] CONFIG [key.sub=value ...]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("config", metavar="CONFIG", nargs="?", help="configuration file (YAML)")
    parser.add_argument("overrides", metavar="key.sub=value", nargs="*", help="settings")
    parser.add_argument("--nproc", metavar="N", help="number of ranks")
    parser.add_argument("--master-port", metavar="P", help="port of the scheduler (default: free)")
    parser.add_argument(
        "--grace",
        metavar="S",
        default=str(DEFAULT_GRACE_SECONDS),
        help="seconds a signal leaves the ranks to end by themselves (default: %(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan, start nothing")
    return parser


def parse(argv: Sequence[str]) -> Arguments:
    """Reads the command line.

    Raises:
        UserError: an argument is wrong.
    """
    given = _parser().parse_intermixed_args(list(argv))
    if given.config is None:
        raise UserError("no configuration file given (see python -m launch --help)")
    config = Path(given.config)
    if "=" in given.config and not config.exists():
        raise UserError(f"the configuration file must come first, before {given.config!r}")
    _require_file(config)
    nproc, run_dir = given.nproc, _configured_run_dir(config) or f"runs/{config.stem}"
    overrides: list[str] = []
    for setting in given.overrides:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise UserError(f"unexpected argument {setting!r}: settings look like key.sub=value")
        if key == "nproc":
            if given.nproc is not None and given.nproc != value:
                raise UserError(f"--nproc {given.nproc} and {setting} contradict each other")
            nproc = value
        elif key == "run_dir":
            if not value:
                raise UserError("run_dir= needs a folder")
            run_dir = value
        else:
            overrides.append(setting)
    return Arguments(
        config=config,
        overrides=tuple(overrides),
        run_dir=Path(run_dir),
        nproc=None if nproc is None else _whole_number("nproc", nproc, 1, 1_000_000),
        master_port=_port(given.master_port),
        grace=_seconds("--grace", given.grace),
        dry_run=given.dry_run,
    )


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"configuration file {path} is a folder")
    if not path.is_file():
        raise UserError(f"configuration file {path} does not exist")


def _configured_run_dir(config: Path) -> str | None:
    """Returns the run folder that the configuration names, if it does."""
    import yaml  # not needed to tell of a mistake in the command line

    try:
        tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        return None  # the training program says what is wrong, with line and column
    run_dir = tree.get("run_dir") if isinstance(tree, dict) else None
    return run_dir if isinstance(run_dir, str) and run_dir else None


def _port(text: str | None) -> int | None:
    return None if text is None else _whole_number("--master-port", text, 1024, 65535)


def _whole_number(name: str, text: str, lowest: int, highest: int) -> int:
    # isdecimal() alone would let the digits of other scripts pass.
    if not (text.isascii() and text.isdecimal() and lowest <= int(text) <= highest):
        raise UserError(f"{name} must be a whole number from {lowest} to {highest}, not {text!r}")
    return int(text)


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UserError(f"{name} must be a number of seconds, not {text!r}")
    return seconds
