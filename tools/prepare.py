"""python -m tools prepare: turns a folder of pictures into MindRecord shards and a manifest."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import fields
from pathlib import Path

from tools import console, images
from tools.parallel import add_workers_option
from tools.scenes import Options, prepare
from train.data.records import IMAGE_FORMATS, Manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.description = (
        "Turn a folder of pictures (one folder per class) into MindRecord shards and a manifest."
    )
    parser.epilog = (images.__doc__ or "").split("\n\n", 1)[1]
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("src", metavar="SRC", type=Path, help="folder of class folders")
    add("--out", metavar="DIR", type=Path, required=True, help="folder to make")
    add("--name", default="", help="name of the data set (default: DIR's name)")
    add("--splits", metavar="CSV", type=Path, help="table of file,class,split (train, val or test)")
    add(
        "--ratios",
        metavar="A,B,C",
        type=_ratios,
        help="without --splits: shares of train,val,test in each class (default: 0.6,0.2,0.2)",
    )
    add("--seed", type=int, default=0, help="seed of that split (default: 0)")
    add(
        "--size",
        metavar="PX",
        type=int,
        help="resize the shorter side to PX pixels (default: keep pictures as they are)",
    )
    add("--format", choices=IMAGE_FORMATS, default="jpeg", help="stored form (default: jpeg)")
    add("--quality", metavar="Q", type=int, default=95, help="JPEG quality, 1..100 (default: 95)")
    add("--shards", metavar="N", type=int, default=1, help="files per split (default: 1)")
    add_workers_option(parser, "decode")
    add("--skip-unreadable", action="store_true", help="leave unreadable pictures out")
    add(
        "--allow-duplicates",
        action="store_true",
        help="allow pictures of equal pixels in different splits",
    )
    add("--overwrite", action="store_true", help="replace DIR once the new one is complete")


def _ratios(text: str) -> tuple[float, float, float]:
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: must be three numbers a,b,c") from None
    return train, val, test


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Runs the command; returns the exit code."""
    command = shlex.join(["python", "-m", "tools", *argv])
    names = [
        field.name for field in fields(Options) if field.name not in ("command", "source_name")
    ]
    options = Options(**{name: getattr(arguments, name) for name in names}, command=command)
    manifest = prepare(options)
    print(summary(manifest, options.out))
    return 0


def summary(manifest: Manifest, out: Path) -> str:
    """What was made, for people: a table of classes and splits, notes, and the folder."""
    splits = list(manifest.splits.values())
    rows: list[list[object]] = [["class", *manifest.splits, "total"]]
    for label, name in enumerate(manifest.classes):
        counts = [split.per_class[label] for split in splits]
        rows.append([name, *counts, sum(counts)])
    totals = [split.records for split in splits]
    rows.append(["total", *totals, sum(totals)])
    notes = [f"{key.replace('_', ' ')}: {n}" for key, n in manifest.notes.items() if n]
    lines = [f"{manifest.name}: {sum(totals)} pictures, {len(manifest.classes)} classes"]
    lines += [console.table(rows), *([f"note: {', '.join(notes)}"] if notes else []), str(out)]
    return "\n".join(lines)
