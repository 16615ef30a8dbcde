"""Generates the rank table of this server: finds its NPUs, their addresses, and its name."""

import argparse
import contextlib
import functools
import ipaddress
import re
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, TimeoutExpired, run

from rank_tables.load import made
from rank_tables.model import Device, RankTableError, Server
from rank_tables.rules import ranges
from train.environment import npu_nodes

HCCN_CONF = Path("/etc/hccn.conf")
_DRIVER_TOOL = Path("/usr/local/Ascend/driver/tools/hccn_tool")
_SECONDS = 60
# Far more than any server has, so that a slip such as 0-77777777 is seen.
_MAX_NUMBER = 1023


def generate(options: argparse.Namespace) -> str:
    """Return the table of this server; what the options of the command leave open is found out."""
    text = options.device_ips
    addresses = None if text is None else [part.strip() for part in text.split(",")]
    for address in addresses or ():
        if not _valid(address, (4, 6)):
            raise RankTableError(f"--device-ips: {address!r} is not an IPv4 or IPv6 address")
    if options.devices:
        numbers = parse_numbers(options.devices)
    else:
        numbers = list(range(len(addresses))) if addresses else find_numbers()
    if addresses is None:
        families = (6,) if options.ipv6 else (4, 6)
        addresses = find_addresses(numbers, options.hccn_conf, families)
    elif len(numbers) != len(addresses):
        given = f"{len(addresses)} addresses for {len(numbers)} devices"
        raise RankTableError(f"--device-ips has {given}: give one for each")
    server_id = host_name() if options.server_id is None else options.server_id
    return table_of_server(server_id, numbers, addresses)


def table_of_server(server_id: str, numbers: Sequence[int], addresses: Sequence[str]) -> str:
    """Return the rank table of a server, its ranks in the order of the numbers of its devices.

    Args:
        server_id: name of the server.
        numbers: physical numbers of its devices.
        addresses: the addresses of these, in the same order.

    Raises:
        RankTableError: HCCL would not take the table.
    """
    pairs = enumerate(sorted(zip(numbers, addresses, strict=True)))
    devices = tuple(Device(number, rank, address) for rank, (number, address) in pairs)
    return made([Server(server_id, devices).tree()], "the table of this server")


def parse_numbers(text: str) -> list[int]:
    """Return the numbers of "0,2,4-7"; raise RankTableError if it is something else."""
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,4})(?:-([0-9]{1,4}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last > _MAX_NUMBER:
            raise RankTableError(
                f"--devices {text}: {part.strip()!r} is no device number and no range such as 4-7"
            )
        numbers += range(first, last + 1)
    for number in numbers:
        if numbers.count(number) > 1:
            raise RankTableError(f"--devices {text}: device {number} is named twice")
    return numbers


def find_numbers(device_folder: Path = Path("/dev")) -> list[int]:
    """Find all NPUs of this server; raise RankTableError if there are none.

    The N of a device node /dev/davinciN is the physical number that a rank table wants, also in a
    container, where the numbers have gaps (those of the devices it was given) while processes count
    from 0. npu-smi is asked only where there are no nodes to be seen.
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
    rows = [re.split(r"\s{2,}|\t", line) for line in said]
    header = next((row for row in rows if "Chip Phy-ID" in row), None)
    if header is None:
        raise RankTableError(
            f"npu-smi info -m tells no Chip Phy-ID (it says {said[0]!r}): "
            "name the devices with --devices 0-7"
        )
    column = header.index("Chip Phy-ID")
    cells = [row[column] for row in rows[rows.index(header) + 1 :] if len(row) > column]
    return sorted(int(cell) for cell in cells if cell.isdecimal())  # a "-" is the card's own chip


def find_addresses(
    devices: Sequence[int], conf: Path | None = None, families: Sequence[int] = (4, 6)
) -> list[str]:
    """Find the addresses of devices of this server; raise RankTableError if one has none.

    hccn_tool knows what is set now, and is asked first; /etc/hccn.conf is what is set at start-up,
    and can be read without rights. All addresses are of one family, IPv4 if every device has one,
    as HCCL prefers it.

    Args:
        devices: physical numbers.
        conf: read this file only, do not ask hccn_tool.
        families: of 4 and 6, the ones to look for, in this order.
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
    options = ["-i", str(device), "-ip", *(["-inet6"] if family == 6 else []), "-g"]
    said = _output([tool, *options])
    for line in said:
        # "ipaddr:192.0.2.1", "ipaddr:2001:db8::1": only the first colon is a separator.
        key, _, value = line.partition(":")
        if "addr" in key.lower() and _valid(value.strip(), (family,)):
            return value.strip(), ""
    return "", f"hccn_tool {' '.join(options)} says {said[0]!r}"


def _look_up(conf: Path, device: int, family: int) -> tuple[str, str]:
    """Return the address of a device, or "" and why hccn.conf does not give it."""
    key = f"{'IPv6' if family == 6 else ''}address_{device}"
    try:
        text = conf.read_text(errors="replace")
    except OSError as error:
        return "", f"{conf}: {error.strerror}"
    found = re.search(rf"^[ \t]*{key}[ \t]*=(.*)$", text, re.MULTILINE)
    if found is None:
        return "", f"{conf} has no {key}"
    value = found[1].strip()
    why = f"{conf} has {key}={value}, no IPv{family} address"
    return (value, "") if _valid(value, (family,)) else ("", why)


def _valid(text: str, families: Sequence[int]) -> bool:
    """Return whether this is an address of one of the families, 4 and 6, that a device may have."""
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
        with socket.socket(family, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            # Connecting a datagram socket picks a route, and sends nothing.
            probe.connect((target, 9))
            return str(probe.getsockname()[0])
    return socket.gethostname()


def _output(command: list[str]) -> list[str]:
    """Return the lines that a tool of the driver prints, however it ends; at least one."""
    try:
        done = run(
            command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, timeout=_SECONDS, errors="replace"
        )
        return [line.strip() for line in done.stdout.splitlines() if line.strip()] or ["nothing"]
    except OSError as error:
        problem = f"{command[0]} cannot be run: {error.strerror}"
    except TimeoutExpired:
        problem = f"{' '.join(command)} has not answered in {_SECONDS} s: is the driver up?"
    raise RankTableError(problem)
