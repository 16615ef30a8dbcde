"""Finds the pictures of a scene data set: class folders, and which picture is in which split."""

from __future__ import annotations

import csv
import os
import posixpath
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from train.data.records import SPLITS
from train.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
COLUMNS = ("file", "class", "split")
DEFAULT_RATIOS = (0.6, 0.2, 0.2)


@dataclass(frozen=True)
class Sample:
    """One picture: its path relative to the source (with ``/``), its class and its split."""

    key: str
    class_name: str
    split: str


@dataclass(frozen=True)
class Source:
    """The pictures of a data set.

    Attributes:
        classes: Class names, sorted.
        samples: Pictures, sorted by split (train, val, test) and path.
        ignored: Pictures under the source folder that are in no class or not in the CSV.
        largest: Size of the largest file in bytes.
        total: Size of all files in bytes.
    """

    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    ignored: int
    largest: int
    total: int


def from_folders(root: Path, ratios: tuple[float, float, float], seed: int) -> Source:
    """Takes every first-level folder as a class and splits each class by itself.

    Args:
        root: Folder of class folders; pictures may lie deeper inside them.
        ratios: Shares of train, val and test, adding up to 1.
        seed: Seed of the split. A class's split depends on its own pictures alone.

    Raises:
        UserError: There is no such folder, or it holds no pictures in class folders.
    """
    by_class, loose = _scan(root)
    if set(by_class) <= {*SPLITS, "valid", "validation"}:
        raise UserError(
            f"{root}: its folders are splits ({', '.join(sorted(by_class))}), not classes: "
            f"list the pictures in a CSV ({','.join(COLUMNS)}) and give it with --splits"
        )
    if len(by_class) < 2:
        raise UserError(
            f"{root}: pictures in one folder only ({', '.join(by_class)}): "
            "SRC must be the folder that holds the class folders, two or more"
        )
    samples = []
    for class_name, keys in by_class.items():
        for split, part in split_class(class_name, keys, ratios, seed).items():
            samples += [Sample(key, class_name, split) for key in part]
    return _source(root, samples, ignored=loose)


def split_class(
    class_name: str, keys: list[str], ratios: tuple[float, float, float], seed: int
) -> dict[str, list[str]]:
    """Splits one class's pictures at random, the same way for the same arguments."""
    shuffled = sorted(keys)
    random.Random(f"{seed}/{class_name}").shuffle(shuffled)
    parts, start = {}, 0
    for split, count in zip(SPLITS, split_counts(len(shuffled), ratios), strict=True):
        parts[split] = shuffled[start : start + count]
        start += count
    return parts


def split_counts(total: int, ratios: tuple[float, float, float]) -> tuple[int, int, int]:
    """Shares ``total`` pictures out by largest remainder.

    A split with a ratio above zero gets at least one picture as long as there are enough; train
    comes first.
    """
    counts = [int(total * ratio) for ratio in ratios]
    rests = [total * ratio - count for ratio, count in zip(ratios, counts, strict=True)]
    for index in sorted(range(3), key=lambda i: -rests[i])[: total - sum(counts)]:
        counts[index] += 1
    for index, ratio in enumerate(ratios):
        donor = max(range(3), key=lambda i: counts[i])
        if ratio > 0 and counts[index] == 0 and (counts[donor] > 1 or index == 0):
            counts[donor] -= 1
            counts[index] += 1
    return counts[0], counts[1], counts[2]


