"""What is worth a warning once everything has been decoded: the data may not be what one thinks."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tools.common.catalogue import Catalogue
from tools.prepare.deep_values import is_nearly_black, range_advice
from tools.prepare.layout import plain_name
from tools.prepare.options import Options
from tools.prepare.recipe import FOURTH_DROPPED, FOURTH_GRADED, LATER_PAGES
from tools.prepare.source_masks import Spaces

# A class with a smaller share of the labelled pixels is probably a wrong value.
_HARDLY = 1e-4
_SHOWN = 4
_REMARKS = {
    FOURTH_DROPPED: "a fourth band, which is not used: --bands chooses others than 1,2,3",
    FOURTH_GRADED: "a fourth band taken for transparency, and shown over black; if it is none, "
    "as near infrared: --bands 1,2,3",
    LATER_PAGES: "several pages, of which the first is taken",
}


def findings(catalogue: Catalogue, options: Options, spaces: Spaces) -> list[str]:
    """Return lines on what is odd about the pictures and masks that were taken in."""
    return [
        *_unreadable(catalogue),
        *_remarks(catalogue),
        *_ranges(catalogue, options),
        *_rare(catalogue, spaces),
        *_contradictions(catalogue, spaces),
    ]


def _unreadable(catalogue: Catalogue) -> Iterator[str]:
    rows = catalogue.rows("SELECT key, reason FROM skipped JOIN samples USING (id) ORDER BY id")
    texts = [f"{key} ({reason})" for key, reason in rows]
    if texts:
        more = ", ..." if len(texts) > _SHOWN else ""
        yield f"left out, unreadable: {len(texts)}: {', '.join(texts[:_SHOWN])}{more}"


def _remarks(catalogue: Catalogue) -> Iterator[str]:
    for remark, text in _REMARKS.items():
        query = (
            "SELECT count(*), min(key) FROM pictures JOIN samples USING (id) WHERE remarks LIKE ?"
        )
        count, key = next(catalogue.rows(query, f'%"{remark}"%'))
        if count:
            yield f"{count} picture(s) with {text} ({key}{', ...' if count > 1 else ''})"


def _ranges(catalogue: Catalogue, options: Options) -> Iterator[str]:
    """Tell of 16-bit pictures that use a fraction of their range."""
    rows = catalogue.rows("SELECT spread FROM pictures WHERE spread IS NOT NULL")
    spreads = np.array([json.loads(text) for (text,) in rows]).reshape(-1, 2)
    if options.range is not None:
        if not len(spreads):
            yield "--range: no picture has more than 8 bits, so it was not used"
        return
    if len(spreads) and is_nearly_black(float(np.median(spreads[:, 1]))):
        low, high = int(spreads[:, 0].min()), int(np.quantile(spreads[:, 1], 0.98))
        yield (
            f"{len(spreads)} picture(s) of 16 bits use about {low}..{high} of 0..65535 and are "
            f"nearly black as stored: {range_advice(low, high)}"
        )


def _pixels(catalogue: Catalogue, spaces: Spaces, splits: str) -> dict[str, npt.NDArray[np.int64]]:
    """Count the pixels of every class in the splits whose names are like ``splits``."""
    totals = {n: np.zeros(len(s.lookup.classes) + 1, np.int64) for n, s in spaces.items()}
    query = "SELECT counts FROM pictures JOIN samples USING (id) WHERE split LIKE ?"
    for (counts,) in catalogue.rows(query, splits):
        for total, counted in zip(totals.values(), json.loads(counts), strict=True):
            total += counted
    return totals


def _rare(catalogue: Catalogue, spaces: Spaces) -> Iterator[str]:
    """Tell of mask classes that never or hardly occur."""
    if not spaces:
        return
    train = _pixels(catalogue, spaces, "train")
    for name, total in _pixels(catalogue, spaces, "%").items():
        shares = (total[:-1] / max(1, total[:-1].sum())).tolist()
        named = list(zip(spaces[name].lookup.classes, shares, train[name].tolist(), strict=False))
        never = [f"{item!r}" for item, share, _ in named if not share]
        unseen = [f"{item!r}" for item, share, number in named if share and not number]
        hardly = [f"{item!r} ({share:.2g})" for item, share, _ in named if 0 < share < _HARDLY]
        if never:
            yield f"masks {name!r}: no pixel of {', '.join(never)}: are their values right?"
        if unseen:
            yield f"masks {name!r}: no pixel in train of {', '.join(unseen)}"
        if hardly:
            yield f"masks {name!r}: hardly a pixel (share of all) of {', '.join(hardly)}"


def _contradictions(catalogue: Catalogue, spaces: Spaces) -> Iterator[str]:
    """Tell of scenes whose masks mostly show what another scene is named for.

    Mask classes that no scene is named for, such as a background, are of no account.
    """
    query = "SELECT class, counts FROM pictures JOIN samples USING (id) WHERE class != ''"
    scenes = {plain_name(name) for (name,) in catalogue.rows("SELECT DISTINCT class FROM samples")}
    for at, (name, space) in enumerate(spaces.items()):
        plain = [plain_name(item) for item in space.lookup.classes]
        both = [position for position, item in enumerate(plain) if item in scenes]
        majorities: defaultdict[str, Counter[int]] = defaultdict(Counter)
        for scene, text in catalogue.rows(query):
            counts = json.loads(text)[at]
            if plain_name(scene) in plain and any(counts[position] for position in both):
                majorities[scene][max(both, key=lambda position: int(counts[position]))] += 1
        odd = []
        for scene, found in sorted(majorities.items()):
            position, count = found.most_common(1)[0]
            if plain[position] != plain_name(scene):
                item = space.lookup.classes[position]
                odd.append(f"{scene!r} are mostly {item!r} ({count} of {found.total()})")
        if odd:
            more = ", ..." if len(odd) > _SHOWN else ""
            yield (
                f"masks {name!r} contradict the classes: pictures of {', '.join(odd[:_SHOWN])}"
                f"{more}: are the names in --mask-classes in the right order?"
            )
