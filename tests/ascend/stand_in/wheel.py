"""The Ascend plugin in the installed MindSpore, and what it asks CANN for."""

import importlib.util
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

# What a process with an NPU loads, relative to the wheel's folder of libraries.
_LOADED = (
    "plugin/libmindspore_ascend.so.2",
    "plugin/libmindspore_ops_ascend.so",
    "plugin/ascend/libmindspore_ascend_res_manager.so",
    "plugin/ascend/libmindspore_graph_ir.so",
    "plugin/ascend/libd_collective.so",
    "plugin/ascend/libhccl_plugin.so",
    "plugin/ascend/ms_kernels_symmetric_memory/shmem/shmem/lib/libshmem.so",
    "plugin/ascend/ms_kernels_symmetric_memory/shmem/memfabric_hybrid/lib/libmf_smem.so",
    "plugin/ascend/ms_kernels_symmetric_memory/shmem/memfabric_hybrid/lib/libmf_hybm_core.so",
    "libmindspore_ge_backend.so",
)
# Functions that the plugin looks up by name when it runs, so that no linker knows of them.
_LOOKED_UP = re.compile(rb"(?<![A-Za-z0-9_])((?:acl|Hccl|Hcom|hcom|Msprof|mst|prof)[A-Za-z0-9]+)\0")
_OPERATOR = re.compile(r"(aclnn[A-Z]\w*?)(?:GetWorkspaceSize)?")


def folder() -> Path | None:
    """Return the wheel's folder of libraries, None without MindSpore."""
    spec = importlib.util.find_spec("mindspore")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "lib"


def plugin(libraries: Path) -> list[Path]:
    """Return the libraries of the plugin that are there."""
    return [path for name in _LOADED if (path := libraries / name).is_file()]


def wanted(libraries: Path) -> set[str]:
    """Return the functions that the plugin needs and that no library of the wheel has."""
    of_plugin = plugin(libraries)
    # Those of the system have a version behind an @, nearly all, and those of Python no library.
    linked = {n for n in undefined(of_plugin) if "@" not in n and not n.startswith(("Py", "_Py"))}
    everything = [*libraries.glob("*.so*"), *libraries.parent.glob("_c_*.so"), *of_plugin]
    linked -= defined([*everything, *_runtime()])
    texts = (path.read_bytes() for path in of_plugin)
    return linked | {name.decode() for text in texts for name in _LOOKED_UP.findall(text)}


def operators(names: Iterable[str]) -> set[str]:
    """Return the operators of aclnn among the names of functions."""
    found = (_OPERATOR.fullmatch(name) for name in names)
    return {match[1] for match in found if match}


def undefined(files: Iterable[Path]) -> set[str]:
    """Return the dynamic symbols that libraries must find elsewhere."""
    lines = _nm("-D", "--undefined-only", *files)
    # Weak ones ("w") may be missing.
    return {words[1] for line in lines if len(words := line.split()) == 2 and words[0] == "U"}


def defined(files: Iterable[Path | str]) -> set[str]:
    """Return the symbols that libraries have for others, without their versions."""
    return {
        words[2].split("@")[0]
        for line in _nm("-D", "--defined-only", *files)
        if len(words := line.split()) == 3
    }


def defined_in_objects(files: Iterable[Path]) -> set[str]:
    """Return the global symbols of object files."""
    lines = _nm("-g", "--defined-only", *files)
    return {words[2] for line in lines if len(words := line.split()) == 3}


def _runtime() -> list[str]:
    """Return the libraries of C and C++ themselves."""
    names = ("libstdc++.so.6", "libgcc_s.so.1", "libm.so.6", "libc.so.6", "libpthread.so.0")
    commands = (["g++", f"-print-file-name={name}"] for name in names)
    ended = [subprocess.run(c, capture_output=True, text=True, check=True) for c in commands]
    # What is not found comes back as it is.
    return [path for e in ended if (path := e.stdout.strip()).startswith("/")]


def _nm(*arguments: object) -> list[str]:
    command = ["nm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
