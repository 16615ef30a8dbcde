"""GDAL, by way of rasterio: found, kept small and silent, and its errors told in a line."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from train.errors import UserError
from train.files import disk_of

REQUIREMENTS = "requirements-predict.txt"
# Of what GDAL says: a place that is none, and a file of no format.
_NOWHERE = re.compile(r" at scanline 4294967295\b")
_NO_FORMAT = "not recognized as being in a supported file format"
# Read once, when GDAL is first asked. Its cache takes 5 % of the memory else. In megabytes.
_SETTINGS = {"GDAL_CACHEMAX": "32", "GDAL_MAX_DATASET_POOL_SIZE": "32"}


class UnreadableScene(UserError):
    """A scene that cannot be read, or is none of those that the network has learned from.

    Attributes:
        reason: Why, without the name of the scene.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


@cache
def rasterio() -> Any:
    """Return the module.

    Raises:
        UserError: It is not installed.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import rasterio
        import rasterio.errors
        import rasterio.features
        import rasterio.shutil
        import rasterio.warp
        import rasterio.windows
    except ImportError as error:
        raise UserError(missing("rasterio", "scenes", error)) from None
    # What it logs is in its exceptions too.
    logging.getLogger("rasterio").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)
    return rasterio


def missing(package: str, what: str, error: ImportError) -> str:
    """Return the line for a package that is not there, or not whole."""
    reason = "" if isinstance(error, ModuleNotFoundError) else f" ({error})"
    return f"{what} need {package}: python -m pip install -r {REQUIREMENTS}{reason}"


def _silent_rasterio() -> Any:
    """Return the module, with an environment for this thread: else GDAL prints its errors."""
    rio = rasterio()
    if not rio.env.hasenv():
        rio.env.defenv()
    return rio


@contextmanager
def readable(path: Path, name: str, pixels: bool = False) -> Iterator[None]:
    """Turn what GDAL says of a file that it cannot read into an UnreadableScene.

    Args:
        path: The file.
        name: What the user calls it.
        pixels: Whether the file is open already, so that only its pixels can be at fault.
    """
    rio = _silent_rasterio()
    try:
        yield
    except (rio.errors.RasterioError, rio._err.CPLE_BaseError) as error:
        text = _NOWHERE.sub("", _told(error)).removeprefix(f"{path}: ")
        if text.endswith(_NO_FORMAT):
            text = "in no format that GDAL knows"
        elif pixels:
            text = f"truncated or damaged ({text})"
        raise UnreadableScene(name, f"cannot be read: {text}") from None


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn what GDAL says of a file that it cannot write into a UserError.

    An error of the system's that names no file names this one: a full disk names none.
    """
    rio = _silent_rasterio()
    try:
        yield
    except (rio.errors.RasterioError, rio._err.CPLE_BaseError) as error:
        raise unwritable(path, error) from None
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def unwritable(path: Path, error: BaseException) -> UserError:
    """Return the line for a file that GDAL cannot write."""
    return UserError(f"{path}: cannot be written: {_told(error)} ({disk_of(path.parent)})")


def _told(error: BaseException) -> str:
    """Return the first cause, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()).rstrip(".")
