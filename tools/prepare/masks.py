"""Masks, decoded: from the values or colours of a file to positions in a list of classes.

A mask by index is a grey or palette picture whose values (of a palette picture: the indices, not
the colours) are classes; 8 bits, or 16 with values up to 65535. A mask by colour is any RGB or
palette picture with exact colours. JPEG is refused, as it changes values. A mask has the size of
its picture and is turned as the picture is: by its own EXIF orientation if it has one, else by the
picture's.
"""

import contextlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor

from tools.common.command_line import refused
from tools.prepare.bands import Tiff
from tools.prepare.images import EXIF_ORIENTATION, TURNS, opened_picture
from tools.prepare.layout import plain_name
from tools.prepare.recipe import MAX_PIXELS
from train.data.records import IGNORE_INDEX
from train.errors import UserError
from train.files import read_json

_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
_HIGHEST = 65535
_UNLISTED = IGNORE_INDEX + 1
# Of values that mean nothing: how many are shown, and how many are noted of one mask.
_SHOWN = 20
_MOST_NOTED = 100


@dataclass(frozen=True)
class Lookup:
    """What the pixels of a label space's masks mean.

    Attributes:
        name: Name of the label space.
        classes: Class names.
        by_colour: Whether pixels are colours; otherwise they are numbers.
        values: The values, sorted; a colour is the number 0xRRGGBB.
        positions: For every value the position of its class, or ``IGNORE_INDEX``.
    """

    name: str
    classes: tuple[str, ...]
    by_colour: bool
    values: tuple[int, ...]
    positions: tuple[int, ...]

    @property
    def colours(self) -> tuple[str, ...]:
        """The colours of the classes, "#rrggbb"; empty where pixels are numbers."""
        codes = dict(zip(self.positions, self.values, strict=True))
        every = range(len(self.classes)) if self.by_colour else ()
        return tuple(f"#{codes[position]:06x}" for position in every)


@dataclass(frozen=True)
class Mask:
    """A mask ready to be stored: the PNG, and pixels per class and, last, of those without."""

    data: bytes
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Unlisted:
    """Values of a mask that are no class and are not ignored.

    Attributes:
        lookup: What its values may be.
        path: The mask.
        pixels: Column and row of the first pixel of each of its values.
    """

    lookup: Lookup
    path: Path
    pixels: dict[int, tuple[int, int]]


class UnlistedValues(UserError):
    """A mask holds values that mean nothing."""

    def __init__(self, found: Unlisted) -> None:
        super().__init__(unlisted_text([found]))
        self.found = found


def unlisted_text(found: Sequence[Unlisted]) -> str:
    """Say which values of some masks of one label space mean nothing: all in one line."""
    lookup = found[0].lookup
    kind, form = ("colour", "#{:06x}") if lookup.by_colour else ("value", "{}")
    masks = Counter(code for one in found for code in one.pixels)
    first = {code: (one.path, *at) for one in reversed(found) for code, at in one.pixels.items()}
    texts = []
    for code, count in sorted(masks.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]:
        path, x, y = first[code]
        texts.append((form.format(code), f"at column {x}, row {y}", path, count))
    if len(masks) == 1:
        value, at, path, count = texts[0]
        more = f" (and in {count - 1} more masks)" if count > 1 else ""
        return (
            f"{path}: {kind} {value} {at}{more} is no class of {lookup.name!r} "
            "(list it in --mask-classes, or give it with --ignore)"
        )
    shown = ", ".join(f"{value} ({n} masks; {path} {at})" for value, at, path, n in texts)
    hint = "list them in --mask-classes, or give them with --ignore"
    if len(masks) > _SHOWN:
        shown += f" and {len(masks) - _SHOWN} others"
        hint += "; so many come from blending, as by JPEG, or from a picture that is no mask"
    return f"{len(masks)} {kind}s are no class of {lookup.name!r}: {shown} ({hint})"


def read_lookup(name: str, path: Path, ignored: Sequence[str]) -> Lookup:
    """Read a JSON file of classes: ``[name, ...]``, ``{name: index}`` or ``{name: colour}``.

    Args:
        name: Name of the label space.
        path: The file; a colour is ``"#rrggbb"`` or ``[r, g, b]``.
        ignored: Values or colours of pixels without class.

    Raises:
        UserError: The file cannot be read or says something else.
    """
    pairs = _read_classes(path)
    classes = [item for item, _ in pairs]
    by_colour = not isinstance(pairs[0][1], int)
    found: dict[int, int] = {}
    for position, (item, value) in enumerate(pairs):
        code = _code(value, by_colour, f"{path}: {item}")
        if code in found:
            raise UserError(f"{path}: {item}: {value} is {classes[found[code]]} already")
        found[code] = position
    if not by_colour:
        # Classes keep the order of their indices.
        classes = [classes[found[code]] for code in sorted(found)]
        found = {code: position for position, code in enumerate(sorted(found))}
    for text in ignored:
        code = _code(int(text) if text.isdigit() else text, by_colour, f"--ignore {text}")
        if found.get(code, IGNORE_INDEX) != IGNORE_INDEX:
            raise UserError(f"--ignore {text}: is class {classes[found[code]]!r} in {path}")
        found[code] = IGNORE_INDEX
    values = tuple(sorted(found))
    return Lookup(name, tuple(classes), by_colour, values, tuple(found[v] for v in values))


