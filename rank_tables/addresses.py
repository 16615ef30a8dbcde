"""The addresses of the NPUs' network ports, and of this server."""

import ipaddress
import re
import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from rank_tables.devices import first_line, run
from rank_tables.model import RankTableError
from rank_tables.places import ranges

HCCN_CONF = Path("/etc/hccn.conf")
_DRIVER_TOOL = Path("/usr/local/Ascend/driver/tools/hccn_tool")

# The keys of /etc/hccn.conf.
_CONF_KEYS = {4: "address_{}", 6: "IPv6address_{}"}
_TOOL_OPTIONS = {4: ["-ip", "-g"], 6: ["-ip", "-inet6", "-g"]}

# One way to ask for the address of a device: gives the address or None, and what was said.
_Ask = Callable[[int, int], tuple[str | None, str]]


def parse_addresses(text: str) -> list[str]:
    """Reads addresses with commas between them.

    Raises:
        RankTableError: one is no IP address.
    """
    addresses = [part.strip() for part in text.split(",")]
    for address in addresses:
        if _valid(address, (4, 6)) is None:
            raise RankTableError(f"--device-ips: {address!r} is not an IPv4 or IPv6 address")
    return addresses


def find_addresses(
    devices: Sequence[int], conf: Path | None = None, families: Sequence[int] = (4, 6)
) -> list[str]:
    """Finds the addresses of devices of this server.

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
    sources = [_conf(conf)] if conf else [*_tool(), _conf(HCCN_CONF)]
    failed = []
    for ask in sources:
        attempts = []
        for family in families:
            addresses, complaints = _ask_all(ask, devices, family)
            if not complaints:
                return addresses
            attempts.append(complaints)
        # The family that most devices have is the one that was meant.
        failed.append(min(attempts, key=len))
    missing = min(failed, key=len)
    reasons = [next(iter(complaints.values())) for complaints in failed]
    if conf is None and len(sources) == 1:
        reasons.insert(0, "hccn_tool is not there")
    raise RankTableError(
        f"no address for device{'' if len(missing) == 1 else 's'} {ranges(missing)} "
        f"({'; '.join(reasons)}): set it with hccn_tool -i N -ip -s address A netmask M, "
        "or give the addresses of all devices with --device-ips"
    )


def _ask_all(ask: _Ask, devices: Sequence[int], family: int) -> tuple[list[str], dict[int, str]]:
    """Returns the addresses that were found, and what was said about the other devices."""
    addresses, complaints = [], {}
    for device in devices:
        address, said = ask(device, family)
        if address is None:
            complaints[device] = said
        else:
            addresses.append(address)
    return addresses, complaints


def _tool() -> list[_Ask]:
    """Asks hccn_tool, if it is there."""
    tool = shutil.which("hccn_tool") or shutil.which(_DRIVER_TOOL)
    if tool is None:
        return []

    def ask(device: int, family: int) -> tuple[str | None, str]:
        command = [tool, "-i", str(device), *_TOOL_OPTIONS[family]]
        said = run(command)
        for line in said.splitlines():
            # "ipaddr:192.0.2.1", "ipaddr:2001:db8::1": only the first colon is a separator.
            key, _, value = line.partition(":")
            if "addr" in key.lower() and (address := _valid(value.strip(), (family,))):
                return address, ""
        return None, f"{' '.join(['hccn_tool', *command[1:]])} says {first_line(said)!r}"

    return [ask]


def _conf(path: Path) -> _Ask:
    """Looks into hccn.conf."""
    try:
        text: str | None = path.read_text(errors="replace")
        trouble = ""
    except OSError as error:
        text, trouble = None, f"{path}: {error.strerror}"

    def ask(device: int, family: int) -> tuple[str | None, str]:
        key = _CONF_KEYS[family].format(device)
        found = re.search(rf"^[ \t]*{key}[ \t]*=(.*)$", text or "", re.MULTILINE)
        if found is None:
            return None, trouble or f"{path} has no {key}"
        value = found[1].strip()
        return _valid(value, (family,)), f"{path} has {key}={value}, no IPv{family} address"

    return ask


def _valid(text: str, families: Sequence[int]) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # 0.0.0.0 stands for "none set".
    return text if address.version in families and not address.is_unspecified else None


def host_name() -> str:
    """Returns a name for this server: its address on the way out, or else its host name.

    HCCL only asks that it is different on every server.
    """
    targets = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
    for family, target in targets:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                # Connecting a datagram socket picks a route, and sends nothing.
                probe.connect((target, 9))
                return str(probe.getsockname()[0])
            except OSError:
                continue
    return socket.gethostname()
