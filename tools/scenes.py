"""Makes the records of a scene data set: pictures in class folders, one label each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from tools import console, images, sources
from tools.folders import check_free, whole_folder
from tools.images import Job, Picture, Recipe
from tools.parallel import MAX_WORKERS, ordered_map
from tools.shards import (
    HEADER_BYTES,
    MAX_PAGE_BYTES,
    MAX_SHARDS,
    Layout,
    sha256_file,
    write_split,
)
from tools.sources import Sample, Source
from tools.tally import Tally
from train.data.records import (
    FORMAT,
    IMAGE_FORMATS,
    LISTING,
    MANIFEST,
    Listing,
    Manifest,
    Split,
)
from train.errors import UserError

_MAX_SIZE = 8192
_PICTURES_PER_JOB = 16
_JOB_BYTES = 4 * 2**20
_SMALL_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Options:
    """What to prepare, and how; the command line's options of the same names.

    Attributes:
        src: Folder of class folders.
        out: Folder to make.
        name: Name of the data set; empty: ``out``'s name.
        splits: CSV with the columns file, class, split; None: split by ``ratios`` and ``seed``.
        ratios: Shares of train, val, test; None: 0.6, 0.2, 0.2.
        seed: Seed of the split.
        size: Pixels of the shorter side, or None to keep pictures as they are.
        format: ``"jpeg"`` or ``"png"``.
        quality: JPEG quality, 1..100.
        shards: Most files per split.
        workers: Processes that decode.
        skip_unreadable: Whether unreadable pictures are left out and counted.
        allow_duplicates: Whether equal pictures may stand in different splits.
        overwrite: Whether an older prepared data set at ``out`` is replaced.
        command: What the user typed, for the manifest.
        source_name: What the manifest calls ``src``; empty: its path as given.
    """

    src: Path
    out: Path
    name: str = ""
    splits: Path | None = None
    ratios: tuple[float, float, float] | None = None
    seed: int = 0
    size: int | None = None
    format: str = "jpeg"
    quality: int = 95
    shards: int = 1
    workers: int = 1
    skip_unreadable: bool = False
    allow_duplicates: bool = False
    overwrite: bool = False
    command: str = ""
    source_name: str = ""


def prepare(options: Options) -> Manifest:
    """Makes the prepared data set ``options.out``, whole or not at all.

    Raises:
        UserError: An option, a table or a picture is no good; nothing is left behind.
    """
    check_options(options)
    check_free(options.out, options.overwrite, _is_prepared)
    source = _find(options)
    with whole_folder(options.out, options.overwrite, _is_prepared) as folder:
        manifest = _fill(folder, source, options)
        manifest.write(folder)
    return manifest


def check_options(options: Options) -> None:
    """Raises a UserError that names an option out of its range."""
    limits = {
        "size": (1, _MAX_SIZE),
        "quality": (1, 100),
        "shards": (1, MAX_SHARDS),
        "workers": (1, MAX_WORKERS),
    }
    for name, (low, high) in limits.items():
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            raise UserError(f"--{name} {value}: must be in {low}..{high}")
    if options.format not in IMAGE_FORMATS:
        raise UserError(f"--format {options.format}: must be one of {', '.join(IMAGE_FORMATS)}")
    if options.name and not re.fullmatch(r"[\w.-]+", options.name):
        raise UserError(f"--name {options.name!r}: may hold letters, digits, '_', '-' and '.'")
    if options.ratios is not None:
        _check_ratios(options.ratios, options.splits)
    src, out = options.src.resolve(), options.out.resolve()
    if src.is_relative_to(out):
        raise UserError(f"--out {options.out}: is or holds SRC ({options.src})")


def _check_ratios(ratios: tuple[float, float, float], table: Path | None) -> None:
    text = ",".join(f"{ratio:g}" for ratio in ratios)
    if table is not None:
        raise UserError(f"--ratios {text}: not with --splits, which gives every picture's split")
    # Written so that NaN fails too.
    if not (all(ratio >= 0 for ratio in ratios) and abs(sum(ratios) - 1) < 1e-6):
        raise UserError(f"--ratios {text}: must not be negative and must add up to 1")
    if ratios[0] == 0:
        raise UserError(f"--ratios {text}: the first one, train, must be above 0")


def _find(options: Options) -> Source:
    if options.splits is not None:
        return sources.from_csv(options.src, options.splits)
    return sources.from_folders(options.src, options.ratios or sources.DEFAULT_RATIOS, options.seed)


def _fill(folder: Path, source: Source, options: Options) -> Manifest:
    """Writes the shards of every split into ``folder`` and describes them."""
    name = options.name or re.sub(r"[^\w.-]+", "_", options.out.name)
    tally = Tally(source.classes, options.skip_unreadable)
    splits = _write(folder, name, source, tally, options)
    tally.check(str(options.src), options.allow_duplicates)
    sources.check_train(options.src, source.classes, tally.trained)
    mean, std = tally.statistics(str(options.src))
    recipe = _recipe(options)
    quality = recipe.quality if recipe.format == "jpeg" else None
    image = {"format": recipe.format, "size": recipe.size, "quality": quality, **tally.extent()}
    return Manifest(
        name=name,
        classes=source.classes,
        image=image,
        mean=mean,
        std=std,
        splits=splits,
        listing=_write_listing(folder, source),
        source=_described(options),
        command=options.command,
        notes={
            "ignored_files": source.ignored,
            "unreadable_skipped": len(tally.unreadable),
            "duplicates_across_splits": len(tally.across),
            "duplicates_within_splits": tally.within,
        },
        versions={package: version(package) for package in ("mindspore", "pillow", "numpy")},
    )


def _write_listing(folder: Path, source: Source) -> Listing:
    path = folder / LISTING
    lines = [f"{s.split},{s.key},{s.class_name}" for s in source.samples]
    path.write_text("\n".join(["split,key,class", *lines, ""]), encoding="utf-8")
    return Listing(path.stat().st_size, sha256_file(path))


def _write(
    folder: Path, name: str, source: Source, tally: Tally, options: Options
) -> dict[str, Split]:
    layout = _layout(source, options)
    splits = {}
    with (
        console.progress(name, len(source.samples)) as advance,
        closing(_pictures(source, options, advance)) as pictures,
    ):
        for split_name, group in groupby(pictures, key=lambda item: item[0].split):
            split = write_split(
                folder, split_name, tally.records(group), len(source.classes), layout
            )
            # All of it may have been unreadable.
            if split.records:
                splits[split_name] = split
    return splits


def _pictures(
    source: Source, options: Options, advance: Callable[[int], None]
) -> Generator[tuple[Sample, Picture | str], None, None]:
    """Decodes all pictures, in the order of ``source.samples``."""
    # Large files go one by one, so that what is in flight stays small.
    step = max(1, min(_PICTURES_PER_JOB, _JOB_BYTES // max(1, source.largest)))
    chunks = [source.samples[i : i + step] for i in range(0, len(source.samples), step)]
    recipe = _recipe(options)
    jobs = (Job(recipe, str(options.src), tuple(s.key for s in chunk)) for chunk in chunks)
    workers = min(options.workers, len(chunks))
    with closing(ordered_map(images.run_job, jobs, workers)) as results:
        for chunk, pictures in zip(chunks, results, strict=True):
            yield from zip(chunk, pictures, strict=True)
            advance(len(chunk))


def _recipe(options: Options) -> Recipe:
    return Recipe(options.format, options.quality, options.size)


def _layout(source: Source, options: Options) -> Layout:
    """Sizes inside the files: small for small data, as a file is at least one page long."""
    small = source.total < _SMALL_BYTES
    page, header = (2**20, 2**20) if small else (4 * 2**20, HEADER_BYTES)
    # A picture may take many times more room as PNG than it took as JPEG, hence the wide margin.
    largest = 64 * source.largest
    if options.size is not None:
        largest = min(largest, 3 * 8 * options.size**2)
    while page < largest and page < MAX_PAGE_BYTES:
        page *= 2
    return Layout(options.shards, page, header)


def _described(options: Options) -> dict[str, Any]:
    """The manifest's ``source``: what the user gave."""
    path = options.source_name or str(options.src)
    if options.splits is not None:
        return {"path": path, "splits": str(options.splits)}
    ratios = list(options.ratios or sources.DEFAULT_RATIOS)
    return {"path": path, "ratios": ratios, "seed": options.seed}


def _is_prepared(folder: Path) -> bool:
    """Whether a folder was made by this command, whole or since damaged."""
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and data.get("format") == FORMAT
