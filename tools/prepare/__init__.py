"""python -m tools prepare: turns a folder of pictures into MindRecord shards and a manifest.

Read make.py first: it shows the whole way. sources.py finds pictures (by a layout or in a table)
and their masks; layout_choice.py refuses what could mean several things. decode.py decodes
everything once, in several processes, into a temporary catalogue; splits.py and
tools/common/duplicates/ decide who goes where; findings.py looks for what is odd; output.py writes.
rerun.py tells whether anything has to be done at all.
"""

import argparse
import shlex
from pathlib import Path
from typing import Any

from tools.common.command_line import add_workers_option, describe
from tools.common.console import class_table, pixel_table
from tools.prepare import images, masks
from tools.prepare.make import already_made, prepare
from tools.prepare.options import Options
from tools.prepare.recipe import MAX_PIXELS
from train.data.manifest import Manifest
from train.data.records import IMAGE_FORMATS
from train.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    about = [(module.__doc__ or "").split("\n\n", 1)[1] for module in (images, masks)]
    describe(
        parser,
        "Turn pictures, with a class each, masks or both, into MindRecord shards and a\n"
        "manifest. SRC holds class/file, split/class/file (train, val, test), or whatever\n"
        "--layout says or a table lists; with masks it may also hold the pictures\n"
        "themselves. Run again with the same arguments and an unchanged source it does\n"
        "nothing.",
        "\n".join(about),
    )
    add = parser.add_argument
    add("src", metavar="SRC", type=Path, help="folder of the pictures")
    add("--out", metavar="DIR", type=Path, required=True, help="folder to make")
    add("--name", default="", help="name of the data set (default: DIR's name)")
    _add_split_options(parser)
    _add_mask_options(parser)
    text = (
        "paths of the pictures in SRC, as {split}/{class}/* or {class}/**/*: {class}, {split}, "
        "{group} and {name} are parts of one name, as * is, and **/ any folders"
    )
    add("--layout", metavar="PATTERN", help=text)
    text = "bands that become red, green and blue, counted from 1 (default: the first three)"
    add("--bands", metavar="R,G,B", type=_bands, help=text)
    text = "values of 16-bit or floating-point pictures that become 0 and 255 (default: 0,65535)"
    add("--range", metavar="LOW,HIGH", type=_range, help=text)
    text = f"most pixels of a picture, as it comes (default: {MAX_PIXELS})"
    add("--max-pixels", metavar="N", type=int, default=MAX_PIXELS, help=text)
    text = "resize the shorter side to PX pixels (default: keep pictures as they are)"
    add("--size", metavar="PX", type=int, help=text)
    add("--format", choices=IMAGE_FORMATS, default="jpeg", help="stored form (default: jpeg)")
    add("--quality", metavar="Q", type=int, default=95, help="JPEG quality, 1..100 (default: 95)")
    text = "files per split (default: one for every 10,000 pictures)"
    add("--shards", metavar="N", type=int, help=text)
    add_workers_option(parser, "decode")
    add("--skip-unreadable", action="store_true", help="leave unreadable pictures out")
    add("--skip-unmasked", action="store_true", help="leave pictures without a mask out")
    add("--overwrite", action="store_true", help="replace DIR once the new one is complete")


def _add_split_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = (
        "table of the pictures: columns path (or file) and label (or class), if wanted split "
        "(train, val, test), group (pictures that must stay in one split) and mask (or mask_NAME)"
    )
    add("--table", metavar="CSV", type=Path, help=text)
    text = "where no splits are given: shares of train,val,test in each class "
    add("--ratios", metavar="A,B,C", type=_ratios, help=f"{text}(default: 0.6,0.2,0.2)")
    add("--seed", type=int, default=0, help="seed of those splits (default: 0)")
    text = (
        "pictures that look the same (equal, resized or compressed again; not turned) in "
        "different splits: refuse them, keep them together in one split where splits are made "
        "here, or allow them (default: refuse)"
    )
    add("--duplicates", choices=("refuse", "together", "allow"), default="refuse", help=text)
    text = "prepared data sets that must not hold the same pictures in another split"
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    add("--against", metavar="DIR", type=Path, help=text, **several)


def _add_mask_options(parser: argparse.ArgumentParser) -> None:
    texts = {
        "--masks PLACE": "folder of masks, named as the pictures are, or a pattern of their "
        "paths, as {parent}/../masks/{stem}.png: {parent} is the picture's folder, {stem} its name "
        'without the ending, the others are those of --layout; NAME ("mask" if left out) tells '
        "several apart",
        "--mask-classes FILE": "JSON file of their classes: [name, ...] for the values 0, 1, ..., "
        '{name: value} or {name: "#rrggbb" or [r, g, b]}',
        "--ignore VALUE": "value or #rrggbb of pixels without class; any other value that is not "
        "listed is an error",
    }
    for option, text in texts.items():
        name, value = option.split()
        parser.add_argument(name, metavar=f"[NAME=]{value}", action="append", default=[], help=text)


def _bands(text: str) -> tuple[int, int, int]:
    try:
        red, green, blue = (int(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"--bands {text}: must be R,G,B, the numbers of three bands, as in 4,3,2"
        ) from None
    return red, green, blue


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"--range {text}: must be LOW,HIGH, the values that become black and white"
        ) from None
    return low, high


def _ratios(text: str) -> tuple[float, float, float]:
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--ratios {text}: must be three numbers, as in 0.6,0.2,0.2") from None
    return train, val, test


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code."""
    given: dict[str, Any] = dict(vars(arguments))
    given |= {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    options = Options(**given, command=shlex.join(["python", "-m", "tools", *argv]))
    if (made := already_made(options)) is not None:
        print(f"{options.out}: already there and complete, made of the same source in the same way")
        for text in _warnings(made):
            print(text)
        return 0
    print(summary(prepare(options), options.out))
    return 0


def summary(manifest: Manifest, out: Path) -> str:
    """Say what was made: a table of classes and splits, notes, and the folder."""
    total = sum(split.records for split in manifest.splits.values())
    lines = [f"{manifest.name}: {total} pictures, {len(manifest.classes)} classes"]
    lines.append(class_table(manifest))
    lines += [pixel_table(manifest, space) for space in manifest.masks]
    notes = [f"{key.replace('_', ' ')}: {n}" for key, n in manifest.notes.items() if n]
    lines += [f"note: {', '.join(notes)}"] if notes else []
    return "\n".join([*lines, *_warnings(manifest), str(out)])


def _warnings(manifest: Manifest) -> list[str]:
    return [f"warning: {text}" for text in manifest.source.get("warnings", [])]
