"""How programs begin and end, as a shell sees it: full disks, closed pipes, ASCII, nohup."""

import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.aliases import Ended
from tests.paths import ROOT
from train.program import requirements

# Short programs in a shell: exec keeps redirections, and the exit code is the program's.
LIST = "-m tools download --list"
TELL = (
    "-c 'import sys; from train.program.ending import exit_code, outlive_output; "
    "sys.exit(exit_code(lambda: {}))'"
)
MUCH = 'print("x" * 1_000_000) or 0'


def shell(command: str, **variables: str) -> Ended:
    """Run a command of bash in which PYTHON is this Python; the code is that of its first part."""
    return subprocess.run(
        [
            "/bin/bash",
            "-c",
            f"{command.replace('PYTHON', sys.executable)}; exit ${{PIPESTATUS[0]}}",
        ],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        encoding="latin-1",
        timeout=120,
    )


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_full_standard_output_is_one_line(buffered: str) -> None:
    done = shell(f"PYTHON {LIST} >/dev/full", PYTHONUNBUFFERED=buffered)
    assert done.returncode == 2
    assert done.stderr == "error: standard output: No space left on device\n"


@pytest.mark.parametrize("program", ["tools", "launch", "train", "rank_tables"])
def test_help_that_cannot_be_written(program: str) -> None:
    done = shell(f"PYTHON -m {program} --help >/dev/full")
    assert done.returncode == 2
    assert done.stderr == "error: standard output: No space left on device\n"


def test_an_answer_of_training_itself() -> None:
    """Which handles all other errors in its own way."""
    done = shell("PYTHON -m train --help-keys >/dev/full")
    assert done.returncode == 2
    assert done.stderr == "error: standard output: No space left on device\n"


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_reader_that_has_seen_enough(buffered: str) -> None:
    done = shell(f"PYTHON {TELL.format(MUCH)} | head -c 5", PYTHONUNBUFFERED=buffered)
    assert (done.returncode, done.stdout, done.stderr) == (141, "xxxxx", "")


def test_a_mistake_that_nobody_can_read() -> None:
    wrong = "-m tools download nothing-like-this"
    for command in (f"PYTHON {wrong} 2>/dev/full", f"PYTHON {wrong} 2>&-"):
        done = shell(command)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_closed_streams() -> None:
    """What is opened later does not get their numbers, nor what is printed meanwhile."""
    work = 'print("lost") or 7 * (open("/dev/null").fileno() > 2)'
    for redirected in (">&-", ">&- 2>&- <&-"):
        done = shell(f"PYTHON {TELL.format(work)} {redirected}")
        assert (done.returncode, done.stderr) == (7, "")


@pytest.mark.parametrize("failing", [">/dev/full", "| head -c 1"])
def test_a_long_run_outlives_its_output(failing: str) -> None:
    work = f'[outlive_output(), {MUCH}, print("y"), 7][-1]'
    done = shell(f"PYTHON {TELL.format(work)} {failing}")
    assert done.returncode == 7
    [line] = done.stderr.splitlines()
    assert line.startswith("note: standard output: ") and "goes on without it" in line


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize(
    "failing", ["2>/dev/full", ">/dev/full 2>/dev/full", "2>&1 >/dev/full | :"]
)
def test_a_long_run_outlives_all_that_it_tells(failing: str, buffered: str) -> None:
    """Ranks write both into a file, and nobody is left who could be told."""
    tell = 'print("e" * 1_000_000, file=sys.stderr)'
    work = f"[outlive_output(), {tell}, {MUCH}, {tell}, print(1), 7][-1]"
    done = shell(f"PYTHON {TELL.format(work)} {failing}", PYTHONUNBUFFERED=buffered)
    assert (done.returncode, done.stderr) == (7, "")


def test_names_that_the_output_cannot_show_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "Río ñ").mkdir()
    for encoding in ("ascii", "utf-8"):
        done = shell(f"PYTHON -m tools verify '{tmp_path}/Río ñ'", PYTHONIOENCODING=encoding)
        shown = "R\\xedo \\xf1" if encoding == "ascii" else "Río ñ".encode().decode("latin-1")
        assert (done.returncode, done.stderr.count("Traceback")) == (1, 0)
        assert shown in done.stdout
    # A name that is no text at all.
    done = shell("PYTHON -m tools describe $'R\\xedo'", PYTHONIOENCODING="utf-8")
    assert done.returncode == 2 and done.stderr.startswith("error: R\\udcedo: ")


def test_nohup_is_obeyed(tmp_path: Path) -> None:
    """A command goes on where HUP is ignored, and cleans up where it is not."""
    code = (
        "import time; from pathlib import Path; import tools.copy; "
        "from tools.__main__ import main; "
        "tools.copy.run = lambda *_: [Path('started').touch(), time.sleep(60 if {} else 1), 0][2]; "
        "raise SystemExit(main(['copy', 'a', 'b']))"
    )
    for start, expected in (([], 128 + signal.SIGHUP), (["nohup"], 0)):
        folder = tmp_path / "_".join(["folder", *start])
        folder.mkdir()
        command = [*start, sys.executable, "-c", code.format(not start)]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not (folder / "started").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == expected


def bare_python(*arguments: str) -> Ended:
    """Run ``python -m`` with this Python, but without anything that is installed."""
    base = getattr(sys, "_base_executable", sys.executable)
    code = (
        "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
        'runpy.run_module(sys.argv.pop(1), run_name="__main__")'
    )
    command = [base, "-I", "-S", "-c", code, str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("program", ["tools", "train", "launch", "rank_tables show x"])
def test_a_python_without_the_requirements(program: str) -> None:
    done = bare_python(*program.split())
    [line] = done.stderr.splitlines()
    assert done.returncode == 2 and line.startswith("error: ")
    assert "lacks mindspore, numpy, yaml" in line and "run bash launch/setup.sh" in line


def test_rank_tables_need_no_requirements() -> None:
    done = bare_python("rank_tables", "validate", str(ROOT / "rank_tables/8p.json"))
    assert (done.returncode, done.stderr) == (0, "")


def test_every_requirement_is_looked_for() -> None:
    text = (ROOT / "requirements.txt").read_text()
    wanted = {name.lower() for name in re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[.*\])?==", text)}
    owners = packages_distributions()
    found = {owner.lower() for name in requirements.MODULES for owner in owners[name]}
    assert wanted and wanted <= found
