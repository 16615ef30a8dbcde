"""What --strict-skips makes of skips, in runs of pytest on tests made for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

CONFTEST = """
from tests import strict_skips
from tests.strict_skips import pytest_addoption, pytest_configure
strict_skips.ALLOWED = {"known": "it is known why"}
"""
KNOWN = """
import pytest
def test_known():
    pytest.skip("known: a program is missing")
@pytest.mark.skipif(True, reason="known too")
def test_marked():
    pass
def test_runs():
    pass
"""
UNKNOWN = """
import pytest
@pytest.fixture
def program():
    pytest.skip("no program")
def test_needs_it(program):
    pass
@pytest.mark.skipif(True, reason="not known")
def test_marked():
    pass
@pytest.mark.xfail(reason="known to be wrong")
def test_wrong():
    assert False
@pytest.mark.xfail(reason="known to be wrong once")
def test_right():
    pass
"""
WHOLE_FILE = "import pytest\npytest.skip('no library', allow_module_level=True)\n"
IMPORT = "import pytest\npytest.importorskip('no_such_module')\n"
REFUSED = [
    "test_import.py: could not import 'no_such_module'",
    "test_unknown.py::test_marked: not known",
    "test_unknown.py::test_needs_it: no program",
    "test_unknown.py::test_right: xfail: known to be wrong once",
    "test_unknown.py::test_wrong: xfail: known to be wrong",
    "test_whole_file.py: no library",
]


def run(folder: Path, files: dict[str, str], *options: str, ci: str = "") -> tuple[int, str]:
    for name, text in {"conftest": CONFTEST, **files}.items():
        (folder / f"{name}.py").write_text(text)
    own = "-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={folder}"
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *own, *options, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "CI": ci},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return ended.returncode, ended.stdout


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_not_listed_fails_the_run_and_is_named(tmp_path: Path, workers: int) -> None:
    files = {
        "test_known": KNOWN,
        "test_unknown": UNKNOWN,
        "test_whole_file": WHOLE_FILE,
        "test_import": IMPORT,
    }
    code, out = run(tmp_path, files, "--strict-skips", "-n", str(workers))
    assert code == pytest.ExitCode.TESTS_FAILED
    named = out.partition("skips that CI does not allow")[2].splitlines()[1:]
    assert sorted(line.partition(": No module")[0] for line in named if ".py" in line) == REFUSED
    assert " failed" not in out


def test_a_file_that_is_skipped_alone_is_no_success(tmp_path: Path) -> None:
    code, _ = run(tmp_path, {"test_whole_file": WHOLE_FILE}, ci="true")
    assert code == pytest.ExitCode.TESTS_FAILED


def test_what_is_listed_may_be_skipped(tmp_path: Path) -> None:
    code, out = run(tmp_path, {"test_known": KNOWN}, "--strict-skips")
    assert code == 0 and "CI does not allow" not in out


def test_without_the_option_all_may_be_skipped(tmp_path: Path) -> None:
    code, out = run(tmp_path, {"test_unknown": UNKNOWN})
    assert code == 0 and "CI does not allow" not in out
