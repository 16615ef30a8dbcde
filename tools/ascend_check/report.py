"""Shows what a check has found."""

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.ascend_check.result import Messages, Result, Work

_INTERFACES = {
    "aclnn": "aclnn",
    "aclop": "aclop (the older interface)",
    "online": "aclop, compiled online (needs CANN's Python packages)",
    "kernel": "kernels fused by MindSpore",
    "graph": "whole graphs of GE",
}


def show(result: Result) -> None:
    """Print a result."""
    # Without a terminal the width is nobody's: wide enough that no line is broken.
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    ranks = f"{result.ranks} rank(s)"
    state = "[green]compiles and runs[/]" if result.passed else "[red]does not run[/]"
    console.print(f"[bold]{escape(result.chip)}, jit_level {result.level}, {ranks}[/]: {state}")
    if result.refused:
        names = ", ".join(result.refused)
        console.print(f"  [red]cannot be converted, or has no kernel:[/] {escape(names)}")
    for part, error in result.errors.items():
        console.print(f"  [red]{part}:[/] {escape(error)}")
    if result.memory is not None:
        console.print(
            f"  memory at the peak, by MindSpore's allocator: {result.memory / 1e6:,.1f} MB"
        )
    for title, work in {
        "training step": result.step,
        "evaluation batch": result.evaluation,
    }.items():
        if work is None and result.passed:
            console.print(f"  {title}: launches unknown (only the stand-in counts them)")
        if work is None:
            continue
        console.print(_summary(title, work))
        console.print(_operators(title, work))
    if result.consolidation is not None:
        console.print(f"consolidation point: {_texts(result.consolidation)}")


def _summary(title: str, work: Work) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_row("launches", number(work.total))
    for interface, text in _INTERFACES.items():
        if count := work.of(interface):
            table.add_row(f"  {text}", number(count))
    if work.nodes:
        table.add_row("operators in the graph", number(work.nodes))
    table.add_row("casts", number(work.casts))
    table.add_row("times that the host waits", counts(work.syncs))
    table.add_row("copies", f"{counts(work.copies)} ({work.copied / 1e6:,.3f} MB)")
    table.add_row("collectives", _texts(work.messages))
    return table


def _operators(title: str, work: Work) -> Table:
    table = Table(title=f"{title}: launches by operator", title_justify="left")
    for heading in ("interface", "operators"):
        table.add_column(heading)
    for interface, operators in work.launches.items():
        table.add_row(interface, counts(dict(sorted(operators.items(), key=lambda o: -o[1]))))
    return table


def number(value: float) -> str:
    """Return a mean, without decimals where it has none."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def counts(found: Mapping[str, float]) -> str:
    """Return counts in one line, such as "2 device, 3 stream"."""
    return ", ".join(f"{number(count)} {name}" for name, count in found.items()) or "none"


def _texts(messages: Messages) -> str:
    if not messages.operations:
        return "none"
    texts = [f"{operation} {count:,} {kind}" for operation, kind, count in messages.operations]
    return f"{', '.join(texts)} ({messages.bytes / 1e6:,.3f} MB)"
