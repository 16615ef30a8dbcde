"""Makes the rank table of one server."""

import argparse
import re
from collections.abc import Sequence

from rank_tables.check import made
from rank_tables.detect import find_addresses, find_numbers, host_name, valid_address
from rank_tables.model import Device, RankTableError, Server

# Far more than any server has, so that a slip such as 0-77777777 is seen.
_MAX_NUMBER = 1023


def generate(options: argparse.Namespace) -> str:
    """Return the table of this server; what the options of the command leave open is found out.

    Raises:
        RankTableError: an option is wrong, or something is not to be found.
    """
    given = None if options.device_ips is None else parse_addresses(options.device_ips)
    if options.devices:
        numbers = parse_numbers(options.devices)
    else:
        numbers = find_numbers() if given is None else list(range(len(given)))
    if given is not None and len(numbers) != len(given):
        raise RankTableError(
            f"--device-ips has {len(given)} addresses for {len(numbers)} devices: give one for each"
        )
    families = (6,) if options.ipv6 else (4, 6)
    addresses = given or find_addresses(numbers, options.hccn_conf, families)
    server_id = host_name() if options.server_id is None else options.server_id
    return table_of_server(server_id, numbers, addresses)


def table_of_server(server_id: str, numbers: Sequence[int], addresses: Sequence[str]) -> str:
    """Return the rank table of one server as text, its ranks in the order of the device numbers.

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


def parse_addresses(text: str) -> list[str]:
    """Return addresses that have commas between them; raise RankTableError if one is none."""
    addresses = [part.strip() for part in text.split(",")]
    for address in addresses:
        if not valid_address(address, (4, 6)):
            raise RankTableError(f"--device-ips: {address!r} is not an IPv4 or IPv6 address")
    return addresses
