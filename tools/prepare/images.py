"""One picture: decoded to 8-bit RGB, resized, its pixels summed up, and encoded.

How other kinds of pictures become 8-bit RGB:
  grey           the value in all three channels
  palette, CMYK, YCbCr, LAB   converted by Pillow
  transparency   over black, the no-data colour of most image products
  four bands and more   three of them, with --bands
  16-bit grey    0..65535 scaled to 0..255, or the range of --range (16-bit colour: the upper 8
                 bits are kept, or with --range, in TIFFs, the range)
  floating-point, or integers outside 0..65535   need --range: they have no fixed range
EXIF orientation is applied; of several pages the first one is taken.
"""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tools.common.duplicates.fingerprint import Fingerprint, fingerprint
from tools.prepare.bands import Tiff, counted_bands
from tools.prepare.deep_values import deep_colours, is_deep_colour, spread_of, to_8_bits
from tools.prepare.recipe import (
    FOURTH_DROPPED,
    FOURTH_GRADED,
    LATER_PAGES,
    DoesNotFit,
    Notes,
    Recipe,
)

EXIF_ORIENTATION = 0x0112
# What an orientation other than upright asks for.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MAX_ASPECT = 32
_LEVELS = np.arange(256, dtype=np.int64)
# A fourth band with more values than these between 0 and 255 is hardly transparency.
_GRADED = 0.2


@dataclass(frozen=True)
class Picture:
    """A picture ready to be stored, with its size in pixels.

    Attributes:
        data: The encoded picture.
        sums: Sum of the pixels of each channel, on the scale 0..255.
        squares: Sum of their squares.
        digest: Digest of size and pixels, the same for equal pictures.
        looks: What it looks like.
        original: Width and height in the file, before turning and resizing.
        orientation: EXIF orientation, 1..8; 1 is upright.
        notes: What else was found out.
    """

    data: bytes
    height: int
    width: int
    sums: tuple[int, ...]
    squares: tuple[int, ...]
    digest: bytes
    looks: Fingerprint
    original: tuple[int, int]
    orientation: int
    notes: Notes


@dataclass(frozen=True)
class Decoded:
    """A picture as it is to be stored, before it is encoded.

    Attributes:
        image: Its pixels, 8-bit RGB, upright, of the stored size.
        kept: Whether the file itself already is what the recipe asks for.
        original: Width and height in the file, before turning and resizing.
        orientation: EXIF orientation, 1..8; 1 is upright.
        notes: What else was found out.
    """

    image: Image.Image
    kept: bool
    original: tuple[int, int]
    orientation: int
    notes: Notes


def make(data: bytes, recipe: Recipe) -> Picture:
    """Turn an image file's bytes into a stored picture.

    A file that already is what the recipe asks for is stored byte for byte.

    Raises:
        Exception: Whatever Pillow raises on a file that it cannot decode.
    """
    decoded = read_picture(data, recipe)
    image = decoded.image
    counts = np.asarray(image.histogram(), dtype=np.int64).reshape(3, 256)
    text = f"{image.width}x{image.height}:".encode()
    return Picture(
        data=encoded(data, decoded, recipe),
        height=image.height,
        width=image.width,
        sums=tuple((counts @ _LEVELS).tolist()),
        squares=tuple((counts @ _LEVELS**2).tolist()),
        digest=hashlib.blake2b(text + image.tobytes(), digest_size=16).digest(),
        looks=fingerprint(image),
        original=decoded.original,
        orientation=decoded.orientation,
        notes=decoded.notes,
    )


