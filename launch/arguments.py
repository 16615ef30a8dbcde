"""The command line of the launcher."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from launch.foreign_starter import rank_in_table
from launch.job import DEFAULT_GRACE, DEFAULT_HANG_TIMEOUT, DEFAULT_NODE_TIMEOUT, Job
from launch.kubernetes.place import Place, place_in_cluster
from train.environment import rank_table
from train.errors import UserError
from train.program.command_line import Parser
from train.storage.address import is_remote

if TYPE_CHECKING:  # what is slow to import waits until the command line is read
    from train.config.schema import Config

_PROGRAM = "python -m launch"

_DESCRIPTION = """\
Starts one training process per device and watches over them, on this machine or, with one
launcher on each, on several.

Without --nproc there is one process per NPU, or, without NPUs, one per processor core
(at most 8). What the processes print goes to RUN_DIR/logs/attempt_K; rank 0 prints its
progress here."""

_EPILOG = """\
Settings are those of the configuration file, key.sub=value. Two of them are read here too:
  nproc=N         same as --nproc N
  run_dir=PATH    the run folder (default: run_dir in CONFIG, or else
                  runs/NAME for NAME.yaml)

With --tool it starts "python -m tools predict" instead, whose processes share the work:
  python -m launch --nproc 4 --tool predict RUN INPUT... --out DIR
Everything behind --tool is that command's; the logs go to DIR.launch.

