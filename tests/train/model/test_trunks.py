"""Trunks: published sizes, names of MindCV, and the whole network against numpy."""

from typing import Any, get_args

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from numpy.lib.stride_tricks import sliding_window_view

from train.config.sections import ModelConfig
from train.model.backend import AclnnBackend, Backend
from train.model.trunks import BasicBlock, Bottleneck, ResNet, build_trunk

# Trainable values without the classifier: torchvision's counts minus 1,000 outputs of 512 or 2,048
# inputs and their biases.
PUBLISHED_SIZES = {"resnet18": 11_176_512, "resnet34": 21_284_672, "resnet50": 23_508_032}
NORM = ("gamma", "beta", "moving_mean", "moving_variance")


@pytest.fixture(autouse=True)
def eager_mode() -> Any:
    """Operator by operator where a test does not say otherwise: nothing has to be compiled."""
    ms.set_device("CPU")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)


def build(**model: Any) -> Any:
    return build_trunk(ModelConfig(**model), Backend(), ())


def randomise(network: nn.Cell, seed: int = 0) -> dict[str, Any]:
    """Random norms, so that no two are alike; all values by name, as float64."""
    rng = np.random.default_rng(seed)
    for p in network.get_parameters():
        if p.name.endswith(NORM):
            p.set_data(Tensor(rng.uniform(0.5, 1.5, p.shape).astype(np.float32)))
    return {p.name: p.asnumpy().astype(np.float64) for p in network.get_parameters()}