def _read_classes(path: Path) -> list[tuple[str, Any]]:
    """Return the class names in a file with their values, not yet checked."""
    try:
        with refused(path):
            data = read_json(path)
    except ValueError as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from None
    pairs: list[tuple[str, Any]] = []
    if isinstance(data, dict):
        pairs = list(data.items())
    elif isinstance(data, list) and all(isinstance(item, str) for item in data):
        pairs = [(item, index) for index, item in enumerate(data)]
    classes = [item for item, _ in pairs]
    if not 1 <= len(classes) <= IGNORE_INDEX or len(set(classes)) < len(classes) or "" in classes:
        raise UserError(
            f"{path}: must be a list of different class names, or an object that gives each its "
            f"index or its colour; 1 to {IGNORE_INDEX} of them"
        )
    seen: dict[str, str] = {}
    for item in classes:
        if (other := seen.setdefault(plain_name(item), item)) != item:
            raise UserError(f"{path}: {other!r} and {item!r} differ in case, blanks or signs alone")
    return pairs


def _code(value: object, by_colour: bool, where: str) -> int:
    if not by_colour:
        if type(value) is int and 0 <= value <= _HIGHEST:
            return value
        raise UserError(
            f"{where}: {value!r} must be a whole number in 0..{_HIGHEST}, as the others"
        )
    if isinstance(value, str) and value.startswith("#"):
        with contextlib.suppress(ValueError):
            value = list(ImageColor.getrgb(value))
    parts = value if isinstance(value, list) else []
    if [type(part) for part in parts] == [int] * 3 and all(0 <= part <= 255 for part in parts):
        return int(parts[0]) << 16 | int(parts[1]) << 8 | int(parts[2])
    raise UserError(f"{where}: {value!r} must be a colour, '#rrggbb' or [r, g, b]")


def make_mask(
    path: Path,
    data: bytes,
    lookup: Lookup,
    size: tuple[int, int],
    orientation: int,
    target: tuple[int, int],
    max_pixels: int = MAX_PIXELS,
) -> Mask:
    """Turn a mask file's bytes into a stored mask.

    Args:
        path: The file, for messages.
        data: Its bytes.
        lookup: What its pixels mean.
        size: Width and height of its picture's file, before turning.
        orientation: EXIF orientation of the picture.
        target: Width and height of the stored picture.
        max_pixels: Most pixels of its file.

    Raises:
        UnlistedValues: It has pixels whose values are not listed.
        UserError: It has another size, or is of another kind.
        Exception: Whatever Pillow raises on a file that it cannot decode.
    """
    # Before Pillow sees it, which logs a line of its own about many bands.
    if (tiff := Tiff.open(data)) is not None and tiff.bands > 4:
        raise UserError(f"{path}: {tiff.describe()}: a mask has one, or the three of a colour")
    with opened_picture(data, max_pixels) as opened:
        if opened.format == "JPEG":
            raise UserError(f"{path}: a mask must not be a JPEG, which changes values: use PNG")
        if opened.size != size:
            raise UserError(
                f"{path}: {opened.width}x{opened.height} pixels, but its picture has "
                f"{size[0]}x{size[1]}"
            )
        own = opened.getexif().get(EXIF_ORIENTATION, 1)
        opened.load()
        codes = _codes(path, opened, lookup)
    image = Image.fromarray(_positions(path, codes, lookup))
    turn = TURNS.get(own if own in TURNS else orientation)
    if turn is not None:
        image = image.transpose(turn)
    if image.size != target:
        image = image.resize(target, Image.Resampling.NEAREST)
    counts = image.histogram()
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return Mask(buffer.getvalue(), (*counts[: len(lookup.classes)], counts[IGNORE_INDEX]))


def _codes(path: Path, image: Image.Image, lookup: Lookup) -> npt.NDArray[Any]:
    if lookup.by_colour:
        if image.mode not in ("RGB", "RGBA", "P", "L"):
            raise UserError(f"{path}: mode {image.mode}: a mask by colour must be RGB or palette")
        pixels = np.asarray(image.convert("RGB"), np.int32)
        return pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    if image.mode not in _INDEX_MODES:
        raise UserError(
            f"{path}: mode {image.mode}: a mask by index must be grey or palette "
            "(for colours, let the file of --mask-classes give colours)"
        )
    return np.asarray(image)


def _positions(path: Path, codes: npt.NDArray[Any], lookup: Lookup) -> npt.NDArray[np.uint8]:
    if codes.dtype == np.uint8:
        # By far the most common kind, and by far the fastest way.
        table = np.full(256, _UNLISTED, np.uint16)
        for value, position in zip(lookup.values, lookup.positions, strict=True):
            if value < 256:
                table[value] = position
        found = table[codes]
        wrong = found == _UNLISTED
    else:
        values = np.array(lookup.values)
        nearest = np.searchsorted(values, codes).clip(max=len(values) - 1)
        wrong = values[nearest] != codes
        found = np.array(lookup.positions)[nearest]
    if wrong.any():
        places = np.flatnonzero(wrong)
        values, first = np.unique(codes[wrong], return_index=True)
        rows, columns = np.divmod(places[first], codes.shape[1])
        found_there = zip(*(part.tolist() for part in (values, columns, rows)), strict=True)
        pixels = {code: (x, y) for code, x, y in islice(found_there, _MOST_NOTED)}
        raise UnlistedValues(Unlisted(lookup, path, pixels))
    result: npt.NDArray[np.uint8] = found.astype(np.uint8)
    return result
