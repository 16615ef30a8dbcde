"""The trunks of :mod:`train.model.trunks` as ONNX nodes.

A trunk is a function: (graph, network, map of images (N, 3, H, W), data set) -> names of the maps
of its levels, finest first. A new one is a line in :data:`TRUNKS`.
"""

from collections.abc import Callable

from tools.export.onnx_graph import layers
from tools.export.onnx_graph.graph import Graph
from tools.export.subject import Subject

_TRUNK = "shared.trunk"


def wide_resnet(g: Graph, subject: Subject, x: str, dataset: str) -> list[str]:
    """See :class:`train.model.trunks.WideResNet`."""
    x = layers.conv(g, x, f"{_TRUNK}.stem")
    maps = [x]
    for stage in range(g.count(f"{_TRUNK}.stages")):
        name = f"{_TRUNK}.stages.{stage}"
        for number in range(g.count(name)):
            x = _wide_block(g, x, f"{name}.{number}", 2 if number == 0 else 1, dataset)
        maps.append(x)
    last = layers.of_domain(g, f"{_TRUNK}.final_norm", dataset)
    return [*maps[:-1], layers.norm(g, x, last, relu=True)]


def _wide_block(g: Graph, x: str, name: str, stride: int, dataset: str) -> str:
    """See :class:`train.model.trunks.WideBlock`: its first norm has no convolution before it."""
    first, second = (layers.of_domain(g, f"{name}.norm{n}", dataset) for n in (1, 2))
    y = layers.norm(g, x, first, relu=True)
    y = layers.conv_norm(g, y, f"{name}.conv1", second, relu=True)
    y = layers.conv(g, y, f"{name}.conv2", stride)
    shortcut = f"{name}.shortcut"
    return g.add("Add", y, layers.conv(g, x, shortcut, stride) if g.has(shortcut) else x)


def resnet(g: Graph, subject: Subject, x: str, dataset: str) -> list[str]:
    """See :class:`train.model.trunks.ResNet`."""
    first = layers.of_domain(g, f"{_TRUNK}.bn1", dataset)
    x = layers.conv_norm(g, x, f"{_TRUNK}.conv1", first, 2, relu=True)
    x = layers.max_pool(g, x, 3, 2, subject.symmetric)
    maps = []
    for stage in (1, 2, 3, 4):
        name = f"{_TRUNK}.layer{stage}"
        for number in range(g.count(name)):
            stride = 2 if stage > 1 and number == 0 else 1
            x = _block(g, x, f"{name}.{number}", stride, dataset)
        maps.append(x)
    return maps


def _block(g: Graph, x: str, name: str, stride: int, dataset: str) -> str:
    """See :class:`train.model.trunks.BasicBlock` and :class:`train.model.trunks.Bottleneck`."""
    last = 3 if g.has(f"{name}.conv3") else 2
    # A 3x3 convolution has the stride: a bottleneck's second, otherwise the first.
    strided = last - 1
    y = x
    for number in range(1, last + 1):
        norm = layers.of_domain(g, f"{name}.bn{number}", dataset)
        step = stride if number == strided else 1
        y = layers.conv_norm(g, y, f"{name}.conv{number}", norm, step, relu=number < last)
    if g.has(f"{name}.down_sample"):
        norm = layers.of_domain(g, f"{name}.down_sample.1", dataset)
        x = layers.conv_norm(g, x, f"{name}.down_sample.0", norm, stride)
    return g.add("Relu", g.add("Add", y, x))


TRUNKS: dict[str, Callable[[Graph, Subject, str, str], list[str]]] = {
    "wide_resnet": wide_resnet,
    "resnet18": resnet,
    "resnet34": resnet,
    "resnet50": resnet,
}
