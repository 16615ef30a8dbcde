"""Which version of this project a run was trained by."""

import os
import subprocess
from pathlib import Path

from train import __version__

_ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 10.0


def code_version() -> str:
    """Return the version, with its commit where the project lies in a checkout of its own."""
    found = _git("rev-parse", "--show-toplevel", "--short=12", "HEAD")
    top, _, commit = (found or "").partition("\n")
    # In somebody else's checkout, a commit says nothing about this project.
    if not commit or Path(top).resolve() != _ROOT:
        return __version__
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "train", "launch")
    return f"{__version__}, commit {commit}{' with changes' if changed else ''}"


def _git(*words: str) -> str | None:
    """Return what git says; None where there is no git, or no checkout that it trusts."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(_ROOT), *words],
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
