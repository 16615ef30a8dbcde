"""How a program ends: exit codes, standard streams, and one line for whatever has stopped it.

What goes wrong outside of a program (a mistake of the user's, a full disk, a reader that has gone)
ends in one line or none, and never in a traceback.

Needs the standard library only: the launcher and the rank tables use it too.
"""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Any

from train.errors import USER_ERROR, UserError, error_text

_INTERRUPTED = 130
# What a shell makes of a program that SIGPIPE ends.
_READER_GONE = 141

_ESCAPES = "backslashreplace"

_FULL = (errno.ENOSPC, errno.EDQUOT)

# What a machine answers to a program that is right. Anything else may be a fault of the program.
_REFUSALS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE),
        *(errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EMFILE, errno.ENFILE),
        *(errno.ENOTDIR, errno.EISDIR, errno.ENOMEM, errno.ENODEV, errno.ENXIO, errno.EOPNOTSUPP),
    }
)


def exit_code(work: Callable[[], int]) -> int:
    """Do the work of a program; return its exit code, and tell in one line what has ended it.

    Names that the streams cannot show in their encoding are shown with escapes.
    """
    _make_streams_safe()
    try:
        try:
            return work()
        finally:
            # Here, so that what cannot be written any more is told in our way.
            sys.stdout.flush()
    except UserError as error:
        return _ended(error_text(error), USER_ERROR)
    except KeyboardInterrupt:
        return _ended("interrupted", _INTERRUPTED)
    except OSError as error:
        text = refusal(error)
        if text is None:
            raise
        return _ended(error_text(text), USER_ERROR)


def refusal(error: OSError) -> str | None:
    """Return what to tell of an error of the system's; None if it may be a fault of ours."""
    if error.errno not in _REFUSALS:
        return None
    where = error.filename
    named = isinstance(where, (str, bytes))
    return f"{os.fsdecode(where)}: {error.strerror}" if named else str(error.strerror)


def outlive_output() -> None:
    """From now on work goes on where a standard stream breaks: a long run is worth more."""
    _Stream.is_dispensable = True


class _Stream(io.FileIO):
    """A standard stream that leads nowhere once it breaks, and ends the program or says so.

    Attributes:
        is_dispensable: Of all of them: whether a note is enough.
    """

    is_dispensable = False
    _lost = 0  # bytes since the disk is full

    def write(self, data: Any) -> int:
        try:
            if self._lost:
                super().write(b"\n[%d bytes are missing here: the disk was full]\n" % self._lost)
                self._lost = 0
            return super().write(data)
        except OSError as error:
            size, first = memoryview(data).nbytes, not self._lost
            if self.is_dispensable and error.errno in _FULL:  # it may have room again
                self._lost += size
            else:
                self._lead_nowhere()
            told = f"standard output: {error.strerror}"
            if self.is_dispensable:
                if first:
                    self._tell(f"note: {told}; the run goes on without it")
                return size
            if error.errno == errno.EPIPE:  # the reader, such as head, has seen enough
                raise SystemExit(_READER_GONE) from None
            self._tell(error_text(told))
            raise SystemExit(USER_ERROR) from None

    def _lead_nowhere(self) -> None:
        # What still waits in its buffer would make Python complain in the end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)

    def _tell(self, text: str) -> None:
        """Tell what is wrong with standard output; of the other one nobody would hear by itself."""
        if self.fileno() == 1:
            _ended(text, 0)


def _make_streams_safe() -> None:
    # Closed (>&-), their numbers would go to the first files that are opened.
    while (spare := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(spare, True)
    os.close(spare)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None or stream is getattr(sys, f"__{name}__"):
            stream = _reopened(number, stream)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        # What is here otherwise has been put here, by a test for instance.


def _reopened(number: int, before: Any) -> io.TextIOWrapper:
    """Return a standard stream like the one before, but for its errors and its escapes."""
    raw = _Stream(number, "w", closefd=False)
    if before is None:
        return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors=_ESCAPES)
    before.flush()
    buffer: Any = raw if before.write_through else io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffer,
        encoding=before.encoding,
        errors=_ESCAPES,
        line_buffering=before.line_buffering,
        write_through=before.write_through,
    )


def _ended(text: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
    return code
