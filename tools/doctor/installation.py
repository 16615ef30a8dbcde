"""Python and the packages."""

import ctypes.util
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tools.doctor.finding import FAIL, OK, WARN, Finding, output_of, worse

_REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements.txt"
_SET_UP = 'use the Python that "bash launch/setup.sh" prints'
_MPI = "for launch/run_mpi.sh install OpenMPI (apt install openmpi-bin); nothing else needs it"


def examine() -> Iterator[Finding]:
    """Check Python's version, and the packages against the pinned ones."""
    here = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 10) <= sys.version_info[:2] <= (3, 12)
    remedy = f"MindSpore 2.10 has wheels for 3.10, 3.11 and 3.12; {_SET_UP}"
    yield worse(not fits, "Python", f"{here} ({sys.executable})", remedy, FAIL)
    yield _requirements()


def pinned() -> dict[str, str]:
    """Return the packages that a run needs, and their versions."""
    text = _REQUIREMENTS.read_text(encoding="utf-8")
    return dict(re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;#]+)", text))


def _requirements() -> Finding:
    missing, other = [], []
    for name, wanted in pinned().items():
        try:
            here = version(name)
        except PackageNotFoundError:
            missing.append(name)
        else:
            if here.split("+")[0] != wanted:
                other.append(f"{name} {here} (pinned: {wanted})")
    if missing:
        return Finding("requirements", FAIL, f"not installed: {', '.join(missing)}", _SET_UP)
    if other:
        return Finding("requirements", WARN, ", ".join(other), _SET_UP)
    return Finding("requirements", OK, f"all {len(pinned())} in the pinned versions")


def examine_mpi() -> Iterator[Finding]:
    """Check that mpi4py finds a library, and that mpirun is there."""
    # Without initialising, which can hang where the network is unusual.
    program = (
        "import mpi4py; mpi4py.rc.initialize = False\n"
        "from mpi4py import MPI; print(MPI.Get_library_version())"
    )
    try:
        library = output_of([sys.executable, "-c", program]).split(",")[0].strip("\0 \n")
    except (OSError, RuntimeError) as error:
        at = ctypes.util.find_library("mpi") or "no libmpi"
        yield Finding("MPI library", WARN, f"{at}; mpi4py: {error}", _MPI)
    else:
        yield Finding("MPI library", OK, library)
    mpirun = shutil.which("mpirun")
    yield worse(mpirun is None, "mpirun", mpirun or "not found", _MPI)
