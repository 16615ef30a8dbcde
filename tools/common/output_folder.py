"""Output folders that appear whole or not at all."""

import contextlib
import ctypes
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.common.command_line import refused
from train.errors import UserError
from train.files import flush_folder

# Of linux/fs.h and fcntl.h: Python has no function for it.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def check_free(out: Path, overwrite: bool, is_ours: Callable[[Path], bool]) -> None:
    """Raise a UserError if ``out`` may not be written.

    With ``overwrite`` an existing folder may be replaced, but only one that ``is_ours`` tells to be
    made by this tool.
    """
    if out.name in ("", ".."):
        raise UserError(f"{out}: not the name of a folder to make")
    if not os.path.lexists(out):
        return
    if not overwrite:
        raise UserError(f"{out}: exists already (give another --out, or --overwrite)")
    if out.is_symlink() or not out.is_dir() or (any(out.iterdir()) and not is_ours(out)):
        raise UserError(f"{out}: not a folder made by this tool, so --overwrite leaves it alone")


@contextlib.contextmanager
def whole_folder(out: Path, overwrite: bool, is_ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Give a temporary folder beside ``out`` that becomes ``out`` at the end of the block.

    What stands directly in it is on the disk by then. If the block raises, the temporary folder is
    removed and an older ``out`` is as it was.

    Raises:
        UserError: ``out`` may not be written, as for :func:`check_free`.
    """
    check_free(out, overwrite, is_ours)
    made = _make_parents(out)
    mark = uuid.uuid4().hex[:8]
    temporary = out.with_name(f".{out.name}.{mark}.tmp")
    done = False
    try:
        with refused(out, "cannot be made"):
            temporary.mkdir()
        with _named(out, temporary):
            yield temporary
        for path in (*temporary.iterdir(), temporary):
            flush_folder(path)  # of a file, it flushes what the file holds
        check_free(out, overwrite, is_ours)
        put_in_place(temporary, out, out.with_name(f".{out.name}.{mark}.old"))
        done = True
    finally:
        if not done:
            shutil.rmtree(temporary, ignore_errors=True)
            for folder in reversed(made):
                # Somebody else may have put something there meanwhile.
                with contextlib.suppress(OSError):
                    folder.rmdir()


@contextlib.contextmanager
def _named(out: Path, temporary: Path) -> Iterator[None]:
    """Let errors name the folder that the user knows."""
    try:
        yield
    except UserError as error:
        raise type(error)(str(error).replace(str(temporary), str(out))) from error.__cause__
    except OSError as error:
        if error.filename is None or Path(error.filename).is_relative_to(temporary):
            error.filename = str(out)
        raise


def _make_parents(out: Path) -> list[Path]:
    """Make the parents of a folder; return the new ones, outermost first."""
    missing = [path for path in out.parents if not path.exists()]
    with refused(out, "cannot be made"):
        out.parent.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def put_in_place(temporary: Path, out: Path, old: Path) -> None:
    """Rename ``temporary`` to ``out``; an older ``out`` goes only once the new one is there.

    Args:
        temporary: A folder beside ``out``.
        out: Where it goes.
        old: What an older one is called meanwhile, where the two cannot be swapped in one step.
    """
    if out.exists() and _exchange(temporary, out):
        flush_folder(out.parent)
        shutil.rmtree(temporary, ignore_errors=True)
        return
    try:
        if out.exists():
            out.rename(old)
        temporary.rename(out)
        flush_folder(out.parent)
    finally:
        # Interrupted between the two renames, the older one goes back to its place.
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step, so that even a power cut finds one or the other.

    Returns:
        False where the file system or the C library cannot do it.
    """
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    paths = [os.fsencode(path.absolute()) for path in (one, other)]
    done: int = rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE)
    return done == 0
