"""What the worker processes do: from the files of some pictures to what is stored of them."""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import UnidentifiedImageError

from tools.prepare.images import Picture, Recipe, make
from tools.prepare.masks import Lookup, Mask, make_mask
from train.errors import UserError


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
    """A picture and its masks, ready to be stored.

    Attributes:
        picture: The picture.
        masks: Its masks.
        sha256: Digests of the files: the picture's, then the masks'.
    """

    picture: Picture
    masks: tuple[Mask, ...]
    sha256: tuple[str, ...]


@dataclass(frozen=True)
class Unreadable:
    """A picture that could not be decoded, or whose mask could not.

    Attributes:
        reason: Why, in one line.
        sha256: Digest of the picture's file; empty if that could not be read.
    """

    reason: str
    sha256: str


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
