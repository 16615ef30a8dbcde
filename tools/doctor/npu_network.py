"""The network of the NPUs, which jobs of several servers need: addresses, links, TLS."""

import re
import shutil
from collections.abc import Iterator, Sequence

from tools.doctor.finding import OK, WARN, Finding, Machine, output_of, worse

_DRIVER_TOOL = "/usr/local/Ascend/driver/tools/hccn_tool"


def examine(machine: Machine) -> Iterator[Finding]:
    """Ask hccn_tool about every NPU."""
    tool = shutil.which("hccn_tool") or shutil.which(machine.path(_DRIVER_TOOL))
    if tool is None:
        remedy = "one server does without; for several mount /usr/local/Ascend/driver"
        yield Finding("NPU network", WARN, "hccn_tool not found", remedy)
        return
    npus = machine.npus
    yield _addresses(tool, npus)
    yield _links(tool, npus)
    yield _tls(tool, npus)


def _addresses(tool: str, npus: Sequence[int]) -> Finding:
    answers = {n: _ask(tool, n, "-ip", r"ipaddr:\s*(\S+)") for n in npus}
    missing = [str(n) for n, address in answers.items() if not address]
    remedy = "several servers need them: hccn_tool -i N -ip -s address A netmask M"
    if missing:
        return Finding("NPU addresses", WARN, f"none for NPU {', '.join(missing)}", remedy)
    twice = len(set(answers.values())) < len(answers)
    return worse(twice, "NPU addresses", ", ".join(answers.values()), "each must be unique")


def _links(tool: str, npus: Sequence[int]) -> Finding:
    answers = {n: _ask(tool, n, "-link", r"link status:\s*(\S+)") for n in npus}
    down = [f"NPU {n}: {status or 'no answer'}" for n, status in answers.items() if status != "UP"]
    remedy = "several servers need them: cable, switch port; hccn_tool -i N -link_stat -g"
    return worse(bool(down), "NPU links", ", ".join(down) or "all UP", remedy)


def _tls(tool: str, npus: Sequence[int]) -> Finding:
    answers = {_ask(tool, n, "-tls", r"tls switch\[(\d)\]") or "unknown" for n in npus}
    remedy = "must be the same on all NPUs of all servers: hccn_tool -i N -tls -s enable 0"
    if len(answers) > 1:
        return Finding("NPU TLS", WARN, f"differs: {', '.join(sorted(answers))}", remedy)
    state = {"0": "off", "1": "on"}.get("".join(answers), "unknown")
    return Finding("NPU TLS", OK, f"{state} on all (must be so on the other servers too)")


def _ask(tool: str, number: int, topic: str, pattern: str) -> str:
    try:
        output = output_of([tool, "-i", str(number), topic, "-g"])
    except (OSError, RuntimeError):
        return ""
    found = re.search(pattern, output)
    return found[1] if found else ""
