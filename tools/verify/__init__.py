"""python -m tools verify: reads prepared data sets from end to end and says what is damaged."""

import argparse
from contextlib import closing
from pathlib import Path

from tools.common import console
from tools.common.catalogue import Catalogue
from tools.common.command_line import MAX_WORKERS, add_workers_option, check_ranges
from tools.common.duplicates import pairs
from tools.verify.check import Result, check
from train.data.manifest import RecordSet
from train.temporary import temporary_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.description = (
        "Check prepared data sets: the hashes of all files, every record (checksum, picture, "
        "masks, label), and the counts of the manifest. Of several data sets, pictures that look "
        "the same are told as well. Exit code: 0 if all is whole, 1 if something is damaged."
    )
    parser.add_argument("dirs", metavar="DIR", type=Path, nargs="+", help="prepared data sets")
    add_workers_option(parser, "decode")


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code."""
    check_ranges(arguments, {"workers": (1, MAX_WORKERS)})
    results = []
    for folder in arguments.dirs:
        results.append(check(folder, arguments.workers))
        print(table(results[-1]))
    whole = [r for r in results if not r.problems]
    if len(whole) > 1:
        print(_shared(whole))
    return 0 if len(whole) == len(results) else 1


def table(result: Result) -> str:
    """Say what was found in a data set."""
    lines = []
    if result.manifest is not None:
        rows: list[list[object]] = [[str(result.folder), "records", "shards", "bytes", "result"]]
        for name, split in result.manifest.splits.items():
            size = sum(shard.bytes + shard.index_bytes for shard in split.shards)
            found = result.by_split[name]
            rows.append([name, f"{split.records:,}", len(split.shards), f"{size:,}", found])
        lines.append(console.table(rows))
    lines += [f"damaged: {problem}" for problem in result.problems]
    return "\n".join(lines)


def _shared(results: list[Result]) -> str:
    """Say which pictures several data sets share."""
    sets = [RecordSet(str(r.folder), r.folder, r.manifest) for r in results if r.manifest]
    with temporary_folder() as folder, closing(Catalogue(folder)) as catalogue:
        pairs.find_pairs(catalogue, sets)
        counts = pairs.count_pairs(catalogue)
        total = counts.elsewhere + counts.elsewhere_across
        if not total:
            return "no pictures that look the same in two of the data sets"
        found = pairs.pairs_table(catalogue, elsewhere_only=True)
    return (
        f"{found}\n{total} pair(s) of pictures that look the same in two data sets, "
        f"{counts.elsewhere_across} of them in different splits"
    )
