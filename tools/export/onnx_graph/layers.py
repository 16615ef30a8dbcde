"""The layers of the network in ONNX's operators, as the stock backend computes them in evaluation.

Shapes: N = images, C = channels, H, W = height and width of a feature map. Maps are (N, C, H, W).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from tools.export.onnx_graph.graph import FLOAT, Graph
from train.model.layers import num_groups

# Of all norms, as MindSpore's.
_EPSILON = 1e-5

Floats = npt.NDArray[np.float64]


def normalise(g: Graph, pixels: str, mean: Floats, std: Floats, white: float) -> str:
    """(N, 3, H, W) in 0..white -> (x / white - mean) / std."""
    scale = g.constant(_per_channel(1 / (white * std)))
    shift = g.constant(_per_channel(-mean / std))
    return g.add("Add", g.add("Mul", pixels, scale), shift)


def from_bytes(g: Graph, pixels: str) -> str:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W)."""
    return g.add("Transpose", g.add("Cast", pixels, to=FLOAT), perm=[0, 3, 1, 2])


def conv(g: Graph, x: str, name: str, stride: int = 1) -> str:
    """A convolution: (N, C_in, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
    weight, bias = g.arrays[f"{name}.weight"], g.arrays.get(f"{name}.bias")
    values = [g.constant(weight, f"{name}.weight")]
    if bias is not None:
        values.append(g.constant(bias, f"{name}.bias"))
    return _conv(g, x, values, weight.shape[-1], stride)


def conv_norm(
    g: Graph, x: str, conv_name: str, norm_name: str, stride: int = 1, relu: bool = False
) -> str:
    """A convolution and the norm that follows: one convolution, unless it is a group norm."""
    if not _is_batch_norm(g, norm_name):
        return norm(g, conv(g, x, conv_name, stride), norm_name, relu)
    scale, shift = _scale_and_shift(g, norm_name)
    weight = g.arrays[f"{conv_name}.weight"]
    bias = g.arrays.get(f"{conv_name}.bias", np.zeros(len(weight), np.float32))
    folded = (
        (weight * scale[:, None, None, None]).astype(np.float32),
        (bias * scale + shift).astype(np.float32),
    )
    # Data sets with norms of their own make different weights of the same convolution.
    values = [g.constant(v, f"{norm_name}/folded_{i}") for i, v in enumerate(folded)]
    y = _conv(g, x, values, weight.shape[-1], stride)
    return g.add("Relu", y) if relu else y


def norm(g: Graph, x: str, name: str, relu: bool = False) -> str:
    """A norm without a convolution before it: (N, C, H, W) -> the same."""
    y = _affine(g, x, name) if _is_batch_norm(g, name) else _group_norm(g, x, name)
    return g.add("Relu", y) if relu else y


def of_domain(g: Graph, name: str, domain: str) -> str:
    """Return the name of a norm for what comes from a domain, where it differs by that."""
    own = f"{name}.of.{domain}"
    return own if g.has(own) else name


def max_pool(g: Graph, x: str, kernel_size: int, stride: int, symmetric: bool = False) -> str:
    """A max-pool that maps H to ceil(H / stride).

    Its edge is as small as can be, and rather below and right; or ``symmetric``.
    """
    edge = {"pads": [kernel_size // 2] * 4} if symmetric else {"auto_pad": "SAME_UPPER"}
    size, steps = [kernel_size] * 2, [stride] * 2
    return g.add("MaxPool", x, kernel_shape=size, strides=steps, **edge)


def resize(g: Graph, x: str, like: str) -> str:
    """Bilinear interpolation to the height and width of another map."""
    size = g.add("Concat", _part_of_shape(g, x, 0, 2), _part_of_shape(g, like, 2, 4), axis=0)
    return g.add(
        "Resize", x, "", "", size, mode="linear", coordinate_transformation_mode="half_pixel"
    )


def linear(g: Graph, x: str, name: str) -> str:
    """Global average pooling and a linear layer: (N, C, H, W) -> (N, K)."""
    pooled = g.add("ReduceMean", x, axes=[2, 3], keepdims=0)
    weight, bias = (
        g.constant(g.arrays[f"{name}.{part}"], f"{name}.{part}") for part in ("weight", "bias")
    )
    return g.add("Gemm", pooled, weight, bias, transB=1)


def _conv(g: Graph, x: str, values: list[str], kernel_size: int, stride: int) -> str:
    size, steps, pads = [kernel_size] * 2, [stride] * 2, [kernel_size // 2] * 4
    return g.add("Conv", x, *values, kernel_shape=size, strides=steps, pads=pads)


def _is_batch_norm(g: Graph, name: str) -> bool:
    return f"{name}.moving_mean" in g.arrays


def _scale_and_shift(g: Graph, name: str) -> tuple[Floats, Floats]:
    """Return what a batch norm multiplies every channel with, and what it adds."""
    parts = ("gamma", "beta", "moving_mean", "moving_variance")
    gamma, beta, mean, variance = (g.arrays[f"{name}.{part}"].astype(np.float64) for part in parts)
    scale = gamma / np.sqrt(variance + _EPSILON)
    return scale, beta - mean * scale


def _affine(g: Graph, x: str, name: str) -> str:
    scale, shift = _scale_and_shift(g, name)
    scaled = g.add("Mul", x, g.constant(_per_channel(scale), f"{name}/scale"))
    return g.add("Add", scaled, g.constant(_per_channel(shift), f"{name}/shift"))


def _group_norm(g: Graph, x: str, name: str) -> str:
    """Every group of channels as one channel of an instance norm: ONNX has no older group norm."""
    gamma, beta = (g.arrays[f"{name}.{part}"] for part in ("gamma", "beta"))
    groups = num_groups(len(gamma))
    grouped = g.add("Reshape", x, g.constant(np.array([0, groups, -1])))
    ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
    y = g.add(
        "InstanceNormalization", grouped, g.constant(ones), g.constant(zeros), epsilon=_EPSILON
    )
    y = g.add("Reshape", y, g.add("Shape", x))
    scaled = g.add("Mul", y, g.constant(_per_channel(gamma), f"{name}/scale"))
    return g.add("Add", scaled, g.constant(_per_channel(beta), f"{name}/shift"))


def _part_of_shape(g: Graph, x: str, first: int, end: int) -> str:
    bounds = (g.constant(np.array([value]), f"axis/{value}") for value in (first, end))
    return g.add("Slice", g.add("Shape", x), *bounds)


def _per_channel(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    return np.asarray(values, np.float32).reshape(1, -1, 1, 1)
