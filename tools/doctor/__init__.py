"""python -m tools doctor: is this machine, or this container, fit to train?"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.doctor import ascend, cann, gpu, installation, node
from tools.doctor.finding import FAIL, OK, WARN, Finding, Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``doctor``."""
    parser.description = (
        "Checks the installation and this machine, and says what to do about what it finds. "
        "Exit code: 0, also with warnings; 1 if something fails."
    )
    add = parser.add_argument
    text = "what is to train; auto: Ascend where there is an NPU, otherwise CPU"
    add("--device", choices=("auto", "Ascend", "GPU", "CPU"), default="auto", help=text)
    add("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs are written")
    add("--quick", action="store_true", help="only what takes no time: does not load MindSpore")
    add("--json", action="store_true", help="print JSON")
    add("--root", type=Path, default=Path("/"), metavar="DIR", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code."""
    machine = Machine(arguments.root, os.environ, arguments.device)
    findings = list(examine(machine, arguments.runs, arguments.quick))
    failed = any(finding.state == FAIL for finding in findings)
    if arguments.json:
        checks = [vars(finding) for finding in findings]
        document = {"ok": not failed, "device": machine.device, "findings": checks}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        show(machine, findings)
    return int(failed)


def examine(machine: Machine, runs: Path, quick: bool) -> Iterator[Finding]:
    """Make all checks that apply to the machine.

    Args:
        machine: What is looked at.
        runs: Folder in which runs are to be written.
        quick: Leave out what takes longer than a moment.
    """
    yield from installation.examine()
    yield from node.examine(machine, runs)
    if machine.device == "Ascend":
        yield from ascend.examine(machine)
        yield from cann.examine(machine)
        if not quick:
            yield from cann.import_packages(machine)
            yield from ascend.ask_npu_smi(machine)
            yield from ascend.ask_hccn_tool(machine)
    if machine.device == "GPU":
        yield from gpu.examine(machine)
        if not quick:
            yield from gpu.ask_nvidia_smi()
            yield from gpu.find_libraries()
    if not quick:
        yield from installation.examine_mpi()
        yield from installation.examine_mindspore(machine)


def show(machine: Machine, findings: Sequence[Finding]) -> None:
    """Print the findings as a table, a remedy below each that needs one."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    # Without a terminal the width is nobody's: wide enough that no line is broken.
    console = Console(width=None if sys.stdout.isatty() else 160)
    colours = {OK: "green", WARN: "yellow", FAIL: "red"}
    table = Table(title=f"to train on: {machine.device}", title_justify="left")
    for title in ("check", "state", "found"):
        table.add_column(title)
    for finding in findings:
        text = escape(finding.found)
        if finding.remedy:
            text += f"\n[bold]->[/bold] {escape(finding.remedy)}"
        state = f"[{colours[finding.state]}]{finding.state}[/]"
        table.add_row(finding.check, state, text)
    console.print(table)
    counts = [f"{sum(f.state == state for f in findings)} {state}" for state in (OK, WARN, FAIL)]
    console.print(", ".join(counts), highlight=False)
