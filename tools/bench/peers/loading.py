"""What all input pipelines have in common: the augmentations, and how their speed is taken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

BATCH = 32

# Random-resized crop, flips and quarter turns of every second picture, brightness and contrast.
CROP_AREA, CROP_ASPECT, SHAKE = (0.4, 1.0), (0.8, 1.25), 0.2

# Read before the clock starts: more than any pipeline has made in advance while it was idle.
_AHEAD = 64 * BATCH


class Loading:
    """Base of the peers that load images, and do nothing else.

    Args:
        versions: What the report should hold.
    """

    def __init__(self, versions: dict[str, str]) -> None:
        self.info: dict[str, Any] = {"versions": versions}
        self.made = self.batches()
        self._read(BATCH)

    def batches(self) -> Iterator[int]:
        """Endlessly: the number of images of a batch, uint8 (n, H, W, 3), that is there now."""
        raise NotImplementedError

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """``run``: images per second, of so many seconds."""
        ahead = min(_AHEAD, request["most_ahead"])
        self._read(ahead)
        begin, images, seconds = time.perf_counter(), 0, 0.0
        while seconds < request["seconds"]:
            images += self._read(BATCH)
            seconds = time.perf_counter() - begin
        return {"rate": images / seconds}

    def close(self) -> None:
        """Nobody is waited for."""

    def _read(self, images: int) -> int:
        """Reads at least so many images; how many they were."""
        read = 0
        while read < images:
            read += next(self.made)
        return read
