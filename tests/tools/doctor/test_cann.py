"""Versions that fit together, and CANN's Python packages, in a folder made like CANN's."""

import re
import shutil
from collections.abc import Callable

import pytest

from tests.paths import ROOT
from tests.tools.doctor.server import (
    CANN,
    CANN_VERSION,
    DRIVER_VERSION,
    PACKAGES,
    Server,
    variable,
    write,
)
from tools.doctor import cann, installation
from tools.doctor.finding import FAIL, OK, WARN


def test_cann_is_looked_for_where_it_says_it_is(server: Server) -> None:
    server.file("opt/cann/compiler/version.info", "Version=8.5.0\n")
    server.variables["ASCEND_TOOLKIT_HOME"] = str(server.root / "opt/cann")
    found = server.look()["CANN"].found
    assert found.startswith(f"8.5.0 in {server.root}/opt/cann ")


@pytest.mark.parametrize("version", ["8.2.RC1", "8.3.rc1", "8.5.0", "9.0.1"])
def test_older_cann_that_mindspore_accepts(server: Server, version: str) -> None:
    server.file(CANN_VERSION, f"Version={version}\n")
    finding = server.look()["CANN"]
    assert finding.state == OK
    assert finding.found.endswith("(MindSpore is built with 9.1.0)")


def test_an_older_driver_does_for_an_older_cann(server: Server) -> None:
    server.file(DRIVER_VERSION, "Version=25.0.rc1.1\n")
    server.file(CANN_VERSION, "Version=8.5.0\n")
    assert server.look()["driver"].state == OK


def test_what_the_installed_mindspore_says_of_cann() -> None:
    assert cann.accepted_cann() == ["8.2", "8.3", "8.5", "9.0", "9.1"]
    assert cann.built_with() == "9.1.0"


def test_versions_in_the_documentation() -> None:
    text = (ROOT / "docs" / "ascend.md").read_text()
    rows = dict(re.findall(r"^\| (\d+\.\d+) \| (\d+\.\d+) \|", text, re.M))
    assert rows == cann._OLDEST_DRIVER
    assert sorted(rows) == cann.accepted_cann()
    assert f"Take CANN {cann.built_with()} " in text
    assert f"MindSpore {installation.pinned()['mindspore']} has wheels" in text


def test_python_packages_of_cann_are_really_imported(server: Server) -> None:
    found = server.imported()
    assert {name: finding.state for name, finding in found.items()} == {
        "CANN's hccl": OK,
        "CANN's te": OK,
    }
    assert [finding.found for finding in found.values()] == ["9.1", "9.1.0"]


NO_HCCL = "No module named 'hccl'"
IMPORTS = [
    (variable(PYTHONPATH=""), "hccl", NO_HCCL, "it puts {packages} on PYTHONPATH"),
    (
        lambda server: shutil.rmtree(server.root / PACKAGES / "hccl"),
        *("hccl", NO_HCCL, "{packages} has no hccl: install"),
    ),
    (
        write(f"{PACKAGES}/te/version.py", "import mtln_absent\n"),
        *("te", "No module named 'mtln_absent'", "te needs mtln_absent: bash launch/setup.sh"),
    ),
    (
        write(f"{PACKAGES}/te/version.py", "import ctypes; ctypes.CDLL('libtvm_absent.so')\n"),
        *("te", "libtvm_absent.so: cannot open", "set_env.sh of {cann}: it names the libraries"),
    ),
]


@pytest.mark.parametrize(("spoil", "package", "why", "remedy"), IMPORTS)
def test_python_packages_of_cann_that_cannot_be_imported(
    server: Server, spoil: Callable[[Server], object], package: str, why: str, remedy: str
) -> None:
    spoil(server)
    finding = server.imported()[f"CANN's {package}"]
    assert finding.state == (FAIL if package == "hccl" else WARN)
    assert why in finding.found
    paths = {"cann": f"{server.root}/{CANN}", "packages": f"{server.root}/{PACKAGES}"}
    assert remedy.format(**paths) in finding.remedy


def test_wheels_of_an_older_cann(server: Server) -> None:
    shutil.rmtree(server.root / PACKAGES)
    server.file(f"{CANN}/lib64/te-0.4.0-py3-none-any.whl")
    wheel = f"{server.root}/{CANN}/lib64/te-0.4.0-py3-none-any.whl"
    assert server.imported()["CANN's te"].remedy == f"pip install {wheel}"
