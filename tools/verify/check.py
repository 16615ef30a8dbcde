"""What is wrong with a prepared data set: files, records and counts against its manifest."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, repeat, tee
from pathlib import Path

import numpy as np

from tools.common import console
from tools.common.parallel import batches, ordered_map
from tools.common.stored_records import Record, check_table, read, read_table
from tools.verify.record import Checked, check_records
from train.data.inspection import salvage, shard_problem
from train.data.manifest import LISTING, SPLITS, Manifest, Shard, Split
from train.data.records import NO_LABEL
from train.errors import UserError

_RECORDS_PER_JOB = 32
_JOB_BYTES = 4 * 2**20
_SHOWN = 5

Row = dict[str, str]


@dataclass
class Result:
    """What was found.

    Attributes:
        folder: The data set's folder.
        manifest: Its manifest, or None if that is damaged.
        problems: What is wrong, a line each.
        by_split: For every split, a word on each kind of problem.
    """

    folder: Path
    manifest: Manifest | None = None
    problems: list[str] = field(default_factory=list)
    by_split: dict[str, str] = field(default_factory=dict)


def check(folder: Path, workers: int) -> Result:
    """Read and check everything in a prepared data set, decoding in ``workers`` processes.

    Raises:
        UserError: There is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    result = Result(folder)
    try:
        result.manifest = Manifest.read_alone(folder)
    except UserError as error:
        result.problems.append(str(error))
    splits = result.manifest.splits if result.manifest else {}
    with console.progress(str(folder), sum(split.records for split in splits.values())) as advance:
        if result.manifest is not None:
            _check_all(result, result.manifest, workers, advance)
    return result


def _check_all(result: Result, manifest: Manifest, workers: int, advance: console.Advance) -> None:
    rows: Iterator[Row | None] = repeat(None)
    try:
        check_table(result.folder, manifest)
        rows = read_table(result.folder)
    except UserError as error:
        result.problems.append(str(error))
    checker = _Checker(result.folder, manifest, workers, rows, advance)
    for name in filter(manifest.splits.get, SPLITS):
        found = checker.split(name, manifest.splits[name])
        result.problems += found
        result.by_split[name] = f"{len(found)} problem(s)" if found else "ok"
    if next(rows, None) is not None:
        result.problems.append(f"{result.folder / LISTING}: lists more records than the manifest")


@dataclass
class _Checker:
    """A walk through the splits of one data set, and the rows of its table (if whole) alongside."""

    folder: Path
    manifest: Manifest
    workers: int
    rows: Iterator[Row | None]
    advance: console.Advance

    def split(self, name: str, split: Split) -> list[str]:
        """Return the problems of one split."""
        problems: list[str] = []
        damaged = ((shard.file, shard_problem(self.folder, shard)) for shard in split.shards)
        reasons = {file: why for file, why in damaged if why is not None}
        per_class = [0] * len(split.per_class)
        pixels = {space: np.zeros(len(n), np.int64) for space, n in split.pixels.items()}
        with closing(self._checked(split, reasons)) as checked:
            for shard in split.shards:
                rows = list(islice(self.rows, shard.records))
                if shard.file in reasons:
                    problems.append(self._damaged(shard, reasons[shard.file], rows))
                    self.advance(shard.records)
                    continue
                wrong = []
                count = 0
                for (record, found), row in zip(islice(checked, shard.records), rows, strict=False):
                    count += 1
                    self.advance(1)
                    why = found.problem or self._against(name, record, found, row)
                    if why:
                        wrong.append(f"{record.key} {why}")
                    elif record.label != NO_LABEL:
                        per_class[record.label] += 1
                    for total, counted in zip(pixels.values(), found.counts, strict=False):
                        total += counted
                path = self.folder / shard.file
                if count != shard.records:
                    problems.append(f"{path}: holds {count} of {shard.records} records")
                elif wrong:
                    share = f"{len(wrong)} of {shard.records}"
                    problems.append(f"{path}: {share} records wrong: {_some(wrong)}")
        counts = {"records per class": (per_class, split.per_class)}
        for space, total in pixels.items():
            counts[f"pixels per class of {space!r}"] = total.tolist(), split.pixels[space]
        return problems or [
            f"{self.folder}: {name}: {what} are not those of the manifest"
            for what, (counted, stated) in counts.items()
            if tuple(counted) != stated
        ]

    def _checked(
        self, split: Split, reasons: dict[str, str]
    ) -> Generator[tuple[Record, Checked], None, None]:
        """Decode the records of the whole shards."""
        paths = [str(self.folder / s.file) for s in split.shards if s.file not in reasons]
        if not paths:
            return
        records = read(paths, list(self.manifest.masks))
        jobs, again = tee(batches(records, _RECORDS_PER_JOB, _JOB_BYTES, lambda r: len(r.image)))
        look = partial(check_records, self.manifest)
        with closing(ordered_map(look, jobs, self.workers)) as results:
            for found, batch in zip(results, again, strict=False):
                yield from zip(batch, found, strict=True)

    def _against(self, name: str, record: Record, found: Checked, row: Row | None) -> str | None:
        """Say what is different in the table of records."""
        if row is None:
            return None
        classes = self.manifest.classes
        label = classes[record.label] if record.label != NO_LABEL else ""
        own = {"split": name, "key": record.key, "class": label, "crc": str(record.crc)}
        own |= {"width": str(found.width), "height": str(found.height)}
        different = [column for column, value in own.items() if row[column] != value]
        return f"has another {', '.join(different)} in {LISTING}" if different else None

    def _damaged(self, shard: Shard, why: str, rows: Iterable[Row | None]) -> str:
        """Name a damaged shard, and the records in it that are lost."""
        found = salvage(self.folder, shard, list(self.manifest.masks))
        whole = {number for number, (_, right) in found.items() if right}
        lost = [row["key"] if row else "?" for i, row in enumerate(rows) if i not in whole]
        text = f"{self.folder / shard.file}: damaged: {why}"
        if not lost:
            return f"{text}; all of its {shard.records} records can still be read"
        known = "" if lost[0] == "?" else f": {_some(lost)}"
        return f"{text}; lost {len(lost)} of {shard.records} records{known}"


def _some(items: list[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (", ..." if len(items) > _SHOWN else "")
