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
