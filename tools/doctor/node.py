"""The machine itself: cores, memory, disk, limits."""

import math
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.doctor.finding import FAIL, OK, WARN, Finding, Machine, worse
from train.native import library
from train.preflight.limits import cpu_quota

_GIB = 2**30
_MIB = 2**20


def examine(machine: Machine, runs: Path) -> Iterator[Finding]:
    """Check what ranks on any device need of the machine."""
    yield _cores(machine)
    yield _threads(machine)
    yield _convolutions(machine)
    yield _shared_memory(machine)
    yield _disk(runs)
    yield _limits()


def _cores(machine: Machine) -> Finding:
    cores = len(os.sched_getaffinity(0))
    nodes = len(list(machine.path("/sys/devices/system/node").glob("node[0-9]*"))) or 1
    found = f"{cores} usable of {os.cpu_count()}, {nodes} NUMA node{'s' * (nodes > 1)}"
    quota = cpu_quota(machine.root)
    if quota is not None and quota < cores:
        found = f"{found}, but a quota of {quota:g} (--cpus)"
        remedy = "the launcher counts it; with cores (--cpuset-cpus) ranks can be bound to them"
        return Finding("cores", WARN, found, remedy)
    return Finding("cores", OK, found)


def _threads(machine: Machine) -> Finding:
    text = machine.environment.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0))
    if not text:
        return Finding("threads", OK, "OMP_NUM_THREADS is not set: the launcher shares cores")
    bad = not text.isdecimal() or not 1 <= int(text) <= cores
    remedy = f"unset it, or at most {cores} divided by the ranks of this machine"
    return worse(bad, "threads", f"OMP_NUM_THREADS={text} for every rank", remedy)


def _convolutions(machine: Machine) -> Finding:
    """Check for the native operators; MindSpore's own need a cap of instructions on AVX-512."""
    try:
        if machine.environment.get(library.SWITCH) != "0":
            return Finding("convolutions", OK, f"native: {Path(library.load()._name).name}")
        reason = f"{library.SWITCH}=0"
    except library.NativeUnavailable as problem:
        reason = str(problem)
    name = "ONEDNN_MAX_CPU_ISA"
    value = machine.environment.get(name, "")
    try:
        wide = "avx512" in machine.path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        wide = False
    # `python -m tools` has set it as a run would, unless the user had (train/environment.py).
    bad = wide and machine.device == "CPU" and value.upper() not in ("AVX2", "AVX2_VNNI")
    found = (
        f"no native ones ({reason}); {'' if wide else 'no '}AVX-512, {name}={value or '(unset)'}"
    )
    remedy = f"unset {name} (AVX2 is the default): convolutions are up to 100 times slower"
    return worse(bad, "convolutions", found, remedy)


def _shared_memory(machine: Machine) -> Finding:
    try:
        size = shutil.disk_usage(machine.path("/dev/shm")).total
    except OSError:
        size = 0
    remedy = "in a container: --ipc=host, or --shm-size=64g (--shm-size=2g on CPU)"
    return worse(size < _GIB, "shared memory", f"/dev/shm has {_amount(size)}", remedy)


def _disk(runs: Path) -> Finding:
    folder = runs.absolute()
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        remedy = "make it writable for this user, or give run_dir=PATH"
        return Finding("run folder", FAIL, f"{folder}: {error.strerror}", remedy)
    free = shutil.disk_usage(folder).free
    found = f"{folder} has {_amount(free)} free"
    state = FAIL if free < 100 * _MIB else WARN
    remedy = "checkpoints need more: make room, or give run_dir=PATH"
    return worse(free < 2 * _GIB, "run folder", found, remedy, state)


def _limits() -> Finding:
    soft = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)]
    files, processes = (math.inf if n == resource.RLIM_INFINITY else n for n in soft)
    shown = ["unlimited" if math.isinf(n) else f"{n:,.0f}" for n in (files, processes)]
    found = "open files {}, processes and threads {}".format(*shown)
    remedy = "raise them: ulimit -n 65536 -u 65536 (container: --ulimit nofile=65536)"
    return worse(files < 1024 or processes < 4096, "limits", found, remedy)


def _amount(size: int) -> str:
    return f"{size / _GIB:,.1f} GiB" if size >= _GIB else f"{size / _MIB:,.0f} MiB"
