"""Where the built operators are, and whether this process can use them.

Nothing here imports MindSpore: whether its own convolutions need their cap of instructions (see
:mod:`train.environment`) has to be known before.
"""

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import re
from pathlib import Path

SOURCE = Path(__file__).parent / "source"
SWITCH = "MTLN_NATIVE"

# Instruction sets of x86-64 a library is built for, the best first, and what shows that a
# processor has one.
_X86_LEVELS = {"x86-64-v4": "avx512vl", "x86-64-v3": "avx2"}


class NativeUnavailable(Exception):
    """Why the operators cannot be used, in one line."""


def is_switched_off() -> bool:
    """Return whether the user does not want the operators."""
    return os.environ.get(SWITCH, "1") == "0"


def levels() -> tuple[str, ...]:
    """Return the instruction sets that libraries are built for on this kind of machine."""
    return tuple(_X86_LEVELS) if platform.machine() == "x86_64" else (platform.machine(),)


def folder() -> Path:
    """Return where the libraries of these sources are, for this kind of machine and MindSpore."""
    return Path(__file__).parent / "built" / f"{platform.machine()}-{_digest()}"


def path_of(level: str) -> Path:
    """Return the library for an instruction set."""
    return folder() / f"libmtln-{level}.so"


def missing() -> list[str]:
    """Return the instruction sets whose library is not built."""
    return [level for level in levels() if not path_of(level).is_file()]


def onednn() -> Path:
    """Return MindSpore's own oneDNN.

    Raises:
        NativeUnavailable: There is none.
    """
    spec = importlib.util.find_spec("mindspore")
    if spec is None or spec.origin is None:
        raise NativeUnavailable("MindSpore is not installed")
    library = Path(spec.origin).parent / "lib" / "libdnnl.so.3"
    if not library.is_file():
        raise NativeUnavailable(f"MindSpore has no {library.name}")
    return library


@functools.cache
def load() -> ctypes.CDLL:
    """Return the library for this processor.

    Raises:
        NativeUnavailable: It is switched off, not built, not for this processor, or broken.
    """
    if is_switched_off():
        raise NativeUnavailable(f"{SWITCH}=0")
    path = path_of(_level_of_this_processor())
    if not path.is_file():
        raise NativeUnavailable("not built (python -m train.native builds them)")
    try:
        # Its oneDNN is the one that MindSpore loads too: a library of a name is loaded once. Both
        # stay local: if its C++ symbols were there for all, MindSpore would crash on them.
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise NativeUnavailable(f"{path.name}: {str(error).splitlines()[0]}") from None


def set_threads(threads: int) -> None:
    """Set how many threads of this process share the work of an operator, if there are any."""
    with contextlib.suppress(NativeUnavailable):
        load().mtln_set_threads(threads)


def _level_of_this_processor() -> str:
    if platform.machine() != "x86_64":
        return platform.machine()
    line = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    flags = line[1].split() if line else []
    for level, flag in _X86_LEVELS.items():
        if flag in flags:
            return level
    raise NativeUnavailable("this processor has no AVX2")


@functools.cache
def _digest() -> str:
    """Return the digest of all that decides what a library contains, the path of oneDNN too."""
    digest = hashlib.sha256(str(onednn()).encode())
    for file in sorted([*SOURCE.iterdir(), Path(__file__).with_name("build.py")]):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]
