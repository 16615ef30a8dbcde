"""launch/setup.sh on copies of the project with trivial requirements."""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.paths import ROOT


class Checkout:
    """A tree with launch/setup.sh, in a path with a space, with no network to install from."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "check out"
        (self.root / "launch").mkdir(parents=True)
        shutil.copy(ROOT / "launch" / "setup.sh", self.root / "launch")
        self.venv = self.root / ".venv"
        self.require("")
        # A Python without packages, so that a requirement decides for .venv. Only the standard
        # programs beside it, to keep pyenv and the like out.
        self.path = folder / "bin"
        self.path.mkdir()
        base = getattr(sys, "_base_executable", sys.executable)
        self.add_command("python3", f'exec "{base}" "$@"')

    def require(self, base: str, tests: str = "", ascend: str = "", predict: str = "") -> None:
        (self.root / "requirements.txt").write_text(base)
        (self.root / "requirements-test.txt").write_text(tests)
        (self.root / "requirements-ascend.txt").write_text(ascend)
        for optional, content in (
            ("export", ""),
            ("predict", predict),
            ("serve", ""),
            ("tensorboard", ""),
        ):
            (self.root / f"requirements-{optional}.txt").write_text(content)

    def add_command(self, name: str, script: str) -> None:
        (self.path / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.path / name).chmod(0o755)

    def setup(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["/bin/bash", str(self.root / "launch" / "setup.sh"), *arguments],
            cwd="/",
            env={
                "PATH": f"{self.path}:/usr/bin:/bin",
                "HOME": str(self.root),
                "PIP_NO_INDEX": "1",
                "PIP_CONFIG_FILE": os.devnull,
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=300,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def wheel(tmp_path: Path) -> str:
    """A folder with two requirements that no Python has, mtln-probe and mtln-tbe."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in ("mtln_probe", "mtln_tbe"):
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
            archive.writestr(f"{name}.py", "")
            info = f"{name}-1.0.dist-info"
            archive.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
            )
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{info}/RECORD", "")
    return str(folder)


@pytest.fixture
def cann(tmp_path: Path) -> str:
    """A folder that CANN may be in."""
    folder = tmp_path / "cann"
    folder.mkdir()
    return str(folder)


@pytest.mark.slow
def test_makes_a_venv_once_and_only_prints_its_python(checkout: Checkout, wheel: str) -> None:
    checkout.require("mtln-probe==1.0\n")
    first = checkout.setup(PIP_FIND_LINKS=wheel)
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"{checkout.venv}/bin/python\n"
    assert "once, 1-2 minutes" in first.stderr
    started = time.monotonic()
    # Without the wheel: a complete .venv needs no network.
    second = checkout.setup()
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")
    assert time.monotonic() - started < 10


@pytest.mark.slow
@pytest.mark.parametrize("spoilt", ["half made", "outdated"])
def test_spoilt_venv_is_made_anew(checkout: Checkout, wheel: str, spoilt: str) -> None:
    checkout.require("mtln-probe==1.0\n")
    assert checkout.setup(PIP_FIND_LINKS=wheel).returncode == 0
    stale = checkout.venv / "stale"
    stale.touch()
    if spoilt == "half made":
        (checkout.venv / "complete").unlink()
    else:
        checkout.require("mtln-probe==1.0  # changed\n")
    again = checkout.setup(PIP_FIND_LINKS=wheel)
    assert again.returncode == 0, again.stderr
    assert not stale.exists()


@pytest.mark.slow
def test_failed_install_is_not_trusted(checkout: Checkout, wheel: str) -> None:
    checkout.require("mtln-probe==1.0\nmtln-absent==1.0\n")
    ended = checkout.setup(PIP_FIND_LINKS=wheel)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1].startswith("error: pip could not install")
    assert "mtln-absent==1.0" in ended.stderr  # in what pip said, of which only the end is shown
    assert checkout.venv.exists()
    assert not (checkout.venv / "complete").exists()


@pytest.mark.slow
def test_activated_half_made_venv_is_not_trusted(checkout: Checkout, wheel: str) -> None:
    checkout.require("mtln-probe==1.0\n")
    assert checkout.setup(PIP_FIND_LINKS=wheel).returncode == 0
    (checkout.venv / "complete").unlink()
    checkout.path = checkout.venv / "bin"
    ended = checkout.setup(PIP_FIND_LINKS=wheel)
    assert ended.returncode == 0, ended.stderr
    assert "making" in ended.stderr


@pytest.mark.slow
def test_requirements_of_tests_are_added(checkout: Checkout, wheel: str) -> None:
    """Those of predictions belong to them."""
    checkout.require("", "mtln-probe==1.0\n", predict="mtln-tbe==1.0\n")
    # The base requirements alone are there already, in the Python at hand.
    plain = checkout.setup()
    assert plain.returncode == 0
    assert not checkout.venv.exists()
    with_tests = checkout.setup("--test", PIP_FIND_LINKS=wheel)
    assert with_tests.returncode == 0, with_tests.stderr
    assert with_tests.stdout == f"{checkout.venv}/bin/python\n"
    assert checkout.setup("--test").stderr == ""
    assert has_tbe(with_tests.stdout)


