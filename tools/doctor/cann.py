"""Driver and CANN: whether they are there, and go with the installed MindSpore."""

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tools.doctor.finding import FAIL, IN_CONTAINER, WARN, Finding, Machine, worse

_CANN_FOLDERS = ("/usr/local/Ascend/cann", "/usr/local/Ascend/ascend-toolkit/latest")

# MindSpore: (the CANN releases it accepts, best last; the driver released with them, if known).
# From MindSpore's release notes; 2.10: from the check MindSpore itself makes when it starts, and
# the version its custom operators are built with. 2.8 is a guess: it is in no table.
_TABLE: dict[str, tuple[tuple[str, ...], str]] = {
    "2.4.10": (("8.0.0",), "24.1.0"),
    "2.5.0": (("8.0.0",), "24.1.0"),
    "2.6.0": (("8.1.RC1",), "25.0.RC1"),
    "2.7.0": (("8.2.RC1",), "25.2.0"),
    "2.7.1": (("8.3.RC1",), "25.3.RC1"),
    "2.7.2": (("8.5.0",), "25.5.0"),
    "2.8.0": (("8.5.0",), "25.5.0"),
    "2.9.0": (("9.0.0",), "26.0.RC1"),
    "2.10.0": (("8.2", "8.3", "8.5", "9.0", "9.1"), ""),
}
_UNKNOWN: tuple[tuple[str, ...], str] = ((), "")


def examine(machine: Machine) -> Iterator[Finding]:
    """Check the driver and CANN."""
    yield _driver(machine)
    yield from _cann(machine)


def _driver(machine: Machine) -> Finding:
    folder = machine.path("/usr/local/Ascend/driver")
    if not (folder / "lib64").is_dir():
        found = "/usr/local/Ascend/driver/lib64 is not there"
        return Finding("driver", FAIL, found, f"install the driver; {IN_CONTAINER}")
    here, wanted = _version_in(folder / "version.info"), _TABLE.get(_mindspore(), _UNKNOWN)[1]
    if not here:
        found = "/usr/local/Ascend/driver/version.info is not there"
        return Finding("driver", WARN, found, IN_CONTAINER)
    remedy = f"MindSpore {_mindspore()} was released with driver {wanted}: older ones may not do"
    older = bool(wanted) and _numbers(here) < _numbers(wanted)
    return worse(older, "driver", here, remedy)


def _numbers(version: str) -> list[int]:
    """Return the first two numbers of a version; what follows may be RC1."""
    return [int(number) for number in re.findall(r"\d+", version)[:2]]


def _cann(machine: Machine) -> Iterator[Finding]:
    given = machine.environment.get("ASCEND_HOME_PATH", "")
    folders = [Path(given)] if given else []
    folders += [machine.path(folder) for folder in _CANN_FOLDERS]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        remedy = "install CANN (toolkit and the kernels of your NPU), or use the ascend image"
        yield Finding("CANN", FAIL, f"not in {', '.join(map(str, folders))}", remedy)
        return
    accepted = accepted_cann(_mindspore())
    here = _version_in(folder / "compiler" / "version.info")
    if not here:
        found = f"{folder} has no compiler/version.info"
        yield Finding("CANN", WARN, found, "CANN is not whole, or an unusual build")
    else:
        remedy = f"MindSpore {_mindspore()} goes with CANN {' '.join(accepted)}"
        bad = bool(accepted) and not matches(here, accepted)
        yield worse(bad, "CANN", f"{here} in {folder}", remedy)
    sourced = bool(machine.environment.get("ASCEND_OPP_PATH"))
    remedy = "the scripts in launch/ do it; by hand: source .../set_env.sh (not under `set -u`)"
    found = "set" if sourced else "ASCEND_OPP_PATH is not set"
    yield worse(not sourced, "CANN's variables", found, remedy)


def _mindspore() -> str:
    try:
        return version("mindspore").split("+")[0].split(".post")[0]
    except PackageNotFoundError:
        return "(not installed)"


def _version_in(path: Path) -> str:
    """Return the version in one of Ascend's version.info files, "" if there is none."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    found = re.search(r"(?mi)^version=\[?\s*([^\s\]:]+)", text)
    return found[1] if found else ""


def accepted_cann(mindspore: str) -> tuple[str, ...]:
    """Return the CANN releases a MindSpore accepts, best last; nothing if that is unknown."""
    return _TABLE.get(mindspore, _UNKNOWN)[0]


def matches(cann: str, accepted: tuple[str, ...]) -> bool:
    """Whether a CANN is one of the accepted ones: 9.1.0 and 9.1.RC1 are 9.1, but 9.10 is not."""
    return any(_parts(cann)[: len(_parts(release))] == _parts(release) for release in accepted)


def _parts(version: str) -> list[str]:
    return re.split(r"[.\-]", version.lower())
