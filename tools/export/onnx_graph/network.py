"""The whole network of :mod:`train.model.mtln` as an ONNX model.

Every data set's view of the pictures passes the trunk for itself: what comes out is the same as of
one pass of all of them, and norms per data set can be folded into the convolutions.
"""

from collections.abc import Callable

import numpy as np
import onnx

from tools.export.onnx_graph import layers
from tools.export.onnx_graph.graph import FLOAT, INT64, UINT8, Graph, Value
from tools.export.onnx_graph.trunks import TRUNKS
from tools.export.subject import Answers, Subject
from train.tasks.base import Task

_BATCH = "batch"


def build_model(subject: Subject, answers: Answers, square: int | None = None) -> onnx.ModelProto:
    """Return the network as a model of uint8 pictures (batch, H, W, 3).

    Args:
        subject: The network.
        answers: What comes out for every task, in an output of its name.
        square: Height and width in pixels of a model that takes float32 (batch, 3, H, W) in 0..1
            instead, as the QGIS plugin Deepness gives them.
    """
    g = Graph(subject.arrays)
    height, width = ("height", "width") if square is None else (square, square)
    pixels = subject.input_name
    if square is None:
        given: Value = pixels, UINT8, (_BATCH, height, width, 3)
        image, white = layers.from_bytes(g, pixels), 255.0
    else:
        given = pixels, FLOAT, (_BATCH, 3, height, width)
        image, white = pixels, 1.0
    maps = {}
    for dataset in subject.datasets:
        statistics = np.asarray(dataset.mean), np.asarray(dataset.std)
        x = layers.normalise(g, image, *statistics, white)
        maps[dataset.name] = TRUNKS[subject.model.trunk](g, subject, x, dataset.name)
    outputs: list[Value] = []
    for task in subject.tasks:
        levels = _distil(g, subject, task, maps[task.dataset])
        logits = _HEADS[task.kind](g, f"tasks.{task.name}.head", levels, image)
        outputs.append(_answer(g, task, logits, answers, (height, width)))
    return g.model([given], outputs)


def _distil(g: Graph, subject: Subject, task: Task, levels: list[str]) -> list[str]:
    """Make task-specific maps of the shared ones; see :meth:`train.model.mtln.MTLN._distil`."""
    if subject.model.branch == "linear":
        return levels
    distilled, extracted = [], ""
    for level, (shared, step) in enumerate(zip(levels, subject.steps, strict=True)):
        seen = g.add("Concat", shared, extracted, axis=1) if extracted else shared
        module = f"tasks.{task.name}.attention.{level}"
        mask = layers.conv_norm(g, seen, f"{module}.conv1", f"{module}.norm1", relu=True)
        mask = layers.conv_norm(g, mask, f"{module}.conv2", f"{module}.norm2")
        distilled.append(g.add("Mul", g.add("Sigmoid", mask), shared))
        extractor = f"shared.extractors.{level}"
        norm = layers.of_domain(g, f"{extractor}.norm", task.name)
        extracted = layers.conv_norm(g, distilled[-1], f"{extractor}.conv", norm, relu=True)
        if step > 1:
            extracted = layers.max_pool(g, extracted, step, step)
    return [*distilled[:-1], extracted]


def _scene_head(g: Graph, name: str, levels: list[str], image: str) -> str:
    """See :class:`train.tasks.scene.ClassificationHead`."""
    return layers.linear(g, levels[-1], f"{name}.linear")


def _segmentation_head(g: Graph, name: str, levels: list[str], image: str) -> str:
    """See :class:`train.tasks.segmentation.SegmentationHead`."""
    x = ""
    for level in range(len(levels) - 1, -1, -1):
        lateral = layers.conv(g, levels[level], f"{name}.lateral.{level}")
        x = g.add("Add", lateral, layers.resize(g, x, levels[level])) if x else lateral
    x = layers.conv_norm(g, x, f"{name}.conv", f"{name}.norm", relu=True)
    return layers.resize(g, layers.conv(g, x, f"{name}.classify"), image)


_HEADS: dict[str, Callable[[Graph, str, list[str], str], str]] = {
    "scene": _scene_head,
    "segmentation": _segmentation_head,
}


def _answer(
    g: Graph, task: Task, logits: str, answers: Answers, size: tuple[int | str, int | str]
) -> Value:
    pixels = size if task.kind == "segmentation" else ()
    if answers == "labels":
        g.add("ArgMax", logits, output=task.name, axis=1, keepdims=0)
        return task.name, INT64, (_BATCH, *pixels)
    if answers == "logits":
        g.add("Identity", logits, output=task.name)
    else:
        g.add("Softmax", logits, output=task.name, axis=1)
    return task.name, FLOAT, (_BATCH, len(task.classes), *pixels)
