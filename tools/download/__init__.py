"""python -m tools download: fetches known public data sets, checks and unpacks them."""

import argparse
import sys
from pathlib import Path

from tools.common import console
from tools.common.command_line import describe
from tools.download import obtain, registry
from tools.download.fetch import Policy
from train.errors import FAILURE, UserError, error_text

_EPILOG = """\
An archive is fetched from the first of its sources that gives it, resumed where it broke off (also
by the next call), compared with its size and digests, unpacked beside DIR/NAME and renamed. The
command to run next is printed. Names in an archive that are not UTF-8 are read as GBK, or else as
code page 437, and this is said. Proxies are taken from https_proxy, http_proxy and no_proxy.

Some data sets are only given out by pages that want a person: fetch the file there and give it
with --archive; it is checked in the same way.

exit code: 0; 2 a mistake in what was asked for; 1 no source gave the file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    describe(parser, "Fetch known public data sets by name.", _EPILOG)
    add = parser.add_argument
    add("names", metavar="NAME", nargs="*", help="data sets to fetch; --list shows them")
    out = Path("data/downloads")
    add("--out", metavar="DIR", type=Path, default=out, help=f"where to (default: {out})")
    add("--list", action="store_true", help="show the known data sets and end")
    add("--archive", metavar="FILE", type=Path, help="take this file instead of fetching one")
    add("--keep-archive", action="store_true", help="do not remove the archive once unpacked")
    add("--overwrite", action="store_true", help="replace DIR/NAME once the new one is complete")
    add("--tries", metavar="N", type=int, default=Policy.tries, help="for each source (default: 5)")
    text = "seconds without a byte that count as a broken connection (default: 60)"
    add("--timeout", metavar="S", type=float, default=Policy.timeout, help=text)
    text = (
        "another list of data sets, such as one with mirrors of your own; "
        "tools/download/datasets.yaml shows its form"
    )
    add("--registry", metavar="FILE", type=Path, default=registry.BUILT_IN, help=text)


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code."""
    known = registry.read(arguments.registry)
    if arguments.list:
        rows: list[list[object]] = [["name", "classes", "images", "pixels", "MB", "how"]]
        for name, about in known.datasets.items():
            pixels, size, _, how = facts(about)
            rows.append([name, about.classes, f"{about.images:,}", pixels, size, how])
        print(console.table(rows))
        return 0
    _check(arguments)
    wanted = dict(known.find(name) for name in arguments.names)
    policy = Policy(tries=arguments.tries, timeout=arguments.timeout)
    failed, waiting = False, dict(wanted)
    for name, about in wanted.items():
        del waiting[name]
        # Some archives hold two data sets, and one fetching of them is enough.
        files = {archive.file for other in waiting.values() for archive in other.archives}
        keep = arguments.keep_archive or any(a.file in files for a in about.archives if a.file)
        out, archive = arguments.out, arguments.archive
        options = obtain.Options(out, archive, keep, arguments.overwrite, policy)
        try:
            print(obtain.obtain(name, about, options), flush=True)
        except obtain.Failed as error:
            print(error_text(f"{name}: {error}"), file=sys.stderr)
            failed = True
    return FAILURE if failed else 0


def _check(arguments: argparse.Namespace) -> None:
    if not arguments.names:
        raise UserError("name the data sets to fetch (--list shows the known ones)")
    if arguments.archive is not None:
        if len(arguments.names) != 1:
            raise UserError("--archive goes with one NAME")
        if not arguments.archive.is_file():
            raise UserError(f"{arguments.archive}: no such file")
    if arguments.tries < 1 or not arguments.timeout > 0:
        raise UserError("--tries must be at least 1 and --timeout above 0")


def facts(about: registry.DataSet) -> list[str]:
    """Return image size, size of the download, how it is checked and obtained, in words."""
    first = about.archives[0]
    size = f"{first.bytes / 1e6:.0f}" if first.bytes else "?"
    checked = " and ".join(first.checksums) or ("git tree" if first.git_tree else "counts only")
    return [about.pixels.split(" (")[0], size, checked, "automatic" if first.urls else "by hand"]
