"""Shows a rank table to a person."""

import argparse
from pathlib import Path

from rank_tables import rules
from rank_tables.load import from_document
from rank_tables.model import RankTable, summary
from rank_tables.parse import read

DESCRIPTION = "Shows which NPU of which server is which rank."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("path", metavar="PATH", type=Path, help="file, or folder")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    document = read(arguments.path)
    table = from_document(document)
    _print(table)
    if table.converted:
        print("converted from ModelArts' form: ranks by the numbers of the pods")
    for note in rules.check(document).notes:
        print(f"note: {note}")
    return 0


def _print(table: RankTable) -> None:
    # Imported here since it takes longer than everything else together.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    server_column = "network" if table.version == "2.0" else "server"
    shown = Table()
    shown.add_column("rank", justify="right", no_wrap=True)
    shown.add_column(server_column, overflow="fold")
    shown.add_column("device", justify="right", no_wrap=True)
    shown.add_column("address", overflow="fold")
    for server in table.servers:
        for index, device in enumerate(server.devices):
            # Text, since square brackets are markup otherwise.
            name = Text(server.server_id if index == 0 else "")
            address = Text(device.device_ip or "-")
            shown.add_row(str(device.rank_id), name, str(device.device_id), address)
        shown.add_section()
    print(f"{table.source}: {summary(table.version, table.servers)}")
    Console().print(shown)
