"""What is wrong with a prepared data set: files, records and counts against its manifest."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path

from tools.common import listing
from tools.common.console import Advance
from tools.common.parallel import ordered_map
from tools.common.stored_records import Stored, read
from tools.verify.record import Checked, Job, Rules, run_job
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


def check(folder: Path, workers: int, advance: Advance) -> Result:
    """Read and check everything in a prepared data set.

    Args:
        folder: The data set.
        workers: Processes that decode.
        advance: Called with the number of records done.

    Raises:
        UserError: There is no such folder.
    """
    result = Result(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    try:
        result.manifest = Manifest.read_alone(folder)
    except UserError as error:
        result.problems.append(str(error))
        return result
    rows: Iterator[Row | None] = repeat(None)
    try:
        listing.check(folder, result.manifest)
        rows = listing.read(folder)
    except UserError as error:
        result.problems.append(str(error))
    checker = _Checker(folder, result.manifest, workers, rows, advance)
    for name in SPLITS:
        if name in result.manifest.splits:
            found = checker.split(name, result.manifest.splits[name])
            result.problems += found
            result.by_split[name] = f"{len(found)} problem(s)" if found else "ok"
    if next(rows, None) is not None:
        result.problems.append(f"{folder / LISTING}: lists more records than the manifest")
    return result


@dataclass
class _Checker:
    """A walk through the splits of one data set, and the rows of its table (if whole) alongside."""

    folder: Path
    manifest: Manifest
    workers: int
    rows: Iterator[Row | None]
    advance: Advance

    def split(self, name: str, split: Split) -> list[str]:
        """Return the problems of one split."""
        problems: list[str] = []
        damaged = ((shard.file, shard_problem(self.folder, shard)) for shard in split.shards)
        reasons = {file: why for file, why in damaged if why is not None}
        per_class = [0] * len(split.per_class)
        pixels = {space: [0] * len(counts) for space, counts in split.pixels.items()}
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
                        total[:] = [a + b for a, b in zip(total, counted, strict=True)]
                if wrong or count != shard.records:
                    problems.append(_wrong(self.folder, shard, wrong, count))
        if not problems:
            problems += _counts(self.folder, name, split, per_class, pixels)
        return problems

    def _checked(
        self, split: Split, reasons: dict[str, str]
    ) -> Generator[tuple[Stored, Checked], None, None]:
        """Decode the records of the whole shards."""
        paths = [str(self.folder / s.file) for s in split.shards if s.file not in reasons]
        if not paths:
            return
        ahead: list[tuple[Stored, ...]] = []
        rules = Rules.of(self.manifest)

        def jobs() -> Iterator[Job]:
            for chunk in _chunks(read(paths, list(self.manifest.masks))):
                ahead.append(chunk)
                yield Job(rules, chunk)

        with closing(ordered_map(run_job, jobs(), self.workers)) as results:
            for found in results:
                yield from zip(ahead.pop(0), found, strict=True)

    def _against(self, name: str, record: Stored, found: Checked, row: Row | None) -> str | None:
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


def _chunks(records: Iterable[Stored]) -> Iterator[tuple[Stored, ...]]:
    chunk: list[Stored] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += len(record.image)
        if len(chunk) >= _RECORDS_PER_JOB or size >= _JOB_BYTES:
            yield tuple(chunk)
            chunk, size = [], 0
    if chunk:
        yield tuple(chunk)


def _wrong(folder: Path, shard: Shard, wrong: list[str], count: int) -> str:
    path = folder / shard.file
    if count != shard.records:
        return f"{path}: holds {count} of {shard.records} records"
    return f"{path}: {len(wrong)} of {shard.records} records wrong: {_some(wrong)}"


def _some(items: list[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (", ..." if len(items) > _SHOWN else "")


def _counts(
    folder: Path, name: str, split: Split, per_class: list[int], pixels: dict[str, list[int]]
) -> list[str]:
    """Compare what was counted with the manifest."""
    counted = {"records per class": (per_class, split.per_class)}
    for space in pixels:
        counted[f"pixels per class of {space!r}"] = pixels[space], split.pixels[space]
    return [
        f"{folder}: {name}: {what} are not those of the manifest"
        for what, (found, stated) in counted.items()
        if tuple(found) != stated
    ]
