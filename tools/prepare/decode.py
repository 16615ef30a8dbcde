"""The first pass: decodes every picture once, keeps its bytes in a file, and notes what it is."""

import hashlib
import json
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from tools.common import console
from tools.common.catalogue import Catalogue
from tools.common.parallel import ordered_map
from tools.prepare.decoded import SPOOL, reuse
from tools.prepare.images import make
from tools.prepare.masks import Lookup, Unlisted, UnlistedValues, make_mask, unlisted_text
from tools.prepare.options import Options
from tools.prepare.recipe import Recipe
from tools.prepare.source_masks import Spaces
from train.errors import UserError

_PICTURES_PER_JOB = 16
_JOB_BYTES = 4 * 2**20
_REST = "SELECT id, key, bytes FROM samples WHERE id NOT IN (SELECT id FROM pictures)"
# Once so many values of masks mean nothing, the rest need not be seen.
_ENOUGH = 5000

# A sample's id, and the paths of its picture and of its masks.
Sample = tuple[int, list[Path]]


@dataclass(frozen=True)
class Taken:
    """A picture and its masks, ready to be stored.

    Attributes:
        data: The encoded picture, then its masks.
        thumb: Its thumbnail.
        columns: What the table ``pictures`` holds of it behind ``start``.
    """

    data: list[bytes]
    thumb: bytes
    columns: tuple[object, ...]


@dataclass(frozen=True)
class Unreadable:
    """Why a picture or its mask could not be decoded; its file's digest, empty if none was read."""

    reason: str
    sha256: str


Result = Taken | Unreadable | Unlisted


def take_in(catalogue: Catalogue, options: Options, spaces: Spaces) -> None:
    """Fill the catalogue's tables ``samples``, ``pictures``, ``thumbs`` and ``skipped``.

    The encoded pictures and masks go to the file ``spool`` beside the catalogue. What is left of
    an earlier run, and unchanged, is not decoded again.

    Raises:
        UserError: A picture is unreadable and may not be skipped, or a mask does not fit.
    """
    catalogue.run(
        "INSERT INTO samples SELECT NULL, key, class, split, grp, bytes, mtime "
        "FROM found ORDER BY key"
    )
    reuse(catalogue, options, spaces)
    catalogue.run(f"CREATE TABLE rest AS {_REST}")
    total = catalogue.value("SELECT count(*) FROM rest")
    with (
        console.progress(options.set_name, total) as advance,
        closing(_results(catalogue, options, spaces, advance)) as results,
        (catalogue.folder / SPOOL).open("ab") as spool,
    ):
        unlisted: list[Unlisted] = []

        def rows() -> Iterator[tuple[object, ...]]:
            for sample, result in results:
                if isinstance(result, Unlisted):
                    unlisted.append(result)
                    if sum(len(one.pixels) for one in unlisted) > _ENOUGH:
                        break
                    continue
                if isinstance(result, Unreadable):
                    values = sample, result.reason, result.sha256
                    catalogue.run("INSERT INTO skipped VALUES (?, ?, ?)", *values)
                    continue
                catalogue.run("INSERT INTO thumbs VALUES (?, ?)", sample, result.thumb)
                yield sample, spool.tell(), *result.columns
                spool.writelines(result.data)

        catalogue.insert("pictures", rows())
    if unlisted:
        # Of one label space at a time, as one file of classes is then mended.
        same = [one for one in unlisted if one.lookup.name == unlisted[0].lookup.name]
        raise UserError(unlisted_text(same))
    _check_readable(catalogue, options)


def _results(
    catalogue: Catalogue, options: Options, spaces: Spaces, advance: console.Advance
) -> Generator[tuple[int, Result], None, None]:
    """Decode all samples, in their order."""
    largest, count = next(catalogue.rows("SELECT max(bytes), count(*) FROM rest"))
    # Large files go one by one, so that what is in flight stays small.
    step = max(1, min(_PICTURES_PER_JOB, _JOB_BYTES // max(1, largest or 0)))
    query = "SELECT path FROM masks WHERE space = ? AND key = ?"
    named = spaces.items()

    def samples() -> Iterator[Sample]:
        for sample, key in catalogue.rows("SELECT id, key FROM rest ORDER BY id"):
            masks = ((s.folder, catalogue.value(query, name, key)) for name, s in named)
            yield sample, [Path(*path) for path in ((options.src, key), *masks)]

    rest = samples()
    jobs = iter(lambda: list(islice(rest, step)), [])
    lookups = [space.lookup for space in spaces.values()]
    workers = min(options.workers, -(-count // step))
    with closing(ordered_map(partial(take, options.recipe, lookups), jobs, workers)) as results:
        for taken in results:
            yield from taken
            advance(len(taken))


def _check_readable(catalogue: Catalogue, options: Options) -> None:
    count = catalogue.value("SELECT count(*) FROM skipped")
    if count and not options.skip_unreadable:
        query = (
            "SELECT count(*), min(key), reason FROM skipped JOIN samples USING (id) "
            "GROUP BY reason ORDER BY 1 DESC, 2 LIMIT 3"
        )
        shown = "; ".join(
            f"{key} ({reason}){f' and {same - 1} more like it' if same > 1 else ''}"
            for same, key, reason in catalogue.rows(query)
        )
        raise UserError(
            f"{options.src}: {count} unreadable picture{'s' if count > 1 else ''}: {shown} "
            "(leave out with --skip-unreadable)"
        )


def take(
    recipe: Recipe, lookups: Sequence[Lookup], samples: Iterable[Sample]
) -> list[tuple[int, Result]]:
    """Make pictures and their masks, one for every lookup; return them with the samples' ids.

    Raises:
        UserError: A mask does not fit its picture or its classes.
    """
    return [(sample, _take(recipe, lookups, *paths)) for sample, paths in samples]


def _take(recipe: Recipe, lookups: Sequence[Lookup], path: Path, *mask_paths: Path) -> Result:
    digests: list[str] = []
    reading = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = make(_read(path, digests), recipe)
            target = picture.width, picture.height
            masks = []
            for lookup, mask_path in zip(lookups, mask_paths, strict=True):
                reading = f"{mask_path}: "
                seen = picture.original, picture.orientation, target
                masks.append(
                    make_mask(
                        mask_path, _read(mask_path, digests), lookup, *seen, recipe.max_pixels
                    )
                )
        data = [picture.data, *(mask.data for mask in masks)]
        columns = (
            *(json.dumps([len(part) for part in data]), picture.width, picture.height),
            json.dumps([picture.sums, picture.squares]),
            json.dumps([mask.counts for mask in masks]),
            json.dumps(digests),
            *(picture.digest.hex(), picture.looks.hash),
            json.dumps(picture.notes.spread) if picture.notes.spread else None,
            json.dumps(picture.notes.remarks) if picture.notes.remarks else "",
        )
        return Taken(data, picture.looks.thumb, columns)
    except UnlistedValues as error:
        return error.found
    except UserError:
        raise
    except Exception as error:
        # Decoders raise nearly anything on damaged files; one picture must not end the whole job.
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = " ".join(text.split()) or type(error).__name__
    return Unreadable(reading + reason, next(iter(digests), ""))


def _read(path: Path, digests: list[str]) -> bytes:
    data = path.read_bytes()
    digests.append(hashlib.sha256(data).hexdigest())
    return data
