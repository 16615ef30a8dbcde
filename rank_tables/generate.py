"""Makes the rank table of this server."""

import argparse
from pathlib import Path

from rank_tables import rules
from rank_tables.addresses import find_addresses, host_name, parse_addresses
from rank_tables.console import emit
from rank_tables.devices import find_numbers, parse_numbers
from rank_tables.model import RankTableError
from rank_tables.text import to_text, version_1_tree

DESCRIPTION = """\
Makes the rank table of this server, version 1.0. Without options: all its NPUs (/dev/davinciN,
or else what npu-smi lists), with the addresses that hccn_tool prints, or else /etc/hccn.conf holds.

For several servers run it on each, with --out, and join the tables with the command merge.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument(
        "--devices", metavar="LIST", help="physical numbers, such as 0,2,4-7 (default: all)"
    )
    parser.add_argument(
        "--device-ips",
        metavar="LIST",
        help="addresses of the devices, with commas, in the order of --devices (default: asked)",
    )
    parser.add_argument(
        "--ipv6", action="store_true", help="IPv6 addresses (default: IPv4 where all have one)"
    )
    parser.add_argument(
        "--hccn-conf", metavar="FILE", type=Path, help="read addresses from this file only"
    )
    parser.add_argument(
        "--server-id",
        metavar="NAME",
        help="name of this server, different on each (default: its address)",
    )
    parser.add_argument("--out", metavar="FILE.json", type=Path, help="file (default: printed)")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    devices, addresses = _devices_and_addresses(arguments)
    server_id = host_name() if arguments.server_id is None else arguments.server_id
    text = table_of_server(server_id, devices, addresses)
    emit(text, arguments.out)
    return 0


def _devices_and_addresses(arguments: argparse.Namespace) -> tuple[list[int], list[str]]:
    if arguments.device_ips is not None:
        addresses = parse_addresses(arguments.device_ips)
        numbers = range(len(addresses))
        devices = parse_numbers(arguments.devices) if arguments.devices else list(numbers)
        if len(devices) != len(addresses):
            raise RankTableError(
                f"--device-ips has {len(addresses)} addresses for {len(devices)} devices: "
                "give one for each"
            )
        return devices, addresses
    devices = parse_numbers(arguments.devices) if arguments.devices else find_numbers()
    families = (6,) if arguments.ipv6 else (4, 6)
    return devices, find_addresses(devices, arguments.hccn_conf, families)


def table_of_server(server_id: str, devices: list[int], addresses: list[str]) -> str:
    """Returns the rank table of one server as text, its ranks in the order of the device numbers.

    Args:
        server_id: name of the server.
        devices: physical numbers.
        addresses: their addresses, in the same order.

    Raises:
        RankTableError: HCCL would not take the table.
    """
    pairs = sorted(zip(devices, addresses, strict=True))
    tree = [
        {"device_id": str(device), "device_ip": address, "rank_id": str(rank)}
        for rank, (device, address) in enumerate(pairs)
    ]
    text = to_text(version_1_tree([{"server_id": server_id, "device": tree}]))
    rules.require_valid_text(text, "the table of this server")
    return text