def images(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def windows(x: Any, size: int, stride: int, before: tuple[int, int], fill: float) -> Any:
    """(N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride), size, size)."""
    height, width = (-(-n // stride) for n in x.shape[2:])
    after = [(n - 1) * stride + size for n in (height, width)]
    edges = [(b, max(a - b - n, 0)) for a, b, n in zip(after, before, x.shape[2:], strict=True)]
    padded = np.pad(x, [(0, 0), (0, 0), *edges], constant_values=fill)
    views: Any = sliding_window_view(padded, (size, size), axis=(2, 3))  # type: ignore[call-overload]
    return views[:, :, ::stride, ::stride][:, :, :height, :width]


def numpy_conv(x: Any, weight: Any, stride: int) -> Any:
    size = weight.shape[-1]
    return np.einsum("ncyxij,ocij->noyx", windows(x, size, stride, (size // 2,) * 2, 0.0), weight)


def numpy_norm(x: Any, values: dict[str, Any], name: str) -> Any:
    gamma, beta, mean, variance = (values[f"{name}.{part}"][:, None, None] for part in NORM)
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def numpy_max_pool(x: Any, symmetric: bool) -> Any:
    """3x3, stride 2: one row and column around odd sizes, below and right of even ones.

    PyTorch's (padding=1) has one on all sides in any case.
    """
    above, left = (1 if symmetric else n % 2 for n in x.shape[2:])
    return windows(x, 3, 2, (above, left), -np.inf).max((4, 5))


def numpy_resnet(
    x: Any, values: dict[str, Any], num_blocks: tuple[int, ...], symmetric: bool
) -> list[Any]:
    """The maps of a ResNet whose parameters have MindCV's names, in evaluation."""
    relu = np.vectorize(lambda v: max(v, 0.0), otypes=[float])
    x = relu(numpy_norm(numpy_conv(x, values["conv1.weight"], 2), values, "bn1"))
    x = numpy_max_pool(x, symmetric)
    maps = []
    for stage, count in enumerate(num_blocks, start=1):
        for b in range(count):
            block = f"layer{stage}.{b}"
            stride = 2 if stage > 1 and b == 0 else 1
            last = 3 if f"{block}.conv3.weight" in values else 2
            strided = last - 1
            y = x
            for i in range(1, last + 1):
                y = numpy_conv(y, values[f"{block}.conv{i}.weight"], stride if i == strided else 1)
                y = numpy_norm(y, values, f"{block}.bn{i}")
                y = relu(y) if i < last else y
            if f"{block}.down_sample.0.weight" in values:
                x = numpy_conv(x, values[f"{block}.down_sample.0.weight"], stride)
                x = numpy_norm(x, values, f"{block}.down_sample.1")
            x = relu(x + y)
        maps.append(x)
    return maps


@pytest.mark.parametrize("name", PUBLISHED_SIZES)
def test_sizes_are_the_published_ones(name: Any) -> None:
    trunk = build(trunk=name)
    assert sum(p.size for p in trunk.trainable_params()) == PUBLISHED_SIZES[name]


def test_names_are_mindcvs() -> None:
    """Copied from the names in MindCV's resnet18 and resnet50, the classifier left out."""
    expected = ["conv1.weight", *(f"bn1.{part}" for part in NORM)]
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for b in range(blocks):
            prefix = f"layer{stage}.{b}"
            parts = [(f"{prefix}.conv{i}", f"{prefix}.bn{i}") for i in (1, 2, 3)]
            parts += [(f"{prefix}.down_sample.0", f"{prefix}.down_sample.1")] if b == 0 else []
            for conv, norm in parts:
                expected += [f"{conv}.weight", *(f"{norm}.{part}" for part in NORM)]
    trunk = build(trunk="resnet50")
    assert sorted(p.name for p in trunk.get_parameters()) == sorted(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("block", "num_blocks", "size", "symmetric"),
    [
        (BasicBlock, (2, 1, 1, 1), (20, 26), False),
        (Bottleneck, (1, 2, 1, 1), (17, 23), False),
        (Bottleneck, (1, 1, 1, 1), (20, 26), True),
    ],
)
def test_maps_against_numpy(block: Any, num_blocks: Any, size: Any, symmetric: bool) -> None:
    """Compiled; sizes that are even and odd at the stem and at the max-pool.

    MindCV's ResNets, and torchvision's, which differ at even sizes.
    """
    ms.set_context(mode=ms.GRAPH_MODE)
    network = ResNet(block, num_blocks, symmetric=symmetric).set_train(False)
    values = randomise(network)
    x = images(1, 2, 3, *size)
    expected = numpy_resnet(x.astype(np.float64), values, num_blocks, symmetric)
    found = network(Tensor(x), [2])
    assert len(found) == len(expected) == 4
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.asnumpy(), b, rtol=1e-3, atol=1e-4 * np.abs(b).max())


@pytest.mark.parametrize("backend", [Backend, AclnnBackend])
@pytest.mark.parametrize("size", [(8, 6), (9, 7), (8, 7)])
def test_the_edges_of_the_max_pool(size: tuple[int, int], backend: type[Backend]) -> None:
    """As in MindCV and in PyTorch; a map that was moved by one goes from one to the other."""
    x = np.abs(images(4, 2, 3, *size))
    pools = {symmetric: backend().max_pool(3, 2, symmetric) for symmetric in (False, True)}
    for symmetric, pool in pools.items():
        found = pool(Tensor(x)).asnumpy()
        np.testing.assert_array_equal(found, numpy_max_pool(x, symmetric))
    if not any(n % 2 for n in size):
        moved = np.roll(x, (1, 1), axis=(2, 3))
        same = pools[False](Tensor(x)).asnumpy()[:, :, :-1, :-1]
        there = pools[True](Tensor(moved)).asnumpy()[:, :, 1:, 1:]
        np.testing.assert_array_equal(same, there)


def test_the_configuration_chooses_the_edges() -> None:
    assert not build(trunk="resnet18").symmetric
    assert build(trunk="resnet18", max_pool="symmetric").symmetric
    with pytest.raises(ValueError, match="max_pool is of the ResNets; wide_resnet has none"):
        ModelConfig(max_pool="symmetric")


@pytest.mark.parametrize("name", get_args(ModelConfig.model_fields["trunk"].annotation))
def test_maps_are_as_promised(name: Any) -> None:
    """Every trunk of the configuration, at odd, even and very small sizes."""
    small = {"depth": 10, "width": 1} if name == "wide_resnet" else {}
    trunk = build(trunk=name, norm="group", **small)
    for height, width in ((24, 9), (35, 33), (50, 63)):
        maps = trunk(Tensor(images(2, 1, 3, height, width)), [1])
        assert len(trunk.channels) == len(trunk.strides) == len(maps)
        for found, channels, stride in zip(maps, trunk.channels, trunk.strides, strict=True):
            assert found.shape == (1, channels, -(-height // stride), -(-width // stride))


def test_depth_and_width_of_a_wide_resnet() -> None:
    wide = build(depth=22, width=3)
    assert wide.channels == (16, 48, 96, 192)
    assert [len(stage) for stage in wide.stages] == [3, 3, 3]


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_every_norm_knows_the_data_sets(block: Any) -> None:
    """With a norm per data set, each one's images see the network with its own norms."""
    mixed = ResNet(block, (1, 1, 1, 1), Backend("domain"), ["ucm", "aid"]).set_train(False)
    single = ResNet(block, (1, 1, 1, 1)).set_train(False)
    values = randomise(mixed)
    x = images(3, 3, 3, 16, 16)
    maps = mixed(Tensor(x), [1, 2])
    for name, part in (("ucm", slice(0, 1)), ("aid", slice(1, 3))):
        for p in single.get_parameters():
            module, _, leaf = p.name.rpartition(".")
            own = f"{module}.of.{name}.{leaf}" if leaf in NORM else p.name
            p.set_data(Tensor(values[own].astype(np.float32)))
        alone = single(Tensor(x[part]), [len(x[part])])
        for found, expected in zip(maps, alone, strict=True):
            np.testing.assert_allclose(
                found.asnumpy()[part], expected.asnumpy(), rtol=1e-4, atol=1e-4
            )
