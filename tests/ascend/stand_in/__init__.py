"""A stand-in for CANN, with which MindSpore's real Ascend plugin runs without an NPU.

``build`` compiles it for the installed wheel, ``StandIn.environment`` gives what a process needs to
use it, ``calls.read_calls`` reads what the plugin has called. README.md says what that proves.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.ascend.stand_in import stubs, wheel

_SOURCE = Path(__file__).parent / "source"
# Libraries of CANN, some linked and some loaded by name. One has all functions, and the others
# lead to it.
_WITH_ALL = "libascendcl"
_OTHERS = (
    *("libacl_op_compiler", "libacl_tdt_channel", "libacl_tdt_queue", "libc_sec", "libge_runner"),
    *("libgmem", "libgraph", "libhccl", "libmsprofiler", "libnnopbase", "libopapi", "libplatform"),
    *("libprofapi", "libruntime", "driver/libascend_hal"),
)
# Python packages of CANN are looked for in a folder of this name.
_MODULES = "opp/built-in/op_impl/ai_core/tbe"
# The plugin was built with the older strings of the C++ library.
_CXX = ("g++", "-std=c++17", "-D_GLIBCXX_USE_CXX11_ABI=0")
_FLAGS = ("-O1", "-fPIC", "-w")

# Names of chips as CANN says them (aclrtGetSocName), by what people call them.
CHIPS = {"910A": "Ascend910A", "910B": "Ascend910B2", "A3": "Ascend910_9391"}


def problem() -> str | None:
    """Return why the stand-in cannot be used here; None if it can."""
    if platform.machine() != "x86_64":
        return f"the stand-in for CANN is for x86_64, not {platform.machine()}"
    if missing := [name for name in ("gcc", "g++", "nm") if shutil.which(name) is None]:
        return f"the stand-in for CANN needs {missing[0]}"
    libraries = wheel.folder()
    if libraries is None:
        return "MindSpore is not installed"
    if not wheel.plugin(libraries):
        return "the installed MindSpore has no Ascend plugin"
    return None


@dataclass(frozen=True)
class StandIn:
    """A stand-in that is built.

    Attributes:
        folder: Where it is.
    """

    folder: Path

    def environment(
        self, log: Path, chip: str = "910B", devices: int = 8, alone: bool = False
    ) -> dict[str, str]:
        """Return the variables that a process needs to use the stand-in, on top of its own.

        Args:
            log: What the processes call is written to the files LOG.<process>.
            chip: A key of :data:`CHIPS`, or a name as CANN says it.
            devices: How many NPUs there seem to be.
            alone: Whether collectives return a process its own numbers and wait for no one.
        """
        libraries = self.folder / "lib64"
        paths = [str(libraries), str(libraries / "driver"), os.environ.get("LD_LIBRARY_PATH", "")]
        modules = [str(self.folder / _MODULES), os.environ.get("PYTHONPATH", "")]
        variables = {
            "ASCEND_HOME_PATH": str(self.folder),
            "ASCEND_OPP_PATH": str(self.folder / "opp"),
            "LD_LIBRARY_PATH": ":".join(filter(None, paths)),
            "PYTHONPATH": ":".join(filter(None, modules)),
            "STAND_IN_LOG": str(log),
            "STAND_IN_SOC": CHIPS.get(chip, chip),
            "STAND_IN_DEVICES": str(devices),
        }
        return variables | ({"STAND_IN_ALONE": "1"} if alone else {})

    @property
    def library(self) -> Path:
        """The library with all functions; ``stand_in_mark`` in it writes a mark into the log."""
        return self.folder / "lib64" / f"{_WITH_ALL}.so"


def build(folder: Path | None = None) -> StandIn:
    """Build the stand-in for the installed wheel, unless it is there: some ten seconds.

    Args:
        folder: Where the stand-ins are kept, one for each wheel and state of the sources; by
            default in the user's cache.

    Raises:
        RuntimeError: It cannot be used here, or does not compile.
    """
    if (why := problem()) is not None:
        raise RuntimeError(why)
    libraries = wheel.folder()
    assert libraries is not None
    kept = folder or _cache()
    kept.mkdir(parents=True, exist_ok=True)
    finished = kept / _digest(libraries)
    if not finished.is_dir():
        # Others may build the same: each in a folder of its own, and the first one to be done wins.
        with tempfile.TemporaryDirectory(dir=kept, prefix="unfinished-") as name:
            unfinished = Path(name)
            _build(libraries, unfinished / "cann")
            try:
                unfinished.rename(finished)
            except OSError:
                if not finished.is_dir():
                    raise
    # MindSpore finds CANN's folder in the path of a library, and looks for this name.
    return StandIn(finished / "cann")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mtln" / "stand_in"


def _digest(libraries: Path) -> str:
    """Return the digest of all that decides what is built."""
    digest = hashlib.sha256()
    for path in wheel.plugin(libraries):
        state = path.stat()
        digest.update(f"{path} {state.st_size} {state.st_mtime_ns}\n".encode())
    ours = [*_SOURCE.rglob("*.*"), *Path(__file__).parent.glob("*.py")]
    for path in sorted(path for path in ours if "__pycache__" not in path.parts):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _build(libraries: Path, target: Path) -> None:
    objects = target / "objects"
    modules = target / _MODULES
    for path in (objects, target / "lib64/driver", modules.parent, target / "compiler"):
        path.mkdir(parents=True)
    for path in sorted(_SOURCE.glob("*.c")) + sorted(_SOURCE.glob("*.S")):
        _run("gcc", *_FLAGS, "-c", path, "-o", objects / f"{path.stem}.o")
    for path in sorted(_SOURCE.glob("*.cc")):
        _run(*_CXX, *_FLAGS, "-c", path, "-o", objects / f"{path.stem}.o")
    written = wheel.defined_in_objects(objects.glob("*.o"))
    generated = objects / "generated.c"
    generated.write_text(stubs.sources(wheel.wanted(libraries), written))
    _run("gcc", *_FLAGS, "-c", generated, "-o", objects / "generated.o")
    _link(target / "lib64", _WITH_ALL, *sorted(objects.glob("*.o")), "-lpthread", "-lrt")
    for name in _OTHERS:
        _link(target / "lib64", name, "-Wl,--no-as-needed", f"-l:{_WITH_ALL}.so")
    (target / "compiler/version.info").write_text("Version=9.1.0\nversion_dir=9.1.0\n")
    shutil.copytree(_SOURCE / "python", modules, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(objects)


def _link(folder: Path, name: str, *words: object) -> None:
    output = folder / f"{name}.so"
    _run("g++", "-shared", f"-Wl,-soname,{output.name}", "-o", output, f"-L{folder}", *words)


def _run(*words: object) -> None:
    ended = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}\n{ended.stderr}")
