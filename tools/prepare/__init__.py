"""python -m tools prepare: turns a folder of pictures into MindRecord shards and a manifest.

Read make.py first: it shows the whole way. scan.py and table.py find pictures, mask_files.py their
masks; intake.py decodes everything once (worker.py, in several processes) into a temporary
catalogue; splits.py, report.py and tools.duplicates decide who goes where; output.py writes.
rerun.py and changes.py tell whether anything has to be done at all.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import fields
from pathlib import Path

from tools import images, masks
from tools.counts import class_table, pixel_table
from tools.parallel import add_workers_option
from tools.prepare.make import already_made, prepare
from tools.prepare.options import DUPLICATES, Options
from train.data.manifest import Manifest
from train.data.records import IMAGE_FORMATS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.description = (
        "Turn pictures, with a class each, masks or both, into MindRecord shards and a manifest. "
        "SRC holds class/file, split/class/file (train, val, test) or whatever a table lists; "
        "with masks it may also hold the pictures themselves. Run again with the same arguments "
        "and an unchanged source it does nothing."
    )
    about = [(module.__doc__ or "").split("\n\n", 1)[1] for module in (images, masks)]
    parser.epilog = "\n".join(about)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("src", metavar="SRC", type=Path, help="folder of the pictures")
    add("--out", metavar="DIR", type=Path, required=True, help="folder to make")
    add("--name", default="", help="name of the data set (default: DIR's name)")
    _add_split_options(parser)
    _add_mask_options(parser)
    add(
        "--size",
        metavar="PX",
        type=int,
        help="resize the shorter side to PX pixels (default: keep pictures as they are)",
    )
    add("--format", choices=IMAGE_FORMATS, default="jpeg", help="stored form (default: jpeg)")
    add("--quality", metavar="Q", type=int, default=95, help="JPEG quality, 1..100 (default: 95)")
    add(
        "--shards",
        metavar="N",
        type=int,
        help="files per split (default: one for every 10,000 pictures)",
    )
    add_workers_option(parser, "decode")
    add("--skip-unreadable", action="store_true", help="leave unreadable pictures out")
    add("--overwrite", action="store_true", help="replace DIR once the new one is complete")


def _add_split_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--table",
        metavar="CSV",
        type=Path,
        help="table of the pictures: columns path (or file) and label (or class), if wanted split "
        "(train, val, test) and group (pictures that must stay in one split)",
    )
    add(
        "--ratios",
        metavar="A,B,C",
        type=_ratios,
        help="where no splits are given: shares of train,val,test in each class "
        "(default: 0.6,0.2,0.2)",
    )
    add("--seed", type=int, default=0, help="seed of those splits (default: 0)")
    add(
        "--duplicates",
        choices=DUPLICATES,
        default="refuse",
        help="pictures that look the same (equal, resized or compressed again; not turned) in "
        "different splits: refuse them, keep them together in one split where splits are made "
        "here, or allow them (default: refuse)",
    )
    add(
        "--against",
        metavar="DIR",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        help="prepared data sets that must not hold the same pictures in another split",
    )


def _add_mask_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--masks",
        metavar="[NAME=]DIR",
        action="append",
        default=[],
        help='folder of masks, named as the pictures are; NAME ("mask" if left out) tells several '
        "apart",
    )
    add(
        "--mask-classes",
        metavar="[NAME=]FILE",
        action="append",
        default=[],
        help="JSON file of their classes: [name, ...] for the values 0, 1, ..., {name: value} or "
        '{name: "#rrggbb" or [r, g, b]}',
    )
    add(
        "--ignore",
        metavar="[NAME=]VALUE",
        action="append",
        default=[],
        help="value or #rrggbb of pixels without class; any other value that is not listed is an "
        "error",
    )


def _ratios(text: str) -> tuple[float, float, float]:
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: must be three numbers a,b,c") from None
    return train, val, test


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Runs the command; returns the exit code."""
    values = {
        field.name: getattr(arguments, field.name)
        for field in fields(Options)
        if field.name not in ("command", "source_name")
    }
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    command = shlex.join(["python", "-m", "tools", *argv])
    options = Options(**(values | lists), command=command)
    made = already_made(options)
    if made is not None:
        print(f"{options.out}: already there and complete, made of the same source in the same way")
        return 0
    print(summary(prepare(options), options.out))
    return 0


def summary(manifest: Manifest, out: Path) -> str:
    """What was made, for people: a table of classes and splits, notes, and the folder."""
    total = sum(split.records for split in manifest.splits.values())
    lines = [f"{manifest.name}: {total} pictures, {len(manifest.classes)} classes"]
    lines.append(class_table(manifest))
    lines += [pixel_table(manifest, space) for space in manifest.masks]
    notes = [f"{key.replace('_', ' ')}: {n}" for key, n in manifest.notes.items() if n]
    return "\n".join([*lines, *([f"note: {', '.join(notes)}"] if notes else []), str(out)])
