"""Records written into MindRecord shards (see train.data.records for what is in them)."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tools.common.parallel import batches
from tools.common.stored_records import Record
from train.data.manifest import Shard, Split
from train.data.records import NO_LABEL, mask_column, schema
from train.errors import UserError
from train.files import sha256_file

# MindRecord's own default sizes. A file is at least as long as both together, though sparse, so a
# small data set is better off with less.
_HEADER_BYTES = 16 * 2**20
_PAGE_BYTES = 32 * 2**20
_SMALL_BYTES = 64 * 2**20
_MAX_PAGE_BYTES = 256 * 2**20
MAX_SHARDS = 1000
# What a record takes beside its image and masks: the other columns, with room to spare.
_RECORD_MARGIN = 8192

# One call per record is six times slower than one call for a few dozen of them.
_BATCH_RECORDS = 64
_BATCH_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Layout:
    """How records are laid out in files.

    Attributes:
        shards: Most files per split, 1..1000.
        page_bytes: MindRecord's page, 32 KiB..256 MiB; the largest record must fit into one.
        header_bytes: MindRecord's header, 16 KiB..128 MiB; it takes about 200 bytes for every
            page of the file.
    """

    shards: int = 1
    page_bytes: int = _PAGE_BYTES
    header_bytes: int = _HEADER_BYTES

    @classmethod
    def fitting(cls, shards: int, total: int, largest: int) -> "Layout":
        """Choose small pages for small data, as a file is at least a page.

        Args:
            shards: Most files per split.
            total: Bytes of all images and masks of the data set.
            largest: Bytes of the image and the masks of the largest record.
        """
        page, header = (2**20, 2**20) if total < _SMALL_BYTES else (4 * 2**20, _HEADER_BYTES)
        while page < largest + _RECORD_MARGIN and page < _MAX_PAGE_BYTES:
            page *= 2
        return cls(shards, page, header)


def write_split(
    folder: Path,
    split: str,
    records: Iterable[Record],
    total: int,
    layout: Layout,
    classes: int,
    masks: tuple[str, ...] = (),
) -> Split:
    """Stream records into ``folder/<split>.mindrecord0 .. N-1``.

    Every shard holds consecutive records, so their numbers do not depend on how many shards
    there are. A few dozen records are held at a time.

    Args:
        folder: An existing folder without files of this split.
        split: Name of the split.
        records: The records; consumed once.
        total: Their number.
        layout: Number of files and their inner sizes.
        classes: Number of classes; labels are 0 .. classes-1.
        masks: Names of the label spaces of masks.

    Returns:
        The split without ``pixels``.

    Raises:
        UserError: A record is larger than a page, or MindRecord failed to write (a full disk, for
            instance).
    """
    rest = iter(records)
    per_class = [0] * classes

    def counted(size: int) -> Iterator[Record]:
        for record in islice(rest, size):
            if record.label != NO_LABEL:
                per_class[record.label] += 1
            yield record

    count = min(layout.shards, total)
    shards = []
    for number in range(count):
        size = total // count + (number < total % count)
        path = folder / f"{split}.mindrecord{number}"
        shards.append(_write_shard(path, counted(size), size, layout, masks))
    if shards:
        import mindspore.dataset as ds

        # Counted again, as FileWriter only logs the records that it drops.
        paths = [str(folder / shard.file) for shard in shards]
        kept = ds.MindDataset(paths, shuffle=False).get_dataset_size()
        if kept != total:
            raise UserError(f"{folder}: MindRecord kept {kept} of {total} records")
    return Split(total, tuple(per_class), tuple(shards))


def _write_shard(
    path: Path, records: Iterable[Record], total: int, layout: Layout, masks: tuple[str, ...]
) -> Shard:
    """Write one MindRecord file.

    With its own sharding, ``FileWriter`` names the files of one shard and of many differently,
    makes empty files, and does not say which record went where; so each file has a writer.
    """
    from mindspore.mindrecord import FileWriter

    with _told(path):
        writer = FileWriter(str(path), shard_num=1)
        writer.set_header_size(layout.header_bytes)
        writer.set_page_size(layout.page_bytes)
        writer.add_schema(schema(masks), "mtln record")
    for batch in batches(records, _BATCH_RECORDS, _BATCH_BYTES, Record.size):
        rows = [_row(record, layout, masks) for record in batch]
        with _told(path):
            writer.write_raw_data(rows)
    with _told(path):
        writer.commit()
    index = path.with_name(f"{path.name}.db")
    # FileWriter makes files for their owner alone; on a cluster others read them too. The only way
    # to read the umask is to set it.
    umask = os.umask(0)
    os.umask(umask)
    for file in (path, index):
        file.chmod(0o666 & ~umask)
    (size, digest), (index_size, index_digest) = (
        (file.stat().st_size, sha256_file(file)) for file in (path, index)
    )
    return Shard(path.name, total, size, digest, index_size, index_digest)


def _row(record: Record, layout: Layout, masks: tuple[str, ...]) -> dict[str, Any]:
    taken = record.size()
    if taken + _RECORD_MARGIN > layout.page_bytes:
        raise UserError(
            f"{record.key}: takes {taken} bytes as stored, more than fits into a "
            f"MindRecord page of {layout.page_bytes} bytes: use --size, or --format jpeg"
        )
    return {
        "image": record.image,
        # FileWriter drops a row whose types are off, numpy's integers included.
        "label": int(record.label),
        "key": record.key,
        "crc": record.checksum(),
        **dict(zip(map(mask_column, masks), record.masks, strict=True)),
    }


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn MindSpore's errors into a UserError: they are long, the line that tells is marked."""
    try:
        yield
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        marked = [line for line in lines if line.startswith("[ERROR]")]
        reason = (marked or lines or [type(error).__name__])[0].removeprefix("[ERROR]").strip()
        raise UserError(f"{path}: MindRecord could not be written: {reason}") from error
