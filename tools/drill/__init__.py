"""python -m tools drill: real runs are hit by faults, and must come to the same end."""

import argparse
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.drill.kinds.kind import Kind

_EPILOG = """\
After every fault: no process and no file left behind, nothing trusted that is damaged, every
checkpoint that of an undisturbed run, bit for bit. Several faults hit one run in turn; in the end
it must be the undisturbed one. A kind that cannot be tried here stands in the table with its
reason (--require-all makes it a failure).

exit code: 0 all survived; 1 not all; 2 a mistake in what was asked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.description = "Hit short real runs by faults, and compare them with an undisturbed one."
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--faults", metavar="N", type=int, help="number of faults (default: every kind once)")
    add("--seed", metavar="S", type=int, default=0, help="another seed, other faults (default: 0)")
    add("--nproc", metavar="2|3", type=int, choices=(2, 3), default=2, help="ranks (default: 2)")
    add("--kinds", metavar="KIND,...", help="only these; 'kill' stands for all kill-...")
    add("--list", action="store_true", help="list the kinds, and end")
    add("--chain", metavar="NAME", help="only this chain of the drill of this seed, with --keep")
    text = "new folder to work in, on the disk that is to be tried (default: a temporary one)"
    add("--folder", metavar="DIR", type=Path, help=text)
    add("--out", metavar="FOLDER", type=Path, help="write drill.json and drill.md")
    add("--update", metavar="PAGE", type=Path, help="replace the table in a Markdown page")
    add("--keep", action="store_true", help="keep the folders of runs that survived too")
    add("--require-all", action="store_true", help="fail if a kind cannot be tried here")


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code: 1 if something was not survived."""
    from tools.common.command_line import refused
    from tools.drill.chains import drill, plan
    from tools.drill.kinds import KINDS
    from tools.drill.places import PLACES
    from tools.drill.results import PART, Document
    from tools.drill.site import prepare
    from train.errors import UserError

    if arguments.list:
        print("\n".join(f"{key:<20}{kind.title}" for key, kind in KINDS.items()))
        return 0
    wanted = _wanted(KINDS, arguments.kinds)
    faults = len(wanted) if arguments.faults is None else arguments.faults
    if faults < 1:
        raise UserError(f"--faults {faults}: must be at least 1")
    missing: dict[str, str | None] = {
        where: PLACES[where].missing() for where in {k.where for k in wanted.values()}
    }
    possible = {key: kind for key, kind in wanted.items() if missing[kind.where] is None}
    chains = plan(possible, faults, arguments.seed)
    if arguments.chain is not None:
        chains = [chain for chain in chains if chain.name == arguments.chain]
    planned = {kind.key for chain in chains for kind in chain.kinds}
    not_tried = {key: _reason(key, wanted, missing) for key in KINDS if key not in planned}
    if not planned:
        raise UserError("--kinds, --chain: nothing is left to try")
    if arguments.out is not None:
        with refused(arguments.out, "cannot be made"):
            arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.update is not None:
        PART.around(arguments.update)
    folder = _folder(arguments.folder)
    keep = arguments.keep
    try:
        _say(f"undisturbed run on {arguments.nproc} ranks, in {folder}")
        site = prepare(folder, arguments.nproc)
        tried = drill(site, chains, arguments.keep, _say)
        document = Document(_command(arguments, faults), [t.tree() for t in tried], not_tried)
        keep = keep or bool(document.problems)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(document.table())
    if arguments.out is not None:
        document.write(arguments.out / "drill.json")
        (arguments.out / "drill.md").write_text(f"{document.markdown()}\n", encoding="utf-8")
    if arguments.update is not None:
        PART.replace(arguments.update, document.markdown())
    for problem in document.problems:
        print(f"not survived: {problem}", file=sys.stderr)
    impossible = len(possible) < len(wanted)
    return int(bool(document.problems) or (arguments.require_all and impossible))


def _command(arguments: argparse.Namespace, faults: int) -> str:
    """Return the command that repeats a drill, without what is this machine's own."""
    words = ["--faults", str(faults), "--seed", str(arguments.seed)]
    words += ["--nproc", str(arguments.nproc)]
    for option in ("kinds", "chain"):
        if (value := getattr(arguments, option)) is not None:
            words += [f"--{option}", value]
    return shlex.join(["python", "-m", "tools", "drill", *words])


def _folder(given: Path | None) -> Path:
    """Return a new folder.

    Raises:
        UserError: The one that is wanted is there already, or cannot be made.
    """
    from tools.common.command_line import refused

    if given is None:
        return Path(tempfile.mkdtemp(prefix="mtln-drill-"))
    with refused(given, "cannot be made"):
        given.mkdir(parents=True)
    return given.absolute()


def _wanted(kinds: "Mapping[str, Kind]", given: str | None) -> "dict[str, Kind]":
    """Return the kinds that a list of keys or of their first words names."""
    from train.errors import UserError

    if given is None:
        return dict(kinds)
    for word in given.split(","):
        if not any(key == word or key.startswith(f"{word}-") for key in kinds):
            raise UserError(f"--kinds {word}: no such kind (--list names them)")
    return {
        key: kind
        for key, kind in kinds.items()
        if any(key == word or key.startswith(f"{word}-") for word in given.split(","))
    }


def _reason(key: str, wanted: "Mapping[str, Kind]", missing: Mapping[str, str | None]) -> str:
    if key not in wanted:
        from tools.drill.results import NOT_ASKED_FOR

        return NOT_ASKED_FOR
    return missing[wanted[key].where] or "fewer faults than kinds (--faults)"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
