"""How pictures are to be stored, and what is noted about them on the way."""

from dataclasses import dataclass, field

# A scene of 13,377 x 13,377; decoding takes some 10 bytes a pixel.
MAX_PIXELS = 178_956_970
# What is worth a remark about a picture (see findings.py).
FOURTH_DROPPED, FOURTH_GRADED, LATER_PAGES = "fourth dropped", "fourth graded", "later pages"


class DoesNotFit(ValueError):
    """A picture that needs other options.

    Args:
        what: What the picture is.
        advice: What may be done about it, behind that.

    Attributes:
        what: The same, for commands that have no such options.
    """

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what + advice)
        self.what = what


@dataclass(frozen=True)
class Recipe:
    """How pictures are stored.

    Attributes:
        format: ``"jpeg"`` or ``"png"``.
        quality: JPEG quality, 1..100.
        size: Pixels of the shorter side, or None to keep pictures as large as they are.
        bands: Which bands become red, green and blue, counted from 1; None: the first three.
        range: Which values of pictures of more than 8 bits become 0 and 255; None: 0 and 65535.
        max_pixels: Most pixels of a picture as it comes.
    """

    format: str
    quality: int
    size: int | None
    bands: tuple[int, int, int] | None = None
    range: tuple[float, float] | None = None
    max_pixels: int = MAX_PIXELS


@dataclass
class Notes:
    """What is found out about a picture while it is decoded.

    Attributes:
        spread: The 1st and 99th percentile of its values, if it has more than 8 bits.
        remarks: What else is worth a warning.
    """

    spread: tuple[float, float] | None = None
    remarks: list[str] = field(default_factory=list)
