"""What to prepare, and how."""

import math
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tools.common.command_line import MAX_WORKERS, check_ranges
from tools.prepare.recipe import MAX_PIXELS, Recipe
from tools.prepare.shards import MAX_SHARDS
from train.errors import UserError

DEFAULT_RATIOS = (0.6, 0.2, 0.2)


@dataclass(frozen=True)
class Options:
    """What to prepare, and how: what ``--help`` says of the options of the same names.

    Attributes:
        name: Name of the data set; empty: ``out``'s name.
        layout: Pattern of the paths of pictures; None: plain class folders or split folders.
        table: CSV of the pictures; None: they are taken from the folders.
        ratios: Shares of train, val, test where no splits are given; None: the default.
        size: Pixels of the shorter side; None: pictures are kept as they are.
        bands: Numbers of the bands that become red, green and blue; None: the first three.
        range: Values of deep pictures that become black and white; None: 0 and 65535.
        max_pixels: Most pixels of a picture.
        shards: Most files per split; None: as many as large splits need.
        command: What the user typed, for the manifest.
        source_name: What the manifest calls ``src``; empty: its path as given.
    """

    src: Path
    out: Path
    name: str = ""
    layout: str | None = None
    table: Path | None = None
    ratios: tuple[float, float, float] | None = None
    seed: int = 0
    size: int | None = None
    bands: tuple[int, int, int] | None = None
    range: tuple[float, float] | None = None
    max_pixels: int = MAX_PIXELS
    format: str = "jpeg"
    quality: int = 95
    shards: int | None = None
    workers: int = 1
    masks: tuple[str, ...] = ()
    mask_classes: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    duplicates: str = "refuse"
    against: tuple[Path, ...] = ()
    skip_unreadable: bool = False
    skip_unmasked: bool = False
    overwrite: bool = False
    command: str = ""
    source_name: str = ""

    @property
    def recipe(self) -> Recipe:
        """How pictures are stored."""
        more = self.bands, self.range, self.max_pixels
        return Recipe(self.format, self.quality, self.size, *more)

    @property
    def set_name(self) -> str:
        """Name of the data set."""
        return self.name or re.sub(r"[^\w.-]+", "_", self.out.name)

    def command_with(self, *more: str, src: Path | None = None) -> str:
        """Return the command of the user with further options, or with another source."""
        words = shlex.split(self.command) or ["python", "-m", "tools", "prepare", str(self.src)]
        if src is not None:
            at = next((i for i, word in enumerate(words) if Path(word) == self.src), len(words))
            words[at : at + 1] = [str(src)]
        return shlex.join([*words, *more])


def check_options(options: Options) -> None:
    """Raise a UserError that names an option out of its range."""
    limits = {"size": (1, 8192), "quality": (1, 100), "shards": (1, MAX_SHARDS)}
    limits |= {"workers": (1, MAX_WORKERS), "max_pixels": (1, 2**31 - 1)}
    check_ranges(options, limits)
    if options.layout is not None and options.table is not None:
        raise UserError(f"--layout {options.layout}: --table names the pictures already")
    if options.bands is not None and min(options.bands) < 1:
        text = ",".join(map(str, options.bands))
        raise UserError(f"--bands {text}: the first band is number 1")
    if options.range is not None and not -math.inf < options.range[0] < options.range[1] < math.inf:
        text = ",".join(f"{value:g}" for value in options.range)
        raise UserError(f"--range {text}: must be LOW,HIGH with LOW below HIGH")
    if options.name and not re.fullmatch(r"[\w.-]+", options.name):
        raise UserError(f"--name {options.name!r}: may hold letters, digits, '_', '-' and '.'")
    if options.ratios is not None:
        _check_ratios(options.ratios)
    out = options.out.resolve()
    if options.src.resolve().is_relative_to(out):
        raise UserError(f"--out {options.out}: is or holds SRC ({options.src})")
    if out.is_relative_to(options.src.resolve()):
        raise UserError(f"--out {options.out}: lies in SRC ({options.src}): choose one beside it")
    if not options.src.is_dir():
        is_file = options.src.exists()
        raise UserError(f"{options.src}: {'a file: unpack it' if is_file else 'no such folder'}")
    for other in options.against:
        if other.resolve() == out:
            raise UserError(f"--against {other}: is --out itself")


def _check_ratios(ratios: tuple[float, float, float]) -> None:
    text = ",".join(f"{ratio:g}" for ratio in ratios)
    # Written so that NaN fails too.
    if not (all(ratio >= 0 for ratio in ratios) and abs(sum(ratios) - 1) < 1e-6):
        raise UserError(f"--ratios {text}: must not be negative and must add up to 1")
    if ratios[0] == 0:
        raise UserError(f"--ratios {text}: the first one, train, must be above 0")
