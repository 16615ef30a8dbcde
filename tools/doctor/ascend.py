"""NPUs: devices, ports, health, network."""

import errno
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from tools.doctor.finding import FAIL, IN_CONTAINER, OK, WARN, Finding, Machine, output_of, worse

_MANAGERS = ("davinci_manager", "devmm_svm", "hisi_hdc")
_HCCN_TOOL = "/usr/local/Ascend/driver/tools/hccn_tool"
_DEVICE_PORT = 16666
_HOST_PORTS = 32


def examine(machine: Machine) -> Iterator[Finding]:
    """Check what can be seen without asking a device."""
    yield _devices(machine)
    yield _managers(machine)
    yield _visible(machine)
    yield _ports(machine)


def _devices(machine: Machine) -> Finding:
    npus = machine.npus
    if not npus:
        remedy = f"install the driver; {IN_CONTAINER}"
        return Finding("NPUs", FAIL, "there is no /dev/davinciN", remedy)
    nodes = [machine.path(f"/dev/davinci{number}") for number in npus]
    closed = [str(node) for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        group = Path(closed[0]).stat().st_gid
        remedy = f"join the driver's group (usermod -aG; in a container: --group-add {group})"
        return Finding("NPUs", FAIL, f"not allowed to open {', '.join(closed)}", remedy)
    return Finding("NPUs", OK, f"{len(npus)}: /dev/davinci{{{','.join(map(str, npus))}}}")


def _managers(machine: Machine) -> Finding:
    missing = [name for name in _MANAGERS if not machine.path(f"/dev/{name}").exists()]
    found = f"missing: {', '.join(missing)}" if missing else ", ".join(_MANAGERS)
    return worse(bool(missing), "management devices", found, IN_CONTAINER, FAIL)


def _visible(machine: Machine) -> Finding:
    name, count = "ASCEND_RT_VISIBLE_DEVICES", len(machine.npus)
    value = machine.environment.get(name)
    if value is None:
        return Finding("visible NPUs", OK, f"{name} is not set: all {count}")
    # MindSpore's runtime silently drops a number it does not like, and all that follow it.
    remedy = (
        f"numbers from 0 to {count - 1} (not those of /dev/davinciN), ascending, with commas and "
        "no blanks; or unset it: in a container only the NPUs that were passed are seen anyway"
    )
    parts = value.split(",")
    numbers = [int(part) for part in parts if re.fullmatch(r"[0-9]+", part)]
    good = len(numbers) == len(parts) and numbers == sorted(set(numbers)) and numbers[-1] < count
    return worse(not good, "visible NPUs", f"{name}={value!r}", remedy, FAIL)


def _ports(machine: Machine) -> Finding:
    """Try the ports that HCCL listens on."""
    text = machine.environment.get("HCCL_IF_BASE_PORT", "")
    first = int(text) if text.isdecimal() else 60000
    ports = [_DEVICE_PORT, *range(first, min(first + _HOST_PORTS, 65536))]
    taken = [str(port) for port in ports if _is_taken(port)]
    found = f"{_DEVICE_PORT}, {first}-{ports[-1]}: "
    remedy = (
        "another job runs, or a service has them: give the second job HCCL_IF_BASE_PORT, and keep "
        f"them free with: sysctl -w net.ipv4.ip_local_reserved_ports={first}-{ports[-1]}"
    )
    what = f"taken: {', '.join(taken)}" if taken else "free"
    return worse(bool(taken), "ports of HCCL", found + what, remedy)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def ask_npu_smi(machine: Machine) -> Iterator[Finding]:
    """Ask the driver's tool for the health of the NPUs, and who uses them."""
    tool = shutil.which("npu-smi")
    if tool is None:
        yield Finding("npu-smi", WARN, "not found", IN_CONTAINER)
        return
    try:
        output = output_of([tool, "info"])
    except (OSError, RuntimeError) as error:
        remedy = "not mounted, no permission, or used by another container (-8005, -8020)"
        yield Finding("npu-smi", FAIL, str(error), remedy)
        return
    # | 0     910B3               | OK            | 93.3        40                0    / 0       |
    # or, since 25.7, | 0      | Ascend950PR      | OK            | 195.6       56 ...
    row = r"(?m)^\|\s*(\d+)\s+\|?\s*(\S*[A-Za-z]\S*)\s*\|\s*([A-Za-z]+)\s*\|"
    rows = re.findall(row, output)
    bad = [f"NPU {number}: {health}" for number, _, health in rows if health != "OK"]
    found = ", ".join(bad) or f"{len(rows)} x {rows[0][1] if rows else '?'}, health OK"
    missing = len(rows) < len(machine.npus)
    if missing:
        found += f" (/dev has {len(machine.npus)})"
    yield worse(bool(bad), "health", found, "npu-smi info -t health -i N tells more", FAIL)
    # | 0       0                 | 12345         | python                   | 3000              |
    users = re.findall(r"(?m)^\|\s*(\d+)\s+\d+\s*\|\s*(\d+)\s*\|\s*(\S+)", output)
    busy = ", ".join(f"NPU {number}: {name} ({pid})" for number, pid, name in users)
    remedy = "another job, or what is left of one: end it and wait 10 s (EJ0001 otherwise)"
    yield worse(bool(users), "processes on NPUs", busy or "none", remedy)


def ask_hccn_tool(machine: Machine) -> Iterator[Finding]:
    """Ask about the network of the NPUs, which jobs of several servers need."""
    tool = shutil.which("hccn_tool") or shutil.which(machine.path(_HCCN_TOOL))
    if tool is None:
        remedy = "one server does without; for several mount /usr/local/Ascend/driver"
        yield Finding("NPU network", WARN, "hccn_tool not found", remedy)
        return
    addresses, links, switches = (
        {number: _ask(tool, number, topic, pattern) for number in machine.npus}
        for topic, pattern in (
            ("-ip", r"ipaddr:\s*(\S+)"),
            ("-link", r"link status:\s*(\S+)"),
            ("-tls", r"tls switch\[(\d)\]"),
        )
    )
    missing = [str(n) for n, address in addresses.items() if not address]
    if missing:
        remedy = "several servers need them: hccn_tool -i N -ip -s address A netmask M"
        yield Finding("NPU addresses", WARN, f"none for NPU {', '.join(missing)}", remedy)
    else:
        twice, shown = len(set(addresses.values())) < len(addresses), ", ".join(addresses.values())
        yield worse(twice, "NPU addresses", shown, "each must be unique")
    down = [f"NPU {n}: {status or 'no answer'}" for n, status in links.items() if status != "UP"]
    remedy = "several servers need them: cable, switch port; hccn_tool -i N -link_stat -g"
    yield worse(bool(down), "NPU links", ", ".join(down) or "all UP", remedy)
    states = sorted({switch or "unknown" for switch in switches.values()})
    state = {"0": "off", "1": "on"}.get("".join(states), "unknown")
    found = f"{state} on all (must be so on the other servers too)"
    if len(states) > 1:
        found = f"differs: {', '.join(states)}"
    remedy = "must be the same on all NPUs of all servers: hccn_tool -i N -tls -s enable 0"
    yield worse(len(states) > 1, "NPU TLS", found, remedy)


def _ask(tool: str, number: int, topic: str, pattern: str) -> str:
    try:
        output = output_of([tool, "-i", str(number), topic, "-g"])
    except (OSError, RuntimeError):
        return ""
    found = re.search(pattern, output)
    return found[1] if found else ""