def has_tbe(python: str) -> bool:
    return (
        subprocess.run(
            [python.strip(), "-c", "import mtln_tbe"], stderr=subprocess.DEVNULL
        ).returncode
        == 0
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"])
def test_where_cann_is_its_requirements_are_added(
    checkout: Checkout, wheel: str, cann: str, name: str
) -> None:
    checkout.require("mtln-probe==1.0\n", ascend="mtln-tbe==1.0\n")
    plain = checkout.setup(PIP_FIND_LINKS=wheel, **{name: f"{cann}/nowhere"})
    assert not has_tbe(plain.stdout)
    stale = checkout.venv / "stale"
    stale.touch()
    there = checkout.setup(PIP_FIND_LINKS=wheel, **{name: cann})
    assert (there.returncode, there.stdout) == (0, plain.stdout), there.stderr
    assert has_tbe(there.stdout)
    assert stale.exists()  # added, not made anew
    assert checkout.setup(**{name: cann}).stderr == checkout.setup().stderr == ""


@pytest.mark.slow
def test_requirements_of_cann_that_cannot_be_had_stop_nothing(
    checkout: Checkout, wheel: str
) -> None:
    checkout.require("mtln-probe==1.0\n", ascend="mtln-absent==1.0\n")
    for _ in range(2):
        ended = checkout.setup("--ascend", PIP_FIND_LINKS=wheel)
        assert (ended.returncode, ended.stdout) == (0, f"{checkout.venv}/bin/python\n")
        last = ended.stderr.splitlines()[-1]
        assert last.startswith(f"note: {checkout.venv}/bin/python lacks mtln-absent: ")
    assert "making" not in ended.stderr


def test_own_python_without_requirements_of_cann_is_used(checkout: Checkout, cann: str) -> None:
    checkout.require("", ascend="mtln-absent==1.0\n")
    ended = checkout.setup(ASCEND_HOME_PATH=cann)
    assert ended.returncode == 0
    assert "lacks mtln-absent" in ended.stderr
    assert not checkout.venv.exists()


def test_python_at_hand_is_used_when_it_has_the_requirements(checkout: Checkout) -> None:
    checkout.require("# nothing but a comment\n\n")
    ended = checkout.setup()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert Path(ended.stdout.strip()).samefile(getattr(sys, "_base_executable", sys.executable))


@pytest.mark.slow
def test_two_starts_at_once(checkout: Checkout, wheel: str) -> None:
    checkout.require("mtln-probe==1.0\n")
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda _: checkout.setup(PIP_FIND_LINKS=wheel), range(2)))
    assert [one.returncode for one in ended] == [0, 0]
    assert sum("making" in one.stderr for one in ended) == 1


def test_forced_python(checkout: Checkout) -> None:
    checkout.require("mtln-probe==1.0\n")
    ended = checkout.setup(MTLN_PYTHON=str(checkout.path / "python3"))
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: MTLN_PYTHON: ")
    assert ended.stderr.endswith("lacks mtln-probe\n")
    checkout.require("")
    assert checkout.setup(MTLN_PYTHON=str(checkout.path / "python3")).returncode == 0
    assert "is no program" in checkout.setup(MTLN_PYTHON="/nowhere/python").stderr


@pytest.mark.slow
def test_broken_pythons_are_passed_over(checkout: Checkout, wheel: str) -> None:
    checkout.require("mtln-probe==1.0\n")
    good = checkout.path / "python3"
    good.rename(checkout.path / "good")
    checkout.add_command("python3", "echo 'pyenv: command not found' >&2; exit 127")
    checkout.add_command("python3.12", "exit 127")
    checkout.add_command("python3.11", f'exec "{checkout.path}/good" "$@"')
    ended = checkout.setup(PIP_FIND_LINKS=wheel)
    assert ended.returncode == 0, ended.stderr


def test_no_usable_python(checkout: Checkout) -> None:
    checkout.require("mtln-probe==1.0\n")
    for name in ("python3", "python3.12", "python3.11", "python3.10", "python"):
        checkout.add_command(name, "exit 127")
    ended = checkout.setup()
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: no Python 3.10, 3.11 or 3.12 found; install one")
    assert ended.stderr.count("\n") == 1


def test_python_without_venv_module(checkout: Checkout) -> None:
    checkout.require("mtln-probe==1.0\n")
    # Refuses the import of ensurepip, as Debian's Python does without its python3-venv package.
    base = getattr(sys, "_base_executable", sys.executable)
    checkout.add_command(
        "python3",
        f'''case "$*" in
*_base_executable*) echo "{checkout.path}/python3" ;;
*ensurepip*) exit 1 ;;
*) exec "{base}" "$@" ;;
esac''',
    )
    for name in ("python3.12", "python3.11", "python3.10", "python"):
        checkout.add_command(name, "exit 127")
    ended = checkout.setup()
    assert ended.returncode == 2
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    assert f"apt install {version}" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_unknown_argument(checkout: Checkout) -> None:
    ended = checkout.setup("--tests")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: unexpected argument '--tests'")


_EXPLAINED = ("test", "ascend", "export", "predict", "serve", "tensorboard")


def test_every_requirement_is_explained() -> None:
    explained = (ROOT / "pyproject.toml").read_text()
    files = ("requirements.txt", *(f"requirements-{kind}.txt" for kind in _EXPLAINED))
    for file in files:
        for line in (ROOT / file).read_text().splitlines():
            if line and not line.startswith("#"):
                name, equals, version = line.partition("==")
                assert equals and version, f"{line} is not pinned"
                package = name.partition("[")[0]
                assert f"#   {package} " in explained, f"{package} is not explained"