def read_picture(data: bytes, recipe: Recipe) -> Decoded:
    """Decode an image file's bytes as the recipe says.

    Raises:
        Exception: Whatever Pillow raises on a file that it cannot decode.
    """
    notes = Notes()
    # Before Pillow sees it, which logs a line of its own about many bands.
    tiff = Tiff.open(data)
    if tiff is not None and _needs_bands(tiff, recipe):
        check_size(tiff.size, recipe.max_pixels)
        image = _resized(_of_bands(tiff, recipe, notes), recipe.size, tiff.size)
        return Decoded(image, False, tiff.size, tiff.orientation, notes)
    with opened_picture(data, recipe.max_pixels) as opened:
        # Known only before a picture is loaded, which asking for its EXIF data may do.
        deep = is_deep_colour(opened)
        kept = opened.format == recipe.format.upper() and _is_plain(opened) and not deep
        kept = kept and recipe.bands in (None, (1, 2, 3))
        original = opened.size
        orientation = opened.getexif().get(EXIF_ORIENTATION, 1)
        image = decode(opened, _Source(data, tiff, deep), recipe, notes)
    return Decoded(image, kept and image.size == original, original, orientation, notes)


def encoded(data: bytes, decoded: Decoded, recipe: Recipe) -> bytes:
    """Return what is stored of a picture: its file, or its pixels in the recipe's format."""
    if decoded.kept:
        return data
    # JPEG with full-resolution colour.
    jpeg = {"quality": recipe.quality, "subsampling": 0} if recipe.format == "jpeg" else {}
    buffer = io.BytesIO()
    decoded.image.save(buffer, recipe.format.upper(), **jpeg)
    return buffer.getvalue()


