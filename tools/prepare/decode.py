"""The first pass: decodes every picture once, keeps its bytes in a file, and notes what it is."""

import hashlib
import json
import warnings
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import UnidentifiedImageError

from tools.common import console
from tools.common.catalogue import Catalogue
from tools.common.duplicates.fingerprint import THUMB_BYTES
from tools.common.parallel import ordered_map
from tools.prepare.images import Picture, Recipe, make
from tools.prepare.masks import Lookup, Mask, make_mask
from tools.prepare.options import Options
from tools.prepare.source_masks import Spaces, stem
from train.data.records import checksum
from train.errors import UserError

SPOOL = "spool"
THUMBS = "thumbs"

_PICTURES_PER_JOB = 16
_JOB_BYTES = 4 * 2**20
_SHOWN = 3


@dataclass(frozen=True)
class Job:
    """Pictures for one call of a worker.

    Attributes:
        recipe: How pictures are stored.
        root: Their folder.
        keys: Their paths in it.
        spaces: Folder and meaning of the masks of every label space.
        masks: For every picture, the paths of its masks in those folders.
    """

    recipe: Recipe
    root: str
    keys: tuple[str, ...]
    spaces: tuple[tuple[str, Lookup], ...] = ()
    masks: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Taken:
    """A picture and its masks, ready to be stored; digests of the files: picture, then masks."""

    picture: Picture
    masks: tuple[Mask, ...]
    sha256: tuple[str, ...]


@dataclass(frozen=True)
class Unreadable:
    """Why a picture or its mask could not be decoded; its file's digest, empty if none was read."""

    reason: str
    sha256: str


def take_in(catalogue: Catalogue, options: Options, spaces: Spaces) -> None:
    """Fill the catalogue's tables ``samples``, ``pictures`` and ``skipped``.

    The encoded pictures and masks go to the file ``spool`` beside the catalogue, one after the
    other in the order of their keys, and the thumbnails, all of one size, to ``thumbs``.

    Raises:
        UserError: A picture is unreadable and may not be skipped, or a mask does not fit.
    """
    catalogue.run(
        "INSERT INTO samples SELECT NULL, key, class, split, grp, bytes, mtime "
        "FROM found ORDER BY key"
    )
    total = catalogue.value("SELECT count(*) FROM samples")
    with (
        console.progress(options.set_name, total) as advance,
        closing(_results(catalogue, options, spaces, advance)) as results,
        (catalogue.folder / SPOOL).open("wb") as spool,
        (catalogue.folder / THUMBS).open("wb") as thumbs,
    ):

        def rows() -> Iterator[tuple[object, ...]]:
            for sample, result in results:
                if isinstance(result, Unreadable):
                    values = sample, result.reason, result.sha256
                    catalogue.run("INSERT INTO skipped VALUES (?, ?, ?)", *values)
                    thumbs.write(bytes(THUMB_BYTES))
                    continue
                thumbs.write(result.picture.looks.thumb)
                row = _row(sample, result, spool.tell())
                for data in (result.picture.data, *(mask.data for mask in result.masks)):
                    spool.write(data)
                yield row

        catalogue.insert("pictures", rows())
    _check_readable(catalogue, options)


def thumb(catalogue: Catalogue, sample: int) -> bytes:
    """Return the thumbnail of a sample."""
    with (catalogue.folder / THUMBS).open("rb") as file:
        file.seek((sample - 1) * THUMB_BYTES)
        return file.read(THUMB_BYTES)


def _row(sample: int, taken: Taken, start: int) -> tuple[object, ...]:
    picture = taken.picture
    masks = [mask.data for mask in taken.masks]
    return (
        *(sample, start, json.dumps([len(picture.data), *map(len, masks)])),
        *(picture.width, picture.height, json.dumps([picture.sums, picture.squares])),
        json.dumps([mask.counts for mask in taken.masks]),
        *(checksum(picture.data, masks), json.dumps(taken.sha256)),
        *(picture.digest.hex(), picture.looks.hash),
    )


def _results(
    catalogue: Catalogue, options: Options, spaces: Spaces, advance: console.Advance
) -> Generator[tuple[int, Taken | Unreadable], None, None]:
    """Decode all samples, in their order."""
    largest, count = next(catalogue.rows("SELECT max(bytes), count(*) FROM samples"))
    # Large files go one by one, so that what is in flight stays small.
    step = max(1, min(_PICTURES_PER_JOB, _JOB_BYTES // max(1, largest)))
    samples: list[int] = []

    def jobs() -> Iterator[Job]:
        keys = catalogue.rows("SELECT id, key FROM samples ORDER BY id")
        meant = tuple((str(space.folder), space.lookup) for space in spaces.values())
        while chunk := list(islice(keys, step)):
            samples.extend(sample for sample, _ in chunk)
            masks = tuple(_masks(catalogue, key, spaces) for _, key in chunk)
            names = tuple(key for _, key in chunk)
            yield Job(options.recipe, str(options.src), names, meant, masks)

    workers = min(options.workers, -(-count // step))
    with closing(ordered_map(run_job, jobs(), workers)) as results:
        for taken in results:
            yield from zip(samples[: len(taken)], taken, strict=True)
            del samples[: len(taken)]
            advance(len(taken))


def _masks(catalogue: Catalogue, key: str, spaces: Spaces) -> tuple[str, ...]:
    query = "SELECT path FROM masks WHERE space = ? AND stem = ?"
    return tuple(catalogue.value(query, name, stem(key)) for name in spaces)


def _check_readable(catalogue: Catalogue, options: Options) -> None:
    count = catalogue.value("SELECT count(*) FROM skipped")
    if count and not options.skip_unreadable:
        query = "SELECT key, reason FROM skipped JOIN samples USING (id) ORDER BY id LIMIT ?"
        shown = "; ".join(f"{key} ({reason})" for key, reason in catalogue.rows(query, _SHOWN))
        raise UserError(
            f"{options.src}: {count} unreadable picture{'s' if count > 1 else ''}: {shown} "
            "(leave out with --skip-unreadable)"
        )


def run_job(job: Job) -> list[Taken | Unreadable]:
    """Make the pictures of a job.

    Raises:
        UserError: A mask does not fit its picture or its classes.
    """
    paths = job.masks or ((),) * len(job.keys)
    return [_take(job, key, masks) for key, masks in zip(job.keys, paths, strict=True)]


def _take(job: Job, key: str, mask_keys: tuple[str, ...]) -> Taken | Unreadable:
    digests: list[str] = []
    reading = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = make(_read(Path(job.root, key), digests), job.recipe)
            target = picture.width, picture.height
            masks = []
            for (folder, lookup), mask_key in zip(job.spaces, mask_keys, strict=True):
                path = Path(folder, mask_key)
                reading = f"{path}: "
                data = _read(path, digests)
                masks.append(
                    make_mask(path, data, lookup, picture.original, picture.orientation, target)
                )
            return Taken(picture, tuple(masks), tuple(digests))
    except UserError:
        raise
    except UnidentifiedImageError:
        # Pillow's own text names an object in memory.
        reason = "not a picture that can be read"
    except Exception as error:
        # Decoders raise nearly anything on damaged files; one picture must not end the whole job.
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = " ".join(text.split()) or type(error).__name__
    return Unreadable(reading + reason, next(iter(digests), ""))


def _read(path: Path, digests: list[str]) -> bytes:
    data = path.read_bytes()
    digests.append(hashlib.sha256(data).hexdigest())
    return data
