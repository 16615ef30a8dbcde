"""Where inputs and output are: what is wrong with that is told before anything is loaded."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from tools.common.output_folder import check_free
from tools.predict.options import Options
from tools.predict.work import about
from train.errors import UserError
from train.storage.address import check_location, is_remote


def check_places(options: Options) -> None:
    """Refuse places that cannot be right, as far as a glance at this disk tells.

    Raises:
        UserError: Something is not there, or lies where it must not.
    """
    for place in map(location_of, options.inputs):
        if not is_remote(place) and not Path(place).is_dir():
            status_of(Path(place))
    _check_out(options.out, options.inputs)
    # One that is ours may be just what is asked for.
    if about(options.out) is None:
        check_free(options.out, options.overwrite, lambda path: False)


def location_of(text: str) -> str:
    """Return a path or an address.

    Raises:
        UserError: It is neither.
    """
    try:
        return check_location(text)
    except ValueError as error:
        raise UserError(str(error)) from None


def status_of(path: Path) -> os.stat_result:
    """Return the status of a file.

    Raises:
        UserError: It is not there, or is no regular file: to open a named pipe is to wait for ever.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file or folder") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: no regular file, but a pipe, socket or device")
    return status


def _check_out(out: Path, sources: Iterable[str]) -> None:
    """Raise a UserError if the output folder is, holds or lies in an input."""
    here = out.resolve()
    for source in filter(lambda place: not is_remote(place), sources):
        if Path(source).resolve().is_relative_to(here):
            raise UserError(f"--out {out}: is or holds what is to be predicted ({source})")
        if here.is_relative_to(Path(source).resolve()):
            raise UserError(f"--out {out}: lies in {source}: choose one beside it")
