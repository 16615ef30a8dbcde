"""MindIR, loaded again, against the network that it was made of."""

from pathlib import Path

import mindspore as ms
import numpy as np

from tests.tools.export.networks import SMALL, logits_of, made, pictures
from tools.export import mindir


def test_logits_are_those_of_the_network(tmp_path: Path) -> None:
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    network, subject = made(**SMALL, norm="domain")
    path = tmp_path / "model.mindir"
    mindir.write(subject, path, "logits", 2, 16)
    pixels = pictures(3, 16, 16)
    found = mindir.answers_of(path, pixels, 2)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    expected = logits_of(network, pixels)
    ms.set_context(mode=ms.GRAPH_MODE)
    for mine, theirs in zip(found, expected, strict=True):
        size = np.abs(theirs).max() / 10
        np.testing.assert_allclose(mine / size, theirs / size, atol=1e-4, rtol=0)
