"""launch/doctor.sh: on a bare machine before set-up, and after it."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.aliases import Ended
from tests.paths import ROOT

# What the script and launch/setup.sh need besides bash, none of it a Python.
PROGRAMS = ("awk", "bash", "cat", "df", "dirname", "grep", "sha256sum", "uname")
NOWHERE = "http://127.0.0.1:9/simple"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "check out"
    (root / "launch").mkdir(parents=True)
    for name in ("doctor.sh", "setup.sh", "environment.sh"):
        shutil.copy(ROOT / "launch" / name, root / "launch")
    (root / "requirements.txt").write_text("mtln-probe==1.0\n")
    return root


def examine(root: Path, *arguments: str, **variables: str) -> Ended:
    """Run the script with these variables alone."""
    command = ["/bin/bash", str(root / "launch/doctor.sh"), *arguments]
    return subprocess.run(
        command, cwd="/", env=variables, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def index() -> Iterator[str]:
    """A package index that wants a password."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://me:secret@127.0.0.1:{server.server_port}/simple"
        server.shutdown()


def test_empty_environment(checkout: Path, index: str) -> None:
    """Nothing but an index: what is there is told, and nothing is made."""
    done = examine(checkout, PIP_INDEX_URL=index)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "before set-up (bash launch/setup.sh):"
    for name in ("system", "Python", "compiler", "disk", "memory", "NPUs"):
        assert any(line.split()[1] == name for line in lines[1:-1]), done.stdout
    # Whether the system itself has a Python that will do does not depend on the environment.
    usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert done.returncode == examine(checkout, PATH=usual, PIP_INDEX_URL=index).returncode
    if done.returncode == 0:
        assert lines[-1].startswith("next: bash launch/setup.sh ")
        [line] = [line for line in lines if " index " in line]
        assert line.startswith("ok ") and "secret" not in line
    assert sorted(path.name for path in checkout.iterdir()) == ["launch", "requirements.txt"]


def test_what_is_missing_is_named_with_a_remedy(checkout: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in PROGRAMS:
        (bare / name).symlink_to(str(shutil.which(name)))
    done = examine(checkout, PATH=str(bare))
    assert (done.returncode, done.stderr) == (1, "")
    assert "fail  Python    none" in done.stdout and "apt install python3" in done.stdout
    assert "warn  compiler  no g++" in done.stdout and "apt install g++" in done.stdout
    assert done.stdout.endswith("then again: bash launch/doctor.sh\n")

    base = getattr(sys, "_base_executable", sys.executable)
    (bare / "python3").write_text(f'#!/bin/sh\nexec "{base}" "$@"\n')
    (bare / "python3").chmod(0o755)
    done = examine(checkout, PATH=str(bare), PIP_INDEX_URL=NOWHERE)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"warn  index     no answer from {NOWHERE}: " in done.stdout


def test_after_set_up_it_hands_over(tmp_path: Path) -> None:
    done = examine(
        ROOT, "--quick", "--json", MTLN_PYTHON=sys.executable, PATH="/usr/bin:/bin", HOME="/"
    )
    assert done.returncode in (0, 1), done.stderr
    assert json.loads(done.stdout)["findings"][0]["check"] == "Python"
