"""A folder that looks like a fresh checkout, in which the commands of a page are run in order."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import Piece
from tests.paths import ROOT

LINKED = ("train", "tools", "launch", "rank_tables", "docs", "tests")
# Few steps are enough to see that a command trains.
SHORT = (
    *("schedule.steps=4", "schedule.consolidate_every=2"),
    *("evaluate.every=0", "checkpoint.every=0", "image.stages=[]", "report=false"),
)
_SHORT = " ".join(SHORT)
# Every start of a training is made short; all else in a page runs as it is written there. A block
# that fails ends the page, a command of a transcript does not: it may show a mistake.
_PREAMBLE = f"""
short() {{
    case " $* " in
        *" --help "* | *" --dry-run"* | *" --tool "* | *" launch/run_docker.sh "*) command "$@" ;;
        *" launch/run_distribute_8p.sh "* | *" -m launch "*) command "$@" nproc=1 {_SHORT} ;;
        *" launch/run_"* | *" -m train "*) command "$@" {_SHORT} ;;
        *) command "$@" ;;
    esac
}}
bash() {{ short bash "$@"; }}
python() {{ short python "$@"; }}
"""


@dataclass(frozen=True)
class Ran:
    """A piece that was run: its exit code (None: never came to an end) and what it printed."""

    piece: Piece
    code: int | None
    out: str
    err: str


def make(folder: Path) -> None:
    """Make a checkout: links to the parts of the project, and a .venv that stands for ours."""
    for part in LINKED:
        (folder / part).symlink_to(ROOT / part)
    # Pages add configurations of the reader's.
    shutil.copytree(ROOT / "configs", folder / "configs")
    for file in ROOT.glob("requirements*.txt"):
        shutil.copy(file, folder)
    activate = folder / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(f"PATH='{Path(sys.executable).parent}':$PATH\n")


def run(folder: Path, pieces: list[Piece], seconds: float) -> list[Ran]:
    """Run pieces in order, in one shell where .venv is active, and return those that were begun.

    Args:
        folder: The checkout.
        pieces: What to run.
        seconds: The time that they have together.
    """
    said = folder.with_name("said")
    said.mkdir()
    script = [_PREAMBLE]
    for number, piece in enumerate(pieces):
        files = f">'{said}/{number}.out' 2>'{said}/{number}.err'"
        script.append(f"exec {files}\n{'set -e' if piece.output is None else 'set +e'}")
        script.append(piece.code)
        script.append(f"{{ code=$?; set +e; echo $code >'{said}/{number}.code'; }} 2>/dev/null")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "OMPI"))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env={**environment, "MTLN_PYTHON": sys.executable, "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=seconds,
        check=False,
    )
    return [ran for n, piece in enumerate(pieces) if (ran := _what_ran(said / str(n), piece))]


def _what_ran(files: Path, piece: Piece) -> Ran | None:
    out, err, code = (files.with_suffix(ending) for ending in (".out", ".err", ".code"))
    if not out.exists():
        return None
    ended = int(code.read_text()) if code.exists() else None
    return Ran(piece, ended, out.read_text(), err.read_text())
