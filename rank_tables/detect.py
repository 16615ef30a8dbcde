"""What this server has: its NPUs by physical number, their addresses, and its own."""

import functools
import ipaddress
import re
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, TimeoutExpired, run

from rank_tables.model import RankTableError
from rank_tables.rules import ranges
from train.environment import npu_nodes

HCCN_CONF = Path("/etc/hccn.conf")
_DRIVER_TOOL = Path("/usr/local/Ascend/driver/tools/hccn_tool")
_SECONDS = 60

# By family: the keys of /etc/hccn.conf, and the options of hccn_tool.
_CONF_KEYS = {4: "address_{}", 6: "IPv6address_{}"}
_TOOL_OPTIONS = {4: ["-ip", "-g"], 6: ["-ip", "-inet6", "-g"]}


def find_numbers(device_folder: Path = Path("/dev")) -> list[int]:
    """Find all NPUs of this server.

    The N of a device node /dev/davinciN is the physical number that a rank table wants, also in a
    container, where the numbers have gaps (those of the devices it was given) while processes count
    from 0. npu-smi is asked only where there are no nodes to be seen.

    Raises:
        RankTableError: there are none, or npu-smi does not tell their physical numbers.
    """
    numbers = list(npu_nodes(device_folder)) or _ask_npu_smi()
    if not numbers:
        raise RankTableError(
            f"no NPU on this server (no {device_folder}/davinciN, and npu-smi lists none): "
            "name them with --devices 0-7, and their addresses with --device-ips"
        )
    return numbers


def _ask_npu_smi() -> list[int]:
    """Read the column "Chip Phy-ID" of the mapping of cards and chips.

    Not the NPU ID that ``npu-smi info -l`` prints: that counts cards, and one may hold two NPUs.
    """
    tool = shutil.which("npu-smi")
    if tool is None:
        return []
    said = _output([tool, "info", "-m"])
    rows = [re.split(r"\s{2,}|\t", line.strip()) for line in said.splitlines() if line.strip()]
    header = next((row for row in rows if "Chip Phy-ID" in row), None)
    if header is None:
        raise RankTableError(
            f"npu-smi info -m tells no Chip Phy-ID (it says {_first_line(said)!r}): "
            "name the devices with --devices 0-7"
        )
    column = header.index("Chip Phy-ID")
    cells = [row[column] for row in rows[rows.index(header) + 1 :] if len(row) > column]
    return sorted(int(cell) for cell in cells if cell.isdecimal())  # a "-" is the card's own chip


def find_addresses(
    devices: Sequence[int], conf: Path | None = None, families: Sequence[int] = (4, 6)
) -> list[str]:
    """Find the addresses of devices of this server.

    hccn_tool knows what is set now, and is asked first; /etc/hccn.conf is what is set at start-up,
    and can be read without rights. All addresses are of one family, IPv4 if every device has one,
    as HCCL prefers it.

    Args:
        devices: physical numbers.
        conf: read this file only, do not ask hccn_tool.
        families: of 4 and 6, the ones to look for, in this order.

    Raises:
        RankTableError: some device has no address.
    """
    sources = [functools.partial(_look_up, conf or HCCN_CONF)]
    tool = None if conf else shutil.which("hccn_tool") or shutil.which(_DRIVER_TOOL)
    if tool:
        sources.insert(0, functools.partial(_ask_hccn_tool, tool))
    failed = []
    for ask in sources:
        attempts = []
        for family in families:
            answers = {device: ask(device, family) for device in devices}
            said = {device: why for device, (address, why) in answers.items() if not address}
            if not said:
                return [address for address, _ in answers.values()]
            attempts.append(said)
        # The family that most devices have is the one that was meant.
        failed.append(min(attempts, key=len))
    missing = min(failed, key=len)
    reasons = ["hccn_tool is not there"] if not conf and not tool else []
    reasons += [next(iter(said.values())) for said in failed]
    raise RankTableError(
        f"no address for device{'' if len(missing) == 1 else 's'} {ranges(missing)} "
        f"({'; '.join(reasons)}): set it with hccn_tool -i N -ip -s address A netmask M, "
        "or give the addresses of all devices with --device-ips"
    )


def _ask_hccn_tool(tool: str, device: int, family: int) -> tuple[str, str]:
    """Return the address of a device, or "" and what the tool says instead."""
    options = ["-i", str(device), *_TOOL_OPTIONS[family]]
    said = _output([tool, *options])
    for line in said.splitlines():
        # "ipaddr:192.0.2.1", "ipaddr:2001:db8::1": only the first colon is a separator.
        key, _, value = line.partition(":")
        if "addr" in key.lower() and valid_address(value.strip(), (family,)):
            return value.strip(), ""
    return "", f"hccn_tool {' '.join(options)} says {_first_line(said)!r}"


def _look_up(conf: Path, device: int, family: int) -> tuple[str, str]:
    """Return the address of a device, or "" and why hccn.conf does not give it."""
    key = _CONF_KEYS[family].format(device)
    try:
        text = conf.read_text(errors="replace")
    except OSError as error:
        return "", f"{conf}: {error.strerror}"
    found = re.search(rf"^[ \t]*{key}[ \t]*=(.*)$", text, re.MULTILINE)
    if found is None:
        return "", f"{conf} has no {key}"
    value = found[1].strip()
    valid = valid_address(value, (family,))
    return value if valid else "", f"{conf} has {key}={value}, no IPv{family} address"


def valid_address(text: str, families: Sequence[int]) -> bool:
    """Whether this is an address of one of the families, 4 and 6, that a device may have."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    # 0.0.0.0 stands for "none set".
    return address.version in families and not address.is_unspecified


def host_name() -> str:
    """Return a name for this server: its address on the way out, or else its host name.

    HCCL only asks that it is different on every server.
    """
    for family, target in (socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                # Connecting a datagram socket picks a route, and sends nothing.
                probe.connect((target, 9))
                return str(probe.getsockname()[0])
            except OSError:
                continue
    return socket.gethostname()


def _output(command: list[str]) -> str:
    """Return what a tool of the driver prints, however it ends; RankTableError if it does not."""
    try:
        done = run(
            command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, timeout=_SECONDS, errors="replace"
        )
    except OSError as error:
        raise RankTableError(f"{command[0]} cannot be run: {error.strerror}") from None
    except TimeoutExpired:
        asked = " ".join(command)
        raise RankTableError(
            f"{asked} has not answered in {_SECONDS} s: is the driver up?"
        ) from None
    return done.stdout


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "nothing")
