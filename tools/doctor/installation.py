"""Python, the packages, and whether MindSpore really computes."""

import ctypes.util
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from tools.doctor.finding import FAIL, OK, WARN, Finding, Machine, output_of, worse
from train.environment import prepare_for_mindspore
from train.temporary import temporary_folder

ROOT = Path(__file__).resolve().parents[2]
_REQUIREMENTS = ROOT / "requirements.txt"
_SET_UP = 'use the Python that "bash launch/setup.sh" prints'
_MPI = "for launch/run_mpi.sh install OpenMPI (apt install openmpi-bin); nothing else needs it"
_REMEDIES = {
    "CPU": 'reinstall: rm -rf .venv, then "bash launch/setup.sh"',
    "GPU": "see the lines about the GPU above",
    "Ascend": "see the lines about Ascend above; CANN's own log is in ~/ascend/log",
}


def examine() -> Iterator[Finding]:
    """Check Python's version, and the packages against the pinned ones."""
    here = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 10) <= sys.version_info[:2] <= (3, 12)
    remedy = f"MindSpore 2.10 has wheels for 3.10, 3.11 and 3.12; {_SET_UP}"
    yield worse(not fits, "Python", f"{here} ({sys.executable})", remedy, FAIL)
    yield _requirements()


def pinned(file: Path | None = None) -> dict[str, str]:
    """Return the packages that a requirement file names (default: a run's), and their versions."""
    text = (file or _REQUIREMENTS).read_text(encoding="utf-8")
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
    found = ", ".join(other) or f"all {len(pinned())} in the pinned versions"
    return worse(bool(other), "requirements", found, _SET_UP)


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


def examine_mindspore(machine: Machine) -> Iterator[Finding]:
    """Compile and run a small graph, in a process of its own since it may crash."""
    name = f"MindSpore on {machine.device}"
    program = (
        "import sys; from tools.doctor.installation import compute; print(compute(sys.argv[1]))"
    )
    command = [sys.executable, "-c", program, machine.device]
    # CANN's own entries stay in front.
    path = ":".join(filter(None, (machine.environment.get("PYTHONPATH"), str(ROOT))))
    try:
        # MindSpore leaves folders where it runs. An NPU whose caches are cold compiles for minutes.
        with temporary_folder() as folder:
            output = output_of(command, 300, folder, PYTHONPATH=path, GLOG_v="3")
    except (OSError, RuntimeError) as error:
        yield Finding(name, FAIL, str(error), _REMEDIES[machine.device])
    else:
        yield Finding(name, OK, output.splitlines()[-1])


def compute(device: str) -> str:
    """Compile and run a small graph; return what there is to say.

    Args:
        device: "Ascend", "GPU" or "CPU".

    Raises:
        SystemExit: The result is wrong, or there is none: with MindSpore's reason, in one line.
    """
    prepare_for_mindspore()
    import mindspore as ms

    class Graph(ms.nn.Cell):
        def construct(self, x: ms.Tensor) -> ms.Tensor:
            return ms.ops.relu(ms.ops.matmul(x, x)).sum()

    # Whole numbers that even float16 holds.
    x = np.arange(16, dtype=np.float32).reshape(4, 4)
    try:
        ms.set_context(mode=ms.GRAPH_MODE)
        ms.set_device(device)
        result = float(Graph()(ms.Tensor(x)).asnumpy())
    except (RuntimeError, ValueError) as error:
        sys.exit(_reason(str(error), device))
    if result != float((x @ x).sum()):
        sys.exit(f"a wrong result: {result}")
    return f"computed with MindSpore {ms.__version__}"


def _reason(message: str, device: str) -> str:
    """Return what matters of a message of MindSpore's, which is long, in one line."""
    lines = [line.strip() for line in message.splitlines() if line.strip(" -")]
    library = f"libmindspore_{device.lower()}."
    # A library that cannot be loaded is the cause, and stands below the consequence.
    causes = [line for line in lines if line.startswith("Load dynamic") and library in line]
    return " ".join(causes or lines[:1])
