"""Whether the driver, CANN and MindSpore fit together, and CANN's Python code can be imported."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tools.doctor import installation
from tools.doctor.finding import FAIL, IN_CONTAINER, OK, WARN, Finding, Machine, output_of, worse

_VARIABLES = ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")
_FOLDERS = ("/usr/local/Ascend/cann", "/usr/local/Ascend/ascend-toolkit/latest")
_REQUIREMENTS = installation.ROOT / "requirements-ascend.txt"

# CANN: the oldest driver (Ascend HDK) that its release notes accept. 8.2 and 8.3 name only the one
# they were released with; for 8.2 the notes of MindIE 2.1 go further back.
_OLDEST_DRIVER = {"8.2": "24.1", "8.3": "25.3", "8.5": "25.0", "9.0": "25.0", "9.1": "25.2"}

# CANN's Python packages: what MindSpore imports of each, and how bad it is if it cannot.
_PACKAGES = {"hccl": ("sys_version", FAIL), "te": ("version", WARN)}
_IMPORT = """\
from {package} import {module}
print({module}.__dict__.get("version") or {module}.__dict__.get("__sys_version__") or "importable")
"""


def examine(machine: Machine) -> Iterator[Finding]:
    """Check versions, variables and packages, without running anything."""
    folder = find(machine)
    here = _version_in(folder / "compiler" / "version.info") if folder else ""
    yield _driver(machine, here)
    yield _cann(machine, folder, here)
    sourced = bool(machine.environment.get("ASCEND_OPP_PATH"))
    remedy = "the scripts in launch/ do it; by hand: source .../set_env.sh (not under `set -u`)"
    found = "set" if sourced else "ASCEND_OPP_PATH is not set"
    yield worse(not sourced, "CANN's variables", found, remedy)
    yield _tbe_requirements()


def find(machine: Machine) -> Path | None:
    """Return the folder of CANN: where its variables say, or where it is installed by default."""
    folders = [Path(machine.environment.get(name) or "/none") for name in _VARIABLES]
    folders += [machine.path(folder) for folder in _FOLDERS]
    return next((folder for folder in folders if folder.is_dir()), None)


def _driver(machine: Machine, cann: str) -> Finding:
    folder = machine.path("/usr/local/Ascend/driver")
    if not (folder / "lib64").is_dir():
        found = "/usr/local/Ascend/driver/lib64 is not there"
        return Finding("driver", FAIL, found, f"install the driver; {IN_CONTAINER}")
    here = _version_in(folder / "version.info")
    if not here:
        found = "/usr/local/Ascend/driver/version.info is not there"
        return Finding("driver", WARN, found, IN_CONTAINER)
    oldest = _OLDEST_DRIVER.get(release(cann), "")
    remedy = f"CANN {cann} goes with driver {oldest} or newer: upgrade it, or take an older CANN"
    return worse(_numbers(here) < _numbers(oldest), "driver", here, remedy)


def _cann(machine: Machine, folder: Path | None, here: str) -> Finding:
    if folder is None:
        searched = ", ".join((*_VARIABLES, *_FOLDERS))
        remedy = "install CANN (toolkit and the kernels of your NPU), or use the ascend image"
        return Finding("CANN", FAIL, f"not in {searched}", remedy)
    if not here:
        found = f"{folder} has no compiler/version.info"
        return Finding("CANN", WARN, found, "CANN is not whole, or an unusual build")
    accepted, built = accepted_cann(), built_with()
    remedy = (
        f"MindSpore accepts CANN {' '.join(accepted)}; best install {built}, as it is built with"
    )
    found = f"{here} in {folder}"
    if built and built != here:
        found += f" (MindSpore is built with {built})"
    return worse(bool(accepted) and release(here) not in accepted, "CANN", found, remedy)


def accepted_cann() -> list[str]:
    """Return the releases of CANN ("9.1") that the installed MindSpore accepts.

    From the check that MindSpore makes when it loads its Ascend part, without importing it: [] if
    there is none.
    """
    source = _in_mindspore("run_check/_check_version.py")
    found = re.search(r"class AscendEnvChecker.*?self\.version = \[([^\]]*)\]", source, re.S)
    return re.findall(r'"([\d.]+)"', found[1]) if found else []


def built_with() -> str:
    """Return the version of CANN that the operators in MindSpore's wheel are built with, or ""."""
    text = _in_mindspore("lib/plugin/ascend/custom_ascendc_910b/version.info")
    found = re.search(r"=([\d.]+)", text)
    return found[1] if found else ""


def _in_mindspore(path: str) -> str:
    """Return the text of a file of the installed MindSpore, which takes seconds to import."""
    spec = importlib.util.find_spec("mindspore")
    folders = spec.submodule_search_locations if spec else None
    try:
        return (Path(folders[0]) / path).read_text(errors="replace") if folders else ""
    except OSError:
        return ""


def release(version: str) -> str:
    """Return the release as MindSpore reads it: 9.1.0 and 9.1.RC1 are 9.1, but 9.10 is not."""
    return ".".join(version.split(".")[:2])


def _numbers(version: str) -> list[int]:
    """Return the first two numbers of a version; what follows may be RC1."""
    return [int(number) for number in re.findall(r"\d+", version)[:2]]


def _version_in(path: Path) -> str:
    """Return the version in one of Ascend's version.info files, "" if there is none."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    found = re.search(r"(?mi)^version=\[?\s*([^\s\]:]+)", text)
    return found[1] if found else ""


def _tbe_requirements() -> Finding:
    missing = []
    for name in installation.pinned(_REQUIREMENTS):
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    found = f"not installed: {', '.join(missing)}" if missing else "all installed"
    remedy = "bash launch/setup.sh --ascend, or into a Python of your own requirements-ascend.txt"
    return worse(bool(missing), "packages TBE needs", found, remedy)


def import_packages(machine: Machine) -> Iterator[Finding]:
    """Import what MindSpore needs of CANN's Python packages, in processes of their own."""
    folder = find(machine)
    path = machine.environment.get("PYTHONPATH", "")
    for package, (module, state) in _PACKAGES.items():
        program = _IMPORT.format(package=package, module=module)
        try:
            output = output_of([sys.executable, "-c", program], 120, PYTHONPATH=path)
        except (OSError, RuntimeError) as error:
            remedy = _how_to_import(package, str(error), folder)
            yield Finding(f"CANN's {package}", state, str(error), remedy)
        else:
            yield Finding(f"CANN's {package}", OK, output.splitlines()[-1])


def _how_to_import(package: str, error: str, folder: Path | None) -> str:
    """Say what to do about a package of CANN's that cannot be imported.

    Args:
        package: "hccl" or "te".
        error: The last line of Python's message.
        folder: Where CANN is.
    """
    found = re.search(r"No module named '(\w+)", error)
    if folder is None:
        return "install CANN, see above"
    if found is None:
        return f"source set_env.sh of {folder}: it names the libraries of CANN and of the driver"
    if found[1] != package:
        return (
            f"{package} needs {found[1]}: bash launch/setup.sh --ascend (requirements-ascend.txt)"
        )
    packages = folder / "python" / "site-packages"
    if (packages / package).is_dir():
        return f"source set_env.sh of {folder}: it puts {packages} on PYTHONPATH"
    wheel = next(folder.glob(f"lib64/{package}-*.whl"), None)
    if wheel:
        return f"pip install {wheel}"
    return f"{packages} has no {package}: install CANN's toolkit and kernels anew"
