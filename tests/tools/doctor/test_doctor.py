"""python -m tools doctor: really run, and with stand-ins for Ascend's and NVIDIA's tools."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.paths import ROOT
from tests.tools.doctor.server import (
    BUSY,
    CANN,
    CANN_VERSION,
    DRIVER_VERSION,
    Server,
    remove,
    tool,
    variable,
    write,
)
from tests.train.native_calls import native
from tools.doctor import gpu, installation, node
from tools.doctor.finding import FAIL, OK, WARN, Finding, Machine


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("", 0)) as listener:
        yield listener.getsockname()[1]


def doctor(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tools", "doctor", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )


def found(ended: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    return {finding["check"]: finding for finding in json.loads(ended.stdout)["findings"]}


def test_this_machine_really_computes(tmp_path: Path) -> None:
    ended = doctor("--device", "CPU", "--json", "--runs", str(tmp_path / "runs"))
    assert ended.returncode == 0, ended.stdout
    findings = found(ended)
    assert json.loads(ended.stdout)["ok"]
    computed = findings["MindSpore on CPU"]
    assert computed["state"] == OK
    assert computed["found"] == f"computed with MindSpore {version('mindspore')}"
    for check in ("Python", "requirements", "run folder"):
        assert findings[check]["state"] == OK, findings[check]
    assert not (tmp_path / "runs").exists()  # it looks, and leaves nothing


def test_quick_does_not_load_mindspore_and_prints_a_table() -> None:
    ended = doctor("--quick", "--device", "CPU")
    assert ended.returncode == 0, ended.stdout
    assert " mindspore" not in ended.stderr
    assert " rich" in ended.stderr
    assert "requirements" in ended.stdout
    assert ended.stdout.splitlines()[-1].endswith("0 fail")


def test_a_failure_is_exit_code_1_with_a_remedy() -> None:
    ended = doctor("--quick", "--device", "CPU", "--runs", "/proc/none")
    assert ended.returncode == 1
    assert "-> make it writable for this user, or give run_dir=PATH" in ended.stdout


def test_npus_without_cann_cannot_compute(server: Server) -> None:
    shutil.rmtree(server.root / CANN)
    ended = doctor("--json", "--root", str(server.root))
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["device"] == "Ascend"
    findings = found(ended)
    assert findings["CANN"]["state"] == findings["CANN's hccl"]["state"] == FAIL
    assert findings["NPU links"]["state"] == OK
    computed = findings["MindSpore on Ascend"]
    assert computed["state"] == FAIL
    assert "libmindspore_ascend" in computed["found"]


def test_a_good_server(server: Server) -> None:
    findings = server.look()
    if findings["ports of HCCL"].state != OK:  # some other program of this machine has them
        del findings["ports of HCCL"]
    assert {name: f for name, f in findings.items() if f.state != OK} == {}
    assert findings["NPUs"].found == "2: /dev/davinci{0,1}"
    assert findings["health"].found == "2 x 910B3, health OK"
    assert findings["NPU addresses"].found == "192.168.100.100, 192.168.100.101"
    assert findings["NPU TLS"].found.startswith("off on all")


FAULTS = [
    (remove("dev/devmm_svm"), "management devices", FAIL, "missing: devmm_svm"),
    (variable(ASCEND_RT_VISIBLE_DEVICES="0,2"), "visible NPUs", FAIL, "'0,2'"),
    (variable(ASCEND_RT_VISIBLE_DEVICES="1,0"), "visible NPUs", FAIL, "'1,0'"),
    (variable(ASCEND_RT_VISIBLE_DEVICES="0, 1"), "visible NPUs", FAIL, "'0, 1'"),
    (variable(ASCEND_RT_VISIBLE_DEVICES=""), "visible NPUs", FAIL, "''"),
    (variable(ASCEND_OPP_PATH=""), "CANN's variables", WARN, "ASCEND_OPP_PATH is not set"),
    (remove(DRIVER_VERSION), "driver", WARN, "version.info is not there"),
    (write(CANN_VERSION, "Version=8.1.RC1\n"), "CANN", WARN, "8.1.RC1 in "),
    (write(CANN_VERSION, "Version=9.10.0\n"), "CANN", WARN, "9.10.0 in "),
    (write(DRIVER_VERSION, "Version=25.0.rc1.1\n"), "driver", WARN, "25.0.rc1.1"),
    (write("requirements-ascend.txt", "mtln-tbe==1\n"), "packages TBE needs", WARN, "mtln-tbe"),
    (remove(CANN_VERSION), "CANN", WARN, "has no compiler/version.info"),
    (lambda server: server.npu_smi(health="Alarm"), "health", FAIL, "NPU 1: Alarm"),
    (lambda server: server.npu_smi(processes=BUSY), "processes on NPUs", WARN, "NPU 1: python"),
    (
        lambda server: server.program("npu-smi", "#!/bin/sh\necho 'dcmi ret is -8005'; exit 1\n"),
        *("npu-smi", FAIL, "dcmi ret is -8005"),
    ),
    (tool("hccn_tool", "UP", "DOWN"), "NPU links", WARN, "NPU 0: DOWN, NPU 1: DOWN"),
    (tool("hccn_tool", "[0]", "[$2]"), "NPU TLS", WARN, "differs: 0, 1"),
    (tool("hccn_tool", "10$2", "100"), "NPU addresses", WARN, "192.168.100.100, 192.168.100.100"),
    (tool("hccn_tool", "ipaddr:", "x"), "NPU addresses", WARN, "none for NPU 0, 1"),
    (lambda server: (server.bin / "hccn_tool").unlink(), "NPU network", WARN, "not found"),
    (lambda server: (server.bin / "npu-smi").unlink(), "npu-smi", WARN, "not found"),
]


@pytest.mark.parametrize(("spoil", "check", "state", "text"), FAULTS)
def test_what_is_wrong_with_a_server(
    server: Server, spoil: Callable[[Server], object], check: str, state: str, text: str
) -> None:
    spoil(server)
    finding = server.look()[check]
    assert finding.state == state
    assert text in finding.found
    assert finding.remedy


def test_a_port_of_hccl_that_is_taken(server: Server, busy_port: int) -> None:
    server.variables["HCCL_IF_BASE_PORT"] = str(busy_port)
    finding = server.look()["ports of HCCL"]
    assert finding.state == WARN
    assert str(busy_port) in finding.found.split("taken: ")[1].split(", ")


def node_findings(root: Path, **variables: str) -> dict[str, Finding]:
    return {f.check: f for f in node.examine(Machine(root, variables), root / "runs")}


def test_traps_of_a_machine(tmp_path: Path) -> None:
    files = {"proc/cpuinfo": "flags: fma avx512f\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    own = {"MTLN_NATIVE": "0", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    findings = node_findings(tmp_path, **own, OMP_NUM_THREADS=str(os.cpu_count() or 1) + "0")
    for check in ("cores", "threads", "convolutions", "shared memory"):
        assert findings[check].state == WARN, findings[check]
        assert findings[check].remedy
    assert "quota of 0.5" in findings["cores"].found
    capped = node_findings(tmp_path, **{**own, "ONEDNN_MAX_CPU_ISA": "AVX2"})["convolutions"]
    assert capped.state == OK and "MTLN_NATIVE=0" in capped.found


def test_native_operators_need_no_cap(tmp_path: Path) -> None:
    native()  # built by now
    finding = node_findings(tmp_path, ONEDNN_MAX_CPU_ISA="AVX512_CORE")["convolutions"]
    assert finding.state == OK and "libmtln" in finding.found


def test_requirements_that_are_missing_or_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = tmp_path / "requirements.txt"
    monkeypatch.setattr(installation, "_REQUIREMENTS", pins)
    for text, state, words in (
        ("# why\nno-such-package==1.0\nnumpy==1.26.4\n", FAIL, "not installed: no-such-package"),
        ("numpy==0.1\n", WARN, "(pinned: 0.1)"),
    ):
        pins.write_text(text)
        finding = {f.check: f for f in installation.examine()}["requirements"]
        assert finding.state == state
        assert words in finding.found


@pytest.mark.skipif(not gpu.plugins(), reason="MindSpore's GPU library is in the x86_64 wheel only")
def test_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    for name, said in (("nvidia-smi", "H100, 9.0, 550.1"), ("nvcc", "tools, release 11.6, V1")):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\necho '{said}'\n")
        path.chmod(0o755)
    machine = Machine(tmp_path, {"CUDA_HOME": str(tmp_path)}, "GPU")
    findings = {f.check: f for f in (*gpu.examine(machine), *gpu.ask_nvidia_smi())}
    assert findings["CUDA_HOME"].state == OK
    # MindSpore has no code for it.
    assert findings["GPUs"].state == WARN
    bare = {f.check: f for f in gpu.examine(Machine(tmp_path, {}, "GPU"))}
    assert bare["CUDA_HOME"].state == FAIL


@pytest.mark.skipif(not gpu.plugins(), reason="MindSpore's GPU library is in the x86_64 wheel only")
def test_libraries_for_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that the loader does not find is named; empty ones stand for those not here."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    away = gpu.missing_libraries(gpu.plugins()["11.6"])
    for name in away:
        command = ["gcc", "-shared", "-x", "c", "/dev/null", "-o", tmp_path / name]
        subprocess.run([*map(str, command), f"-Wl,-soname,{name}"], check=True)
    (libraries,) = gpu.find_libraries()
    assert libraries.state == OK
    for name in away[:2]:
        (tmp_path / name).unlink()
    (libraries,) = gpu.find_libraries()
    assert libraries.state == (FAIL if away else OK)
    assert not away or libraries.found == f"not found: {', '.join(away[:2])}"
