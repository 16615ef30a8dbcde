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
from tests.train.native_calls import native
from tools.doctor import ascend, gpu, installation, node
from tools.doctor.ascend import accepted_cann, matches
from tools.doctor.finding import FAIL, OK, WARN, Finding, Machine

# What the real ones print (npu-smi 24 and 25).
NPU_SMI = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 25.5.0                   Version: 25.5.0                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 93.3        40                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          3413 / 65536         |
+===========================+===============+====================================================+
| 1     910B3               | {health}            | 90.1        39                0    / 0       |
| 0                         | 0000:01:00.0  | 0           0    / 0          3403 / 65536         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
{processes}
+===========================+===============+====================================================+
"""
IDLE = "| No running processes found in NPU 0                                                     |"
BUSY = (
    "| 1       0                 | 12345         | python                   | 3000              |"
)
# hccn_tool -i N -ip|-link|-tls -g
HCCN_TOOL = """\
#!/bin/sh
case $3 in
    -ip) echo "ipaddr:192.168.100.10$2"; echo "netmask:255.255.255.0" ;;
    -link) echo "link status: UP" ;;
    -tls) echo "dev_id:$2, tls switch[0](0:disable, 1:enable), tls preconfigured[1]" ;;
esac
"""


class Server:
    """The files of a server with two NPUs and everything in order, and its tools."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        for name in ("davinci0", "davinci1", "davinci_manager", "devmm_svm", "hisi_hdc"):
            self.file(f"dev/{name}")
        self.file("usr/local/Ascend/driver/version.info", "Version=25.5.0\n")
        (self.root / "usr/local/Ascend/driver/lib64").mkdir()
        self.file("usr/local/Ascend/cann/compiler/version.info", "Version=9.1.0\n")
        self.npu_smi()
        self.program("hccn_tool", HCCN_TOOL)
        self.variables = {"ASCEND_OPP_PATH": "/x/opp"}

    def file(self, path: str, text: str = "") -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def npu_smi(self, health: str = "OK", processes: str = IDLE) -> None:
        said = NPU_SMI.format(health=health, processes=processes)
        self.program("npu-smi", f"#!/bin/sh\ncat <<'TEXT'\n{said}TEXT\n")

    def look(self) -> dict[str, Finding]:
        machine = Machine(self.root, self.variables)
        checks = (ascend.examine, ascend.ask_npu_smi, ascend.ask_hccn_tool)
        return {finding.check: finding for check in checks for finding in check(machine)}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(tmp_path)
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    return server


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
    shutil.rmtree(server.root / "usr/local/Ascend/cann")
    ended = doctor("--json", "--root", str(server.root))
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["device"] == "Ascend"
    findings = found(ended)
    assert findings["CANN"]["state"] == FAIL
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


def remove(path: str) -> Callable[[Server], object]:
    return lambda server: (server.root / path).unlink()


def write(path: str, text: str) -> Callable[[Server], object]:
    return lambda server: server.file(path, text)


def tool(name: str, old: str, new: str) -> Callable[[Server], object]:
    return lambda server: server.program(name, (server.bin / name).read_text().replace(old, new))


def variable(**variables: str) -> Callable[[Server], object]:
    return lambda server: server.variables.update(variables)


CANN_VERSION = "usr/local/Ascend/cann/compiler/version.info"
DRIVER_VERSION = "usr/local/Ascend/driver/version.info"
FAULTS = [
    (remove("dev/devmm_svm"), "management devices", FAIL, "missing: devmm_svm"),
    (variable(ASCEND_RT_VISIBLE_DEVICES="0,2"), "visible NPUs", FAIL, "'0,2'"),
    (variable(ASCEND_RT_VISIBLE_DEVICES="1,0"), "visible NPUs", FAIL, "'1,0'"),
    (variable(ASCEND_RT_VISIBLE_DEVICES="0, 1"), "visible NPUs", FAIL, "'0, 1'"),
    (variable(ASCEND_RT_VISIBLE_DEVICES=""), "visible NPUs", FAIL, "''"),
    (variable(ASCEND_OPP_PATH=""), "CANN's variables", WARN, "ASCEND_OPP_PATH is not set"),
    (remove(DRIVER_VERSION), "driver", WARN, "version.info is not there"),
    (write(CANN_VERSION, "Version=8.1.RC1\n"), "CANN", WARN, "8.1.RC1 in "),
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


def test_cann_is_looked_for_where_it_says_it_is(server: Server, tmp_path: Path) -> None:
    server.file("opt/cann/compiler/version.info", "Version=8.5.0\n")
    server.variables["ASCEND_HOME_PATH"] = str(server.root / "opt/cann")
    assert server.look()["CANN"].found == f"8.5.0 in {server.root}/opt/cann"


@pytest.mark.parametrize(
    ("mindspore", "cann", "fits"),
    [
        ("2.10.0", "9.1.0", True),
        ("2.10.0", "8.2.RC1", True),
        ("2.10.0", "8.1.RC1", False),
        ("2.10.0", "9.10.0", False),
        ("2.9.0", "9.0.0", True),
        ("2.9.0", "9.1.0", False),
        ("2.7.1", "8.3.rc1", True),
    ],
)
def test_table_of_versions(mindspore: str, cann: str, fits: bool) -> None:
    assert matches(cann, accepted_cann(mindspore)) is fits


def test_table_knows_the_pinned_mindspore() -> None:
    assert accepted_cann(installation.pinned()["mindspore"])


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
    (libraries,) = gpu.find_libraries()
    assert libraries.state == OK or "libcuda" in libraries.found