exit code: 0 success; 2 a mistake in what was asked for, named in one line; 124 no progress
any more; 128+N ended by signal N; otherwise that of the rank that failed first.
More: docs/launch.md"""


class Arguments(NamedTuple):
    """A parsed command line: what is to run, and whether only to print its plan, and as JSON.

    Without a configuration it is no training.
    """

    job: Job
    config: "Config | None"
    dry_run: bool
    as_json: bool


# Name, what its value is called, default, help.
OPTIONS: tuple[tuple[str, str, float | None, str], ...] = (
    ("--nproc", "N", None, "number of ranks on this node"),
    (
        *("--nnodes", "N", None),
        "number of nodes, each with a launcher (default: 1, in Kubernetes what the job's "
        "variables say)",
    ),
    ("--node-rank", "R", None, "which of them this is, from 0"),
    ("--master", "HOST[:PORT]", None, "node 0, where the launchers of all nodes meet"),
    ("--node-timeout", "S", DEFAULT_NODE_TIMEOUT, "seconds to wait for the other nodes"),
    ("--master-port", "P", None, "port of MindSpore's scheduler (default: a free one)"),
    (
        *("--rank-table", "PATH", None),
        "Ascend rank table, or a folder with one, that says which devices are which ranks "
        "(default: RANK_TABLE_FILE)",
    ),
    (
        *("--max-restarts", "K", 0),
        "restart a failed job from its newest checkpoint at most K times",
    ),
    (
        *("--min-nodes", "M", None),
        "restart with as few nodes when others are lost (default: a lost node ends the job)",
    ),
    (
        *("--hang-timeout", "S", DEFAULT_HANG_TIMEOUT),
        "seconds without progress after which the ranks count as dead, 0: never",
    ),
    ("--grace", "S", DEFAULT_GRACE, "seconds a signal leaves the ranks to save and end"),
)


def _parser() -> Parser:
    parser = Parser(
        prog=_PROGRAM,
        usage="%(prog)s [options] CONFIG [key.sub=value ...]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("config", metavar="CONFIG", nargs="?", help="configuration file (YAML)")
    add("overrides", metavar="key.sub=value", nargs="*", help="settings")
    for name, value, default, text in OPTIONS:
        if default is None:
            add(name, metavar=value, help=text)
        else:
            text = f"{text} (default: %(default)s)"
            add(name, metavar=value, default=str(default), help=text)
    add(
        "--require-upload",
        action="store_true",
        help="fail if the results are not all in object storage in the end (run_dir=s3://...)",
    )
    add("--dry-run", action="store_true", help="print the plan, start nothing")
    add("--format", choices=("text", "json"), default="text", help="of the plan")
    text = "start a tool instead of training: predict RUN INPUT... --out DIR"
    add("--tool", metavar="WORD", nargs=argparse.REMAINDER, help=text)
    return parser


def parse(argv: Sequence[str]) -> Arguments:
    """Read the command line.

    Raises:
        UserError: An argument is wrong.
    """
    parser = _parser()
    _require_known_options(argv, parser)
    given = parser.parse_intermixed_args(list(argv))
    what = _tool(given) if given.tool is not None else _training(given)
    place = _place(given)
    table = given.rank_table or rank_table(os.environ)
    if place.nnodes and place.nnodes > 1 and not table:
        for option, value in (("--node-rank", place.node_rank), ("--master", place.master)):
            if value is None:
                raise UserError(
                    f"--nnodes {place.nnodes} needs {option} (see python -m launch --help)"
                )
    max_restarts = _number("--max-restarts", given.max_restarts, 0, 1_000_000) or 0
    min_nodes = _number("--min-nodes", given.min_nodes, 1, place.nnodes or 1)
    if min_nodes and table:
        raise UserError("--min-nodes: a rank table says which nodes take part: leave one out")
    if min_nodes and not max_restarts:
        raise UserError(f"--min-nodes {min_nodes} needs --max-restarts: it is about restarts")
    job = Job(
        worker_command=what.command,
        run_dir=what.folder,
        nproc=_number("nproc", what.nproc, 1, 1_000_000) or place.nproc,
        nnodes=place.nnodes,
        node_rank=place.node_rank,
        master=place.master,
        control_port=place.port,
        master_port=_number("--master-port", given.master_port, 1024, 65535),
        rank_table=Path(table) if table else None,
        rank=rank_in_table(os.environ) if table else None,
        max_restarts=max_restarts,
        min_nodes=min_nodes,
        grace=seconds("--grace", given.grace),
        # Only training tells of its progress.
        hang_timeout=seconds("--hang-timeout", given.hang_timeout) if what.config else 0.0,
        node_timeout=seconds("--node-timeout", given.node_timeout),
        together=what.config is not None,
        upload_command=what.upload,
    )
    return Arguments(job, what.config, given.dry_run, given.format == "json")


@dataclass(frozen=True)
class _Work:
    """What the ranks are to run, where their logs go, and what uploads what is missing then."""

    command: list[str]
    folder: Path
    nproc: str | None
    config: "Config | None" = None
    upload: list[str] | None = None


def _training(given: argparse.Namespace) -> _Work:
    path = _config(given.config, given.overrides)
    nproc, settings = _settings(given.overrides, given.nproc)
    # One reader for all: what training would refuse is refused here.
    from train.config.reader import load_config

    config = load_config(path, settings)
    run_dir = str(config.run_dir)
    overrides = [text for text in settings if not text.startswith("run_dir=")]
    training = [str(path), *overrides, f"run_dir={run_dir}"]
    upload = [sys.executable, "-m", "train.run.last_upload"]
    if given.require_upload:
        upload.append("--required")
    later = [*upload, *training] if is_remote(run_dir) else None
    command = [sys.executable, "-m", "train", *training]
    return _Work(command, config.run_folder, nproc, config, later)


def _tool(given: argparse.Namespace) -> _Work:
    if given.config is not None:
        raise UserError(f"{given.config}: with --tool there is no configuration")
    words = list(given.tool)
    if words[:1] != ["predict"]:
        raise UserError(
            f"--tool {' '.join(words[:1])}: must be predict, whose processes share the work"
        )
    own = Parser(add_help=False, allow_abbrev=False)
    own.add_argument("--out")
    out = own.parse_known_args(words[1:])[0].out
    if out is None:
        raise UserError("--tool predict: --out DIR is missing")
    folder = Path(out).absolute()
    command = [sys.executable, "-m", "tools", *words]
    return _Work(command, folder.with_name(f"{folder.name}.launch"), given.nproc)


def _place(given: argparse.Namespace) -> Place:
    """Return this node's place in the job: what the options say, or else a cluster's variables."""
    nnodes = _number("--nnodes", given.nnodes, 1, 1_000_000)
    node_rank = _number("--node-rank", given.node_rank, 0, (nnodes or 1_000_000) - 1)
    if node_rank and nnodes is None and not given.rank_table and not rank_table(os.environ):
        raise UserError(f"--node-rank {node_rank} needs --nnodes (see python -m launch --help)")
    master, port = _address(given.master)
    told = place_in_cluster(os.environ) if nnodes is None else None
    if told is None:
        return Place(nnodes, node_rank, master, port)
    return told if master is None else replace(told, master=master, port=port)


def _require_known_options(argv: Sequence[str], parser: Parser) -> None:
    known = parser._option_string_actions
    for number, word in enumerate(argv):
        if word == "--tool":  # the rest is that tool's
            return
        is_option = word.startswith("-") and not word[1:2].isdecimal()
        if is_option and word.partition("=")[0] not in known:
            from train.config.overrides import explain_words

            raise UserError(explain_words(argv[number:], _PROGRAM, known))


def _config(first: str | None, others: Sequence[str]) -> Path:
    if first is not None and Path(first).is_file():
        return Path(first)
    from train.config.overrides import require_config_first

    return require_config_first([] if first is None else [first, *others], _PROGRAM)


def _settings(settings: Sequence[str], nproc: str | None) -> tuple[str | None, list[str]]:
    """Take out what is for the launcher: (nproc, what is left for the workers)."""
    given_nproc = nproc
    overrides: list[str] = []
    for setting in settings:
        key, _, value = setting.partition("=")
        if key == "nproc":
            if given_nproc is not None and given_nproc != value:
                raise UserError(f"--nproc {given_nproc} and {setting} contradict each other")
            nproc = value
        elif setting == "run_dir=":
            raise UserError("run_dir= needs a folder")
        else:
            overrides.append(setting)
    return nproc, overrides


def _address(text: str | None) -> tuple[str | None, int | None]:
    """Read HOST, HOST:PORT, an IPv6 address or [IPv6 address]:PORT."""
    if text is None:
        return None, None
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if rest else None
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, None
    if not host:
        raise UserError(f"--master must look like HOST or HOST:PORT, not {text!r}")
    return host, _number("the port of --master", port, 1024, 65535)


def _number(name: str, text: str | None, lowest: int, highest: int) -> int | None:
    if text is None:
        return None
    # isdecimal() alone would let the digits of other scripts pass.
    if not (text.isascii() and text.isdecimal() and lowest <= int(text) <= highest):
        raise UserError(f"{name} must be a whole number from {lowest} to {highest}, not {text!r}")
    return int(text)


def seconds(name: str, text: str) -> float:
    """Read a number of seconds.

    Raises:
        UserError: It is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise UserError(f"{name} must be a number of seconds, not {text!r}")
    return number