@contextmanager
def opened_picture(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Open an image file's bytes.

    Raises:
        ValueError: It has more pixels than ``max_pixels``.
        Exception: Whatever Pillow raises on a file that it does not know.
    """
    # Pillow's own limit cannot be given to a call.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(io.BytesIO(data)) as image:
            check_size(image.size, max_pixels)
            yield image
    except UnidentifiedImageError:
        tiff = Tiff.open(data)
        if tiff is None:
            # Pillow's own text names an object in memory.
            raise ValueError("not a picture that can be read") from None
        raise DoesNotFit(tiff.describe(), tiff.advice) from None
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Raise a ValueError if a picture has more pixels than ``max_pixels``."""
    if size[0] * size[1] > max_pixels:
        raise ValueError(
            f"{size[0]}x{size[1]} are {size[0] * size[1]} pixels, more than --max-pixels "
            f"{max_pixels}: cut it into tiles, or raise that (some 10 bytes of memory a pixel)"
        )


@dataclass(frozen=True)
class _Source:
    """A picture's file; its tags if it is a TIFF; and whether it has colours of 16 bits."""

    data: bytes
    tiff: Tiff | None
    deep: bool


def decode(image: Image.Image, source: _Source, recipe: Recipe, notes: Notes) -> Image.Image:
    """Decode to 8-bit RGB, upright, the shorter side ``recipe.size`` pixels long."""
    size, whole, tiff, deep = recipe.size, image.size, source.tiff, source.deep
    if size is not None and image.format == "JPEG" and min(whole) >= 4 * size:
        # Lets the decoder shrink by 2, 4 or 8, never below twice the size asked for.
        image.draft(None, (2 * size, 2 * size))
    if tiff is not None and _has_later_pages(image):
        notes.remarks.append(LATER_PAGES)
    if deep and recipe.range is not None:
        turn = TURNS.get(image.getexif().get(EXIF_ORIENTATION, 1))
        values = deep_colours(source.data, image)
        scaled = to_8_bits(values, recipe, notes)
        if recipe.bands is None:
            # Transparency has the whole range.
            scaled[..., 3:] = values[..., 3:] >> 8
        image = Image.fromarray(scaled)
        image = image if turn is None else image.transpose(turn)
        deep = False
    dropped = tiff is not None and tiff.has_undeclared_fourth
    upright = ImageOps.exif_transpose(image)
    if dropped and recipe.bands is None:
        notes.remarks.append(FOURTH_DROPPED)
        upright = Image.merge("RGB", upright.split()[:3])
    if deep:
        # Of values of 16 bits, the upper 8 are there.
        low, high = spread_of(np.asarray(upright)[..., :3])
        notes.spread = low * 256, high * 256 + 255
    rgb = to_rgb(upright, recipe, notes)
    return _resized(rgb, size, whole)


def _resized(rgb: Image.Image, size: int | None, whole: tuple[int, int]) -> Image.Image:
    """Make the shorter side of a picture ``size`` pixels long; ``whole`` is its size in the file.

    Raises:
        ValueError: It is far from a square.
    """
    if size is None:
        return rgb
    short, long = sorted(whole)
    if long > _MAX_ASPECT * short:
        raise ValueError(f"its longer side is more than {_MAX_ASPECT} times the shorter one")
    longer = max(size, round(long * size / short))
    target = (longer, size) if rgb.width > rgb.height else (size, longer)
    if rgb.size == target:
        return rgb
    return rgb.resize(target, Image.Resampling.LANCZOS, reducing_gap=3.0)


def to_rgb(image: Image.Image, recipe: Recipe, notes: Notes) -> Image.Image:
    """Convert to mode RGB as the module's docstring says.

    Raises:
        ValueError: Its pixels have no fixed range, or it has not the bands asked for.
    """
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        values = to_8_bits(np.asarray(image), recipe, notes)
        image = Image.fromarray(values)
    if recipe.bands is not None:
        if image.mode == "P":
            image = image.convert("RGB")
        bands = image.split()
        _check_bands(len(bands), recipe.bands)
        return Image.merge("RGB", [bands[band - 1] for band in recipe.bands])
    if image.has_transparency_data:
        image = image.convert("RGBA")
        counts = image.getchannel("A").histogram()
        if sum(counts[1:255]) > _GRADED * sum(counts):
            notes.remarks.append(FOURTH_GRADED)
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return image.convert("RGB")


def _needs_bands(tiff: Tiff, recipe: Recipe) -> bool:
    """Return whether a TIFF's bands are to be read one by one, which Pillow does not do."""
    if tiff.bands > 4 and recipe.bands is None:
        raise DoesNotFit(tiff.describe(), tiff.advice)
    separate = tiff.bands > 3 or (tiff.bands > 1 and not tiff.is_of_colour)
    deep = tiff.bits > 8 and tiff.bands > 2
    return (recipe.bands is not None and separate) or (deep and recipe.range is not None)


def _of_bands(tiff: Tiff, recipe: Recipe, notes: Notes) -> Image.Image:
    bands = recipe.bands or (1, 2, 3)
    if recipe.bands is None and tiff.bands > 3:
        notes.remarks.append(FOURTH_DROPPED)
    _check_bands(tiff.bands, bands)
    values = tiff.read((bands[0] - 1, bands[1] - 1, bands[2] - 1))
    image = Image.fromarray(np.ascontiguousarray(to_8_bits(values, recipe, notes)))
    turn = TURNS.get(tiff.orientation)
    return image if turn is None else image.transpose(turn)


def _check_bands(count: int, bands: tuple[int, ...]) -> None:
    if max(bands) > count:
        raise DoesNotFit(counted_bands(count), f", but --bands asks for band {max(bands)}")


def _has_later_pages(image: Image.Image) -> bool:
    """Return whether a TIFF holds another picture than the first, and smaller versions of it."""
    if getattr(image, "n_frames", 1) < 2:
        return False
    image.seek(1)
    # Bit 0 marks a smaller version, bit 2 a mask of what is transparent.
    kind = int(getattr(image, "tag_v2", {}).get(254, 0))
    image.seek(0)
    return not kind & 5


def _is_plain(image: Image.Image) -> bool:
    """Return whether decoding alone gives the 8-bit RGB picture."""
    if image.mode != "RGB" or image.has_transparency_data:
        return False
    return image.getexif().get(EXIF_ORIENTATION, 1) in (0, 1)
