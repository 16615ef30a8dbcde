"""NVIDIA GPUs: legacy, best effort. The last MindSpore that lists GPUs as supported is 2.2.14."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from tools.doctor.finding import FAIL, WARN, Finding, Machine, output_of, worse

_PLUGINS = "libmindspore_gpu.so."
_IMAGE = "use the gpu image (launch/run_docker.sh gpu)"


def examine(machine: Machine) -> Iterator[Finding]:
    """Check whether MindSpore would look for a GPU at all."""
    x86 = platform.machine() == "x86_64"
    found = f"{platform.machine()}; MindSpore lists no GPU since 2.3: legacy, best effort"
    remedy = "" if x86 else "MindSpore's GPU library is in the x86_64 wheel only"
    yield Finding("GPU support", WARN if x86 else FAIL, found, remedy)
    yield _compiler(machine)


def _compiler(machine: Machine) -> Finding:
    """Check ``$CUDA_HOME/bin/nvcc``, whose version is that of the library MindSpore loads."""
    home = machine.environment.get("CUDA_HOME", "")
    remedy = f"CUDA_HOME must name a CUDA 11.6 or 11.1, with bin/nvcc; or {_IMAGE}"
    if not home:
        return Finding("CUDA_HOME", FAIL, "not set: MindSpore does not load its GPU part", remedy)
    try:
        output = output_of([str(Path(home) / "bin" / "nvcc"), "--version"])
    except (OSError, RuntimeError) as error:
        return Finding("CUDA_HOME", FAIL, f"{home}: {error}", remedy)
    found = re.search(r"release (\d+\.\d+)", output)
    release = found[1] if found else "unknown"
    bad = release not in ("11.1", "11.6")
    return worse(bad, "CUDA_HOME", f"{home}, CUDA {release}", remedy, FAIL)


def ask_nvidia_smi() -> Iterator[Finding]:
    """Ask the driver which GPUs there are, and whether MindSpore has code for them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        remedy = "install the driver; in a container: --gpus all"
        yield Finding("GPUs", FAIL, "nvidia-smi not found", remedy)
        return
    try:
        query = "--query-gpu=name,compute_cap,driver_version"
        lines = output_of([tool, query, "--format=csv,noheader"]).splitlines()
    except (OSError, RuntimeError) as error:
        yield Finding("GPUs", FAIL, str(error), "see nvidia-smi; in a container: --gpus all")
        return
    # Compiled for 6.0, 6.1, 7.0, 7.5 and 8.0. Code for 8.0 runs on all 8.x, on 9.0 it does not.
    strange = [line for line in lines if not re.search(r", [678]\.\d", line)]
    remedy = "MindSpore's library has code for compute capability 6.0 to 8.9 only"
    yield worse(bool(strange), "GPUs", "; ".join(strange or lines), remedy, WARN)


def find_libraries() -> Iterator[Finding]:
    """Let the loader look for every library that MindSpore's GPU part links to."""
    plugin = plugins().get("11.6")
    if plugin is None:
        yield Finding("GPU libraries", FAIL, f"MindSpore has no {_PLUGINS}11.6", _IMAGE)
        return
    missing = missing_libraries(plugin)
    remedy = (
        f"the driver brings libcuda.so.1, the wheels of requirements-gpu.txt the rest; {_IMAGE}"
    )
    found = f"not found: {', '.join(missing)}" if missing else f"all that {plugin.name} links to"
    yield worse(bool(missing), "GPU libraries", found, remedy, FAIL)


def plugins() -> dict[str, Path]:
    """Return MindSpore's GPU libraries by the release of CUDA they are for."""
    spec = find_spec("mindspore")
    if spec is None or not spec.submodule_search_locations:
        return {}
    folder = Path(spec.submodule_search_locations[0]) / "lib" / "plugin"
    return {path.name.removeprefix(_PLUGINS): path for path in folder.glob(f"{_PLUGINS}*")}


def missing_libraries(plugin: Path, search: str = "") -> list[str]:
    """Return what the loader does not find of all that a library links to, directly or not.

    Args:
        plugin: The library.
        search: More folders to look in, with colons between them.
    """
    folders = ":".join(filter(None, (search, os.environ.get("LD_LIBRARY_PATH", ""))))
    ended = subprocess.run(
        ["ldd", plugin],
        env={**os.environ, "LD_LIBRARY_PATH": folders},
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(set(re.findall(r"(\S+) => not found", ended.stdout)))
