"""Python's garbage collector, which has nothing to find among what came with MindSpore."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def objects_kept() -> Iterator[None]:
    """Keep the collector from all objects that there are, while a network works.

    MindSpore makes some hundred thousand objects when it is imported and compiles, and many with
    every call of a graph, so that the collector looks at all of them again and again: up to a sixth
    of the time of a small network. What comes later is collected as ever.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def collector_paused() -> Iterator[None]:
    """Collect nothing while a network is compiled.

    With a cell, MindSpore throws graphs away that it has made of it, and those of another cell that
    is being compiled are not always safe from that.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
