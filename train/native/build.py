"""Builds the CPU operators with the C++ compiler of the machine."""

import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from train.native import library
from train.native.library import NativeUnavailable
from train.temporary import temporary_folder

# No -ffast-math: infinities and NaN have to come through. Vectors as wide as the registers are.
FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-pthread", "-Wall", "-Wextra"),
    *("-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"),
)


def compiler() -> str:
    """Return the C++ compiler: that of the variable CXX, g++ or clang++.

    Raises:
        NativeUnavailable: There is none.
    """
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and (path := shutil.which(name)):
            return path
    raise NativeUnavailable("no C++ compiler (g++ or clang++) is installed")


def build() -> Path:
    """Build what is missing; return the folder of the libraries.

    Raises:
        NativeUnavailable: It cannot be built here.
    """
    missing = library.missing()
    if missing:
        program, folder = compiler(), library.folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NativeUnavailable(f"{folder}: {error.strerror}") from None
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda level: _build(program, level), missing))
    return library.folder()


def compile_to(
    program: str, output: Path, level: str, extra: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run the compiler.

    Args:
        program: The compiler.
        output: The library.
        level: Instruction set, one of :func:`train.native.library.levels`.
        extra: More flags.
    """
    onednn = library.onednn()
    sources = sorted(str(file) for file in library.SOURCE.glob("*.cc"))
    machine = [f"-march={level}"] if level.startswith("x86-64") else []
    if level == "x86-64-v4":
        machine.append("-mprefer-vector-width=512")
    # By its full path: its folder is not among those of the system.
    link = [str(onednn), f"-Wl,-rpath,{onednn.parent}"]
    command = [program, *FLAGS, *machine, *extra, "-shared", *sources, *link, "-o", str(output)]
    with temporary_folder() as folder:  # a compiler that is killed leaves its own files there
        variables = {**os.environ, "TMPDIR": str(folder)}
        return subprocess.run(command, env=variables, capture_output=True, text=True)


def _build(program: str, level: str) -> None:
    """Build one library; a half-written one never has its name."""
    output = library.path_of(level)
    with tempfile.NamedTemporaryFile(dir=output.parent, suffix=".so", delete=False) as file:
        unfinished = Path(file.name)
    try:
        run = compile_to(program, unfinished, level)
        if run.returncode:
            errors = [line for line in run.stderr.splitlines() if "error" in line]
            reason = (errors or run.stderr.splitlines() or ["no message"])[0]
            raise NativeUnavailable(f"{Path(program).name} failed: {reason}")
        unfinished.chmod(0o755)
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
