"""A stand-in for a server with NPUs: its files, and the tools of its driver."""

from collections.abc import Callable
from pathlib import Path

from tools.doctor import ascend, cann
from tools.doctor.finding import Finding, Machine

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


CANN = "usr/local/Ascend/cann"
PACKAGES = f"{CANN}/python/site-packages"
CANN_VERSION = f"{CANN}/compiler/version.info"
DRIVER_VERSION = "usr/local/Ascend/driver/version.info"


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
        self.file(f"{CANN}/compiler/version.info", "Version=9.1.0\nversion_dir=9.1.0\n")
        # As CANN 9.1 has them. The test's Python has none of the packages that the real te needs.
        self.file(f"{PACKAGES}/hccl/sys_version.py", "__sys_version__ = '9.1'\n")
        self.file(f"{PACKAGES}/te/version.py", "import json\nversion = '9.1.0'\n")
        self.npu_smi()
        self.program("hccn_tool", HCCN_TOOL)
        packages = f"{self.root}/{PACKAGES}"
        self.variables = {"ASCEND_OPP_PATH": "/x/opp", "PYTHONPATH": packages}

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
        checks = (cann.examine, ascend.examine, ascend.ask_npu_smi, ascend.ask_hccn_tool)
        return {finding.check: finding for check in checks for finding in check(machine)}

    def imported(self) -> dict[str, Finding]:
        machine = Machine(self.root, self.variables)
        return {finding.check: finding for finding in cann.import_packages(machine)}


def remove(path: str) -> Callable[[Server], object]:
    return lambda server: (server.root / path).unlink()


def write(path: str, text: str) -> Callable[[Server], object]:
    return lambda server: server.file(path, text)


def tool(name: str, old: str, new: str) -> Callable[[Server], object]:
    return lambda server: server.program(name, (server.bin / name).read_text().replace(old, new))


def variable(**variables: str) -> Callable[[Server], object]:
    return lambda server: server.variables.update(variables)
