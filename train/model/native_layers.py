"""The layers that the native backend makes, of the operators of :mod:`train.native`.

They have the names and parameters of the stock layers, and compute the same. Maps are (N, H, W, C):
N images, height H, width W, C channels.
"""

from collections.abc import Sequence

import numpy as np
from mindspore import ParameterTuple, Tensor, nn, ops

from train.model import layers as stock
from train.native.convolutions import (
    convolution,
    convolution_options,
    pointwise,
    pointwise_options,
)
from train.native.maps import gate, max_pool, max_pool_options, resize
from train.native.norms import (
    batch_norm,
    batch_norm_gate,
    batch_norm_inference,
    batch_norm_options,
    group_norm,
)
from train.native.scene_tasks import cross_entropy, images_of_tasks, scene_heads
from train.native.trained import (
    attention,
    attention_options,
    convolution_norm,
    convolution_norm_options,
    has_convolution_norm,
)


class Conv(stock.Conv):
    """A convolution that may add a map to its result.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel_size: k, odd.
        stride: Its stride.
        bias: Whether it has a bias.
        half: None: all native operators compute in float32.
        is_first: Whether its input are images, whose gradient nobody needs.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        bias: bool,
        half: None = None,
        is_first: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, bias)
        self.convolve = convolution(stride, bias, needs_dx=not is_first)
        self.convolve_and_add = convolution(stride, bias, residual=True)
        self.own_options = convolution_options(stride)

    def construct(self, x: Tensor, *residual: Tensor) -> Tensor:
        """(N, H, W, C_in)[, what is added] -> (N, ceil(H / stride), ceil(W / stride), C_out)."""
        parameters = (self.weight, self.bias) if self.has_bias else (self.weight,)
        if residual:
            return self.convolve_and_add(x, *parameters, *residual, self.own_options)
        return self.convolve(x, *parameters, self.own_options)


class BatchNorm(stock.BatchNorm):
    """Batch norm and ReLU in one operator."""

    def __init__(self, channels: int, relu: bool) -> None:
        super().__init__(channels, relu)
        self.train_norm = batch_norm(1)
        self.inference_norm = batch_norm_inference()
        self.activation = "relu" if relu else "none"

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, H, W, C) -> the same."""
        own = ((self.gamma,), (self.beta,), (self.moving_mean,), (self.moving_variance,))
        options = _norm_options(self.activation, (x.shape[0],))
        if self.training:
            return self.train_norm(x, *own, options)[0]
        return self.inference_norm(x, *own, options)


class DomainNorm(stock.DomainNorm):
    """The batch norms of all domains, and ReLU, in one operator."""

    def __init__(self, channels: int, domains: Sequence[str], relu: bool) -> None:
        super().__init__(channels, domains, relu)
        self.own = _NormParameters(list(self.of.values()))
        self.train_norm = batch_norm(len(domains))
        self.inference_norm = batch_norm_inference()
        self.activation = "relu" if relu else "none"

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, H, W, C) -> the same."""
        options = _norm_options(self.activation, tuple(counts))
        if self.training:
            return self.train_norm(x, *self.own(), options)[0]
        return self.inference_norm(x, *self.own(), options)


class GroupNorm(stock.GroupNorm):
    """Group norm and ReLU in one operator."""

    def __init__(self, channels: int, relu: bool) -> None:
        super().__init__(channels, relu)
        self.normalise = group_norm(stock.num_groups(channels), relu)

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, H, W, C) -> the same."""
        return self.normalise(x, self.gamma, self.beta)[0]


