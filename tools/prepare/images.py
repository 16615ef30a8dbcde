"""One picture: decoded to 8-bit RGB, resized, its pixels summed up, and encoded.

How other kinds of pictures become 8-bit RGB:
  grey           the value in all three channels
  palette, CMYK, YCbCr, LAB   converted by Pillow
  transparency   over black, the no-data colour of most image products
  16-bit grey    0..65535 scaled to 0..255 (16-bit colour: the upper 8 bits are kept)
  floating-point, or integers outside 0..65535   refused: they have no fixed range
EXIF orientation is applied; of several pages the first one is taken.
"""

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from tools.common.duplicates.fingerprint import Fingerprint, fingerprint

EXIF_ORIENTATION = 0x0112
_MAX_ASPECT = 32
_LEVELS = np.arange(256, dtype=np.int64)


@dataclass(frozen=True)
class Recipe:
    """How pictures are stored.

    Attributes:
        format: ``"jpeg"`` or ``"png"``.
        quality: JPEG quality, 1..100.
        size: Pixels of the shorter side, or None to keep pictures as large as they are.
    """

    format: str
    quality: int
    size: int | None


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


def make(data: bytes, recipe: Recipe) -> Picture:
    """Turn an image file's bytes into a stored picture.

    A file that already is what the recipe asks for is stored byte for byte.

    Raises:
        Exception: Whatever Pillow raises on a file that it cannot decode.
    """
    with Image.open(io.BytesIO(data)) as opened:
        kept = opened.format == recipe.format.upper() and _is_plain(opened)
        size_before = opened.size
        orientation = opened.getexif().get(EXIF_ORIENTATION, 1)
        image = decode(opened, recipe.size)
    buffer = io.BytesIO(data)
    if not kept or image.size != size_before:
        # JPEG with full-resolution colour.
        jpeg = {"quality": recipe.quality, "subsampling": 0} if recipe.format == "jpeg" else {}
        buffer = io.BytesIO()
        image.save(buffer, recipe.format.upper(), **jpeg)
    counts = np.asarray(image.histogram(), dtype=np.int64).reshape(3, 256)
    text = f"{image.width}x{image.height}:".encode()
    return Picture(
        data=buffer.getvalue(),
        height=image.height,
        width=image.width,
        sums=tuple((counts @ _LEVELS).tolist()),
        squares=tuple((counts @ _LEVELS**2).tolist()),
        digest=hashlib.blake2b(text + image.tobytes(), digest_size=16).digest(),
        looks=fingerprint(image),
        original=size_before,
        orientation=orientation,
    )


def decode(image: Image.Image, size: int | None) -> Image.Image:
    """Decode to 8-bit RGB, upright, the shorter side ``size`` pixels long."""
    if size is None:
        return to_rgb(ImageOps.exif_transpose(image))
    short, long = sorted(image.size)
    if long > _MAX_ASPECT * short:
        raise ValueError(f"its longer side is more than {_MAX_ASPECT} times the shorter one")
    if image.format == "JPEG" and short >= 4 * size:
        # Lets the decoder shrink by 2, 4 or 8, never below twice the size asked for.
        image.draft(None, (2 * size, 2 * size))
    rgb = to_rgb(ImageOps.exif_transpose(image))
    longer = max(size, round(long * size / short))
    target = (longer, size) if rgb.width > rgb.height else (size, longer)
    if rgb.size == target:
        return rgb
    return rgb.resize(target, Image.Resampling.LANCZOS, reducing_gap=3.0)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert to mode RGB as the module's docstring says.

    Raises:
        ValueError: Its pixels have no fixed range.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range: scale them to 8 bits first")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("integer pixels outside 0..65535: scale them to 8 bits first")
        image = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return image.convert("RGB")


def _is_plain(image: Image.Image) -> bool:
    """Return whether decoding alone gives the 8-bit RGB picture."""
    if image.mode != "RGB" or image.has_transparency_data:
        return False
    if image.format == "PNG" and "16B" in str(getattr(image, "tile", "")):
        # 16 bits per channel open as RGB all the same, the lower 8 bits dropped.
        return False
    return image.getexif().get(EXIF_ORIENTATION, 1) in (0, 1)
