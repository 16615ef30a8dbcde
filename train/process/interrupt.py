"""Ctrl-C (INT) while MindSpore computes."""

import ctypes
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_libc = ctypes.CDLL(None)
_STRUCT_BYTES = 256  # more than a struct sigaction, 152 bytes on Linux


@contextmanager
def interrupt_kept() -> Iterator[None]:
    """Give INT its handler back after a graph has run; from any thread.

    With every graph that it runs, MindSpore puts one of its own there, which sends this process
    TERM. What comes while the graph runs does become a TERM.
    """
    handler = ctypes.create_string_buffer(_STRUCT_BYTES)
    _libc.sigaction(signal.SIGINT, None, handler)
    try:
        yield
    finally:
        _libc.sigaction(signal.SIGINT, handler, None)