class ConvNorm(stock.ConvNorm):
    """A 3x3 convolution and its batch norms; in a trained network they are one operator."""

    def __init__(self, conv: Conv, norm: BatchNorm | DomainNorm) -> None:
        super().__init__(conv, norm)
        norms = list(norm.of.values()) if isinstance(norm, DomainNorm) else [norm]
        self.is_plain = not isinstance(norm, DomainNorm)
        self.parameters = ParameterTuple(
            [conv.weight, conv.bias] if conv.has_bias else [conv.weight]
        )
        self.own = _NormParameters(norms)
        self.stride = conv.stride[0]
        self.relu = norm.activation == "relu"
        self.trained = convolution_norm(self.stride, conv.has_bias)

    @staticmethod
    def can_be_of(conv: nn.Cell, norm: nn.Cell) -> bool:
        """Return whether there is such an operator."""
        if not isinstance(norm, BatchNorm | DomainNorm):
            return False
        return has_convolution_norm(conv.in_channels, conv.out_channels, conv.kernel_size[0])

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, H, W, C_in), ``counts[d]`` images of every domain -> (N, H', W', C_out)."""
        if self.both[1].training:
            return super().construct(x, counts)
        images = (x.shape[0],) if self.is_plain else tuple(counts)
        options = _convolution_norm_options(self.stride, self.relu, images)
        return self.trained(x, *self.parameters, *self.own(), options)


class AttentionLevel(nn.Cell):
    """The attention modules of all tasks on one level: every stage of them is one operator.

    In a trained network they are one operator altogether.

    Args:
        modules: One per task, with batch norm. Their parameters are used, not their operators.
        by_task: Gives every task its images.
    """

    def __init__(self, modules: Sequence[nn.Cell], by_task: stock.ByTask) -> None:
        super().__init__(auto_prefix=False)
        self.modules = tuple(modules)
        self.by_task = by_task
        self.dataset_of_task = by_task.dataset_of_task
        self.weights1, self.biases1 = _conv_parameters([m.conv1 for m in modules])
        self.weights2, self.biases2 = _conv_parameters([m.conv2 for m in modules])
        self.norm1 = _NormParameters([m.norm1 for m in modules])
        self.norm2 = _NormParameters([m.norm2 for m in modules])
        num_tasks = len(modules)
        self.mix_one, self.mix_two = pointwise(num_tasks, 1), pointwise(num_tasks, 2)
        self.train_norm, self.train_gate = batch_norm(num_tasks), batch_norm_gate(num_tasks)

    def construct(self, counts: Sequence[int], shared: Tensor, *extracted: Tensor) -> Tensor:
        """See :class:`train.model.layers.AttentionLevel`; maps are (N, H, W, C)."""
        of_tasks = tuple([counts[d] for d in self.dataset_of_task])
        maps = (shared, *extracted)
        if not self.modules[0].norm1.training:
            first = (self.weights1, self.biases1, *self.norm1())
            second = (self.weights2, self.biases2, *self.norm2())
            options = _attention_options(tuple(counts), self.dataset_of_task)
            return attention(len(maps), sum(of_tasks))(maps, *first, *second, options)
        mixing = _pointwise_options(of_tasks)
        relu, gating = _norm_options("relu", of_tasks), _norm_options("gate", of_tasks)
        shared = self.by_task(shared, counts)
        mix = self.mix_two if extracted else self.mix_one
        x = mix((shared, *extracted), self.weights1, self.biases1, mixing)
        x = self.train_norm(x, *self.norm1(), relu)[0]
        x = self.mix_one((x,), self.weights2, self.biases2, mixing)
        return self.train_gate(x, shared, *self.norm2(), gating)[0]


class MaxPool(nn.Cell):
    """See :meth:`train.model.backend.Backend.max_pool`."""

    def __init__(self, kernel_size: int, stride: int, symmetric: bool = False) -> None:
        super().__init__()
        self.pool = max_pool(stride)
        self.own_options = max_pool_options(kernel_size, stride, symmetric)

    def construct(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, ceil(H / stride), ceil(W / stride), C)."""
        return self.pool(x, self.own_options)[0]


class Gate(nn.Cell):
    """A soft mask: (logits, map) -> sigmoid(logits) * map."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = gate()

    def construct(self, logits: Tensor, x: Tensor) -> Tensor:
        """(N, H, W, C) twice -> the same."""
        return self.gate(logits, x)


class Resize(nn.Cell):
    """See :meth:`train.model.backend.Backend.resize`."""

    def construct(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, H, W, C) -> (N, *size, C)."""
        if x.shape[1:3] == size:
            return x
        return resize(*size)(x)


class LinearHeads(nn.Cell):
    """Pooling and linear layers of several tasks in one operator.

    Args:
        heads: Cells with a ``linear`` layer each. Their parameters are used, not their operators.
        tasks: For every head, the position of its task among all tasks.
    """

    def __init__(self, heads: Sequence[nn.Cell], tasks: Sequence[int]) -> None:
        super().__init__(auto_prefix=False)
        self.tasks = tuple(tasks)
        self.weights = ParameterTuple([h.linear.weight for h in heads])
        self.biases = ParameterTuple([h.linear.bias for h in heads])
        self.heads = scene_heads(len(heads))

    def construct(self, x: Tensor, counts: Sequence[int]) -> tuple[Tensor, ...]:
        """See :class:`train.model.layers.LinearHeads`; the map is (N, H, W, C)."""
        images = _images_of_tasks(self.tasks, tuple(counts))
        logits = self.heads(x, self.weights, self.biases, images)
        return logits if len(self.tasks) > 1 else (logits,)


class CrossEntropies(nn.Cell):
    """The losses of several tasks in one operator."""

    def __init__(self, smoothing: float) -> None:
        super().__init__()
        self.smoothing = Tensor(np.float32(smoothing))

    def construct(
        self, logits: Sequence[Tensor], labels: Sequence[Tensor], *mixing: Sequence[Tensor]
    ) -> Tensor:
        """See :class:`train.model.layers.CrossEntropies`."""
        kinds = [tuple(kind) for kind in (logits, labels, *mixing)]
        return cross_entropy(len(logits), len(mixing) > 0)(self.smoothing, *kinds)


class _NormParameters(nn.Cell):
    """Parameters of the batch norms of K tasks, each kind as a tuple, which belong to those."""

    def __init__(self, batch_norms: Sequence[nn.BatchNorm2d]) -> None:
        super().__init__(auto_prefix=False)
        self.gammas = ParameterTuple([n.gamma for n in batch_norms])
        self.betas = ParameterTuple([n.beta for n in batch_norms])
        self.means = ParameterTuple([n.moving_mean for n in batch_norms])
        self.variances = ParameterTuple([n.moving_variance for n in batch_norms])

    def construct(self) -> tuple[tuple[Tensor, ...], ...]:
        """Return gammas, betas, moving means and moving variances, each K times (C,)."""
        return self.gammas, self.betas, self.means, self.variances


def _conv_parameters(convs: Sequence[nn.Conv2d]) -> tuple[ParameterTuple, ParameterTuple]:
    """Return weights and biases."""
    return ParameterTuple([c.weight for c in convs]), ParameterTuple([c.bias for c in convs])


# In a graph they are computed when it is compiled: constants.
_norm_options = ops.constexpr(batch_norm_options)
_pointwise_options = ops.constexpr(pointwise_options)
_attention_options = ops.constexpr(attention_options)
_convolution_norm_options = ops.constexpr(convolution_norm_options)
_images_of_tasks = ops.constexpr(images_of_tasks)
