"""TIFFs of any number of bands, which Pillow does not open: three of their bands are taken.

The pixels are decoded by Pillow (and its libtiff) all the same: to it, a picture of 13 bands is
handed as a grey one that is 13 times as wide, whose neighbouring pixels are the bands; and a file
that holds one band after the other as one grey picture for each.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES = 256, 257, 258, 259, 262, 277
STRIPS, ROWS_PER_STRIP, STRIP_BYTES, PLANAR, PREDICTOR = 273, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, EXTRA, FORMAT = 322, 323, 324, 325, 338, 339
_FILL_ORDER, _ORIENTATION = 266, 274

# LZW, Deflate (two numbers), LZMA, Zstandard: those that store differences, if so told.
_PREDICTED = (5, 8, 32946, 34925, 50000)
_KINDS = {1: "whole numbers", 2: "signed numbers", 3: "floating point"}


def counted_bands(count: int) -> str:
    """Return "1 band", "2 bands" and so on."""
    return f"{count} band{'s' if count != 1 else ''}"


def read_tags(file: BinaryIO) -> dict[int, Any] | None:
    """Read the tags of the first page of a file; None if it is no TIFF.

    Raises:
        Exception: Whatever Pillow raises on what it cannot read.
    """
    head = file.read(4)
    if head not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    head += file.read(12 if head[2:] in (b"+\0", b"\0+") else 4)
    directory = ImageFileDirectory_v2(head)
    file.seek(directory.next)
    directory.load(file)
    return dict(directory)


@dataclass(frozen=True)
class Tiff:
    """The first page of a TIFF.

    Attributes:
        data: The file.
        tags: What it says of itself.
    """

    data: bytes
    tags: dict[int, Any]

    @classmethod
    def open(cls, data: bytes) -> "Tiff | None":
        """Read the tags of a file's first page; None if it is no TIFF."""
        tags = read_tags(io.BytesIO(data))
        return None if tags is None else cls(data, tags)

    def _first(self, tag: int, default: int) -> int:
        value = self.tags.get(tag, default)
        return int(value[0] if isinstance(value, tuple) else value)

    def _all(self, tag: int) -> list[int]:
        value = self.tags.get(tag, ())
        return [int(v) for v in (value if isinstance(value, tuple) else (value,))]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._first(WIDTH, 0), self._first(HEIGHT, 0)

    @property
    def bands(self) -> int:
        """Number of bands, among them transparency if there is any."""
        return self._first(SAMPLES, 1)

    @property
    def bits(self) -> int:
        """Bits of a value."""
        return self._first(BITS, 1)

    @property
    def orientation(self) -> int:
        """EXIF orientation, 1..8."""
        return self._first(_ORIENTATION, 1)

    @property
    def has_undeclared_fourth(self) -> bool:
        """Whether its fourth and last band is not said to be transparency."""
        colour = self._first(PHOTOMETRIC, 1) == 2
        return colour and self.bands == 4 and self._first(EXTRA, 0) not in (1, 2)

    @property
    def is_of_colour(self) -> bool:
        """Whether its bands are those of a colour; else each is a picture of its own."""
        return self._first(PHOTOMETRIC, 1) > 1

    @property
    def advice(self) -> str:
        """What may be done about one that Pillow does not open, in a few words, or nothing."""
        if self.bands > 3 or (self.bands == 2 and not self.is_of_colour):
            example = "4,3,2" if self.bands > 3 else "1,2,1"
            return f": choose three with --bands, as in --bands {example}"
        return ": give their range with --range LOW,HIGH" if self.bands == 3 else ""

    def describe(self) -> str:
        """Say in a few words what its pixels are."""
        kind = _KINDS.get(self._first(FORMAT, 1), "values of an unknown kind")
        return f"{counted_bands(self.bands)} of {self.bits}-bit {kind}"

    def read(self, chosen: tuple[int, ...]) -> npt.NDArray[Any]:
        """Decode some bands, counted from 0.

        Returns:
            Array (height, width, bands) of the file's own values.

        Raises:
            ValueError: They are stored in a way that is not read.
            Exception: Whatever Pillow raises on a file that it cannot decode.
        """
        if len(set(self._all(BITS))) > 1 or self._first(PREDICTOR, 1) > 2:
            raise ValueError(f"{self.describe()}: stored in a way that is not read")
        if self._first(PLANAR, 1) == 2:
            return np.stack([self._grey(1, band) for band in chosen], axis=-1)
        width, height = self.size
        return self._grey(self.bands, None).reshape(height, width, self.bands)[..., list(chosen)]

    def _grey(self, samples: int, band: int | None) -> npt.NDArray[Any]:
        """Decode as a grey picture: all bands side by side, or one that is stored by itself."""
        width = self.size[0] * samples
        tile = self._first(TILE_WIDTH, 0) * samples
        new = {tag: self._all(tag) for tag in (HEIGHT, COMPRESSION, _FILL_ORDER, ROWS_PER_STRIP)}
        new |= {tag: self._all(tag) for tag in (STRIPS, STRIP_BYTES, TILES, TILE_BYTES)}
        if band is not None:
            for tag in (STRIPS, STRIP_BYTES, TILES, TILE_BYTES):
                count = len(new[tag]) // self.bands
                new[tag] = new[tag][band * count : (band + 1) * count]
        new |= {WIDTH: [width], TILE_WIDTH: [tile] if tile else [], PHOTOMETRIC: [1]}
        new |= {BITS: [self.bits], FORMAT: [self._first(FORMAT, 1)], SAMPLES: [1]}
        new[TILE_HEIGHT] = self._all(TILE_HEIGHT)
        with Image.open(io.BytesIO(self._with_tags(new))) as image:
            values = np.array(image)
        if self._first(PREDICTOR, 1) == 2 and self._first(COMPRESSION, 1) in _PREDICTED:
            # Each value is stored as the difference from the same band of the pixel to the left.
            step = tile or width
            for x in range(0, width, step):
                part = values[:, x : x + step]
                part = part.reshape(len(part), -1, samples)
                part = np.cumsum(part, axis=1, dtype=values.dtype)
                values[:, x : x + step] = part.reshape(len(part), -1)
        return values

    def _with_tags(self, tags: dict[int, list[int]]) -> bytes:
        """Return the file with another directory, behind all that it holds."""
        order = "<" if self.data[:1] == b"I" else ">"
        big = self.data[2:4] in (b"+\0", b"\0+")
        # Every value as a long one: 4 bytes, or 8 in the variant for large files.
        count, value, kind, room = ("Q", "Q", 16, 1) if big else ("L", "L", 4, 1)
        tags = {tag: tags[tag] for tag in sorted(tags) if tags[tag]}
        start = len(self.data) + len(self.data) % 2
        size = struct.calcsize(f"{order}HH{count}{value}")
        after = start + (8 if big else 2) + size * len(tags) + struct.calcsize(f"{order}{count}")
        directory = struct.pack(f"{order}{'Q' if big else 'H'}", len(tags))
        lists = b""
        for tag, values in tags.items():
            packed = struct.pack(f"{order}{len(values)}{value}", *values)
            if len(values) > room:
                place = after + len(lists)
                lists += packed
                packed = struct.pack(f"{order}{value}", place)
            directory += struct.pack(f"{order}HH{count}", tag, kind, len(values)) + packed
        directory += struct.pack(f"{order}{count}", 0)
        head = self.data[:8] + struct.pack(f"{order}Q", start) if big else self.data[:4]
        if not big:
            head += struct.pack(f"{order}L", start)
        return head + self.data[len(head) :].ljust(start - len(head), b"\0") + directory + lists
