"""python -m tools download: fetches known public data sets, checks and unpacks them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools.common import console
from tools.download import obtain, registry
from tools.download.fetch import Policy
from train.errors import UserError

_EPILOG = """\
An archive is fetched from the first of its sources that gives it, resumed where it broke off (also
by the next call), compared with its size and digests, unpacked beside DIR/NAME and renamed. The
command to run next is printed. Proxies are taken from https_proxy, http_proxy and no_proxy.

Some data sets are only given out by pages that want a person: fetch the file there and give it
with --archive; it is checked in the same way.

exit code: 0; 2 a mistake in what was asked for; 1 no source gave the file."""

_FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.description = "Fetch known public data sets by name."
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("names", metavar="NAME", nargs="*", help="data sets to fetch; --list shows them")
    out = Path("data/downloads")
    add("--out", metavar="DIR", type=Path, default=out, help=f"where to (default: {out})")
    add("--list", action="store_true", help="show the known data sets and end")
    add("--archive", metavar="FILE", type=Path, help="take this file instead of fetching one")
    add("--keep-archive", action="store_true", help="do not remove the archive once unpacked")
    add("--overwrite", action="store_true", help="replace DIR/NAME once the new one is complete")
    add("--tries", metavar="N", type=int, default=Policy.tries, help="for each source (default: 5)")
    add(
        "--timeout",
        metavar="S",
        type=float,
        default=Policy.timeout,
        help="seconds without a byte that count as a broken connection (default: 60)",
    )
    add(
        "--registry",
        metavar="FILE",
        type=Path,
        default=registry.BUILT_IN,
        help="another list of data sets, such as one with mirrors of your own; "
        "tools/download/datasets.yaml shows its form",
    )


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Runs the command; returns the exit code."""
    known = registry.read(arguments.registry)
    if arguments.list:
        print(listing(known))
        return 0
    _check(arguments)
    wanted = dict(known.find(name) for name in arguments.names)
    policy = Policy(tries=arguments.tries, timeout=arguments.timeout)
    failed, waiting = False, list(wanted)
    for name, about in wanted.items():
        waiting.remove(name)
        # Some archives hold two data sets, and one fetching of them is enough.
        files = {archive.file for other in waiting for archive in wanted[other].archives}
        shared = any(archive.file in files for archive in about.archives if archive.file)
        options = obtain.Options(
            arguments.out,
            arguments.archive,
            arguments.keep_archive or shared,
            arguments.overwrite,
            policy,
        )
        try:
            print(obtain.obtain(name, about, options), flush=True)
        except obtain.Failed as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            failed = True
    return _FAILED if failed else 0


def _check(arguments: argparse.Namespace) -> None:
    if not arguments.names:
        raise UserError("name the data sets to fetch (--list shows the known ones)")
    if arguments.archive is not None and len(arguments.names) != 1:
        raise UserError("--archive goes with one NAME")
    if arguments.archive is not None and not arguments.archive.is_file():
        raise UserError(f"{arguments.archive}: no such file")
    if arguments.tries < 1 or not arguments.timeout > 0:
        raise UserError("--tries must be at least 1 and --timeout above 0")


def listing(known: registry.Registry) -> str:
    """The known data sets as a table for a terminal."""
    rows: list[list[object]] = [["name", "classes", "images", "pixels", "MB", "checked by", "how"]]
    for name, about in known.datasets.items():
        rows.append([name, about.classes, f"{about.images:,}", *facts(about)])
    return console.table(rows)


def markdown(known: registry.Registry) -> str:
    """The known data sets as the table of docs/data.md."""
    heads = ["name", "data set", "classes", "images", "pixels", "MB", "checked by", "how", "terms"]
    rows = [heads, ["---"] * len(heads)]
    for name, about in known.datasets.items():
        counts = [str(about.classes), f"{about.images:,}"]
        terms = about.licence or "none on public record"
        title = f"[{about.title}]({about.homepage})"
        rows.append([f"`{name}`", title, *counts, *facts(about), terms])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def facts(about: registry.DataSet) -> list[str]:
    """Image size, size of the download, how it is checked and how it is obtained, in words."""
    first = about.archives[0]
    size = f"{first.bytes / 1e6:.0f}" if first.bytes else "?"
    checked = " and ".join(first.checksums) or ("git tree" if first.git_tree else "counts only")
    return [about.pixels.split(" (")[0], size, checked, "automatic" if first.urls else "by hand"]