def from_csv(root: Path, table: Path) -> Source:
    """Takes pictures, classes and splits from a CSV with the columns file, class and split.

    Raises:
        UserError: The folder or the table is missing; a column or a value is missing; a file is
            missing or named twice; a split is unknown; or a file lies in another class's folder.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    rows = list(_rows(table))
    if not rows:
        raise UserError(f"{table}: no rows")
    names = {sample.class_name for _, sample in rows}
    if len(names) < 2:
        raise UserError(f"{table}: one class only ({', '.join(names)}): two or more are needed")
    first_line: dict[str, int] = {}
    for line, sample in rows:
        where = f"{table}, line {line}"
        if sample.key in first_line:
            raise UserError(f"{where}: {sample.key} was given on line {first_line[sample.key]}")
        first_line[sample.key] = line
        folder = posixpath.basename(posixpath.dirname(sample.key))
        if folder in names and folder != sample.class_name:
            raise UserError(
                f"{where}: {sample.key} lies in the folder of class {folder!r}, "
                f"but its class is given as {sample.class_name!r}"
            )
        if not (root / sample.key).is_file():
            raise UserError(f"{where}: {sample.key}: no such file in {root}")
    present = sum(1 for _ in _pictures(root, "."))
    listed = sum(key.lower().endswith(EXTENSIONS) for key in first_line)
    samples = [sample for _, sample in rows]
    return _source(root, samples, ignored=max(0, present - listed))


def _rows(table: Path) -> Iterator[tuple[int, Sample]]:
    """Rows of the CSV with their line numbers, each checked by itself."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise UserError(
                    f"{table}: no column {', '.join(missing)} "
                    f"(its first line must name {', '.join(COLUMNS)})"
                )
            for row in reader:
                yield reader.line_num, _sample(row, f"{table}, line {reader.line_num}")
    except OSError as error:
        raise UserError(f"{table}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table}: not a CSV in UTF-8: {error}") from None


def _sample(row: dict[str, str | None], where: str) -> Sample:
    values = {name: (row[name] or "").strip() for name in COLUMNS}
    for name, value in values.items():
        if not value:
            raise UserError(f"{where}: {name} is empty")
    if values["split"] not in SPLITS:
        raise UserError(
            f"{where}: split {values['split']!r} is none of {', '.join(SPLITS)}",
        )
    key = posixpath.normpath(values["file"])
    if key.startswith(("/", "../")) or key in (".", ".."):
        raise UserError(f"{where}: {values['file']}: must be a path relative to SRC, inside it")
    return Sample(key, values["class"], values["split"])


def _scan(root: Path) -> tuple[dict[str, list[str]], int]:
    """Pictures per class folder, and the number of those in no folder."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    by_class: dict[str, list[str]] = {}
    loose = 0
    for entry in sorted(root.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            keys = list(_pictures(root, entry.name))
            if keys:
                by_class[entry.name] = keys
        elif entry.suffix.lower() in EXTENSIONS:
            loose += 1
    if not by_class:
        kinds = " ".join(extension[1:] for extension in EXTENSIONS)
        hint = f"; {loose} lie in no class folder" if loose else ""
        raise UserError(f"{root}: no pictures in class folders (looked for {kinds}){hint}")
    return by_class, loose


def _pictures(root: Path, folder: str) -> Iterator[str]:
    """Paths relative to ``root`` of the pictures in ``folder`` and below, hidden ones left out."""
    for parent, folders, files in os.walk(root / folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(EXTENSIONS) and not name.startswith("."):
                yield (Path(parent) / name).relative_to(root).as_posix()


def _source(root: Path, samples: list[Sample], ignored: int) -> Source:
    samples = sorted(samples, key=lambda sample: (SPLITS.index(sample.split), sample.key))
    sizes = []
    for sample in samples:
        # MindRecord stores text as UTF-8; Linux file names can be any bytes.
        if any(0xDC80 <= ord(letter) <= 0xDCFF for letter in sample.key):
            raise UserError(f"{root}: {sample.key!r}: the file's name is not UTF-8: rename it")
        sizes.append((root / sample.key).stat().st_size)
    source = Source(
        classes=tuple(sorted({sample.class_name for sample in samples})),
        samples=tuple(samples),
        ignored=ignored,
        largest=max(sizes),
        total=sum(sizes),
    )
    trained = {sample.class_name for sample in samples if sample.split == "train"}
    check_train(root, source.classes, trained)
    return source


def check_train(root: Path, classes: tuple[str, ...], trained: set[str]) -> None:
    """Raises a UserError that names the classes without a train picture, if there are any."""
    without = [name for name in classes if name not in trained]
    if without:
        shown = ", ".join(without[:5]) + (" ..." if len(without) > 5 else "")
        raise UserError(f"{root}: no train picture in {len(without)} class(es): {shown}")
