"""The layers that the stock backend makes, of MindSpore's own operators.

Every norm takes, beside the map, the number of images of each data set or task in it: what is
normalised may depend on where an image comes from (see :class:`DomainNorm`).

Shapes: N = images, C = channels, H, W = height and width of a feature map, K = classes. Maps are
(N, C, H, W).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import HeNormal, Normal

_MAX_GROUPS = 8

_split = ops.auto_generate.SplitWithSize()


def split(x: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Cut a tensor along its first axis into parts of these sizes.

    The one way to do it that compiles on every device: Ascend's graph engine knows neither
    ``mint.split`` nor its views, and ``ops.split`` makes as many operators as there are parts.
    """
    parts: tuple[Tensor, ...] = _split(x, tuple(sizes), 0)
    return parts


class Conv(nn.Conv2d):
    """A convolution; see :meth:`Backend.conv`.

    With ``half``, a type of 16 bits, it computes in this type, which its maps have too; its
    parameters are float32.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        bias: bool,
        half: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            pad_mode="pad",
            padding=kernel_size // 2,
            has_bias=bias,
            weight_init=HeNormal(mode="fan_out", nonlinearity="relu"),
            bias_init="zeros",
        )
        self.half = half

    def construct(self, x: Tensor, *residual: Tensor) -> Tensor:
        """(N, C_in, H, W)[, what is added] -> (N, C_out, ceil(H / stride), ceil(W / stride))."""
        y = super().construct(x) if self.half is None else self._in_half(x)
        return y + residual[0] if residual else y

    def _in_half(self, x: Tensor) -> Tensor:
        y = self.conv2d(x, self.weight.astype(self.half))
        return self.bias_add(y, self.bias.astype(self.half)) if self.has_bias else y


class Linear(nn.Dense):
    """A linear layer; see :meth:`Backend.linear`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, weight_init=Normal(0.01), bias_init="zeros")


def num_groups(channels: int) -> int:
    """Return the groups of a group norm: the largest divisor of ``channels`` up to 8."""
    return max(g for g in range(1, _MAX_GROUPS + 1) if channels % g == 0)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm over all images together, followed by a ReLU if asked for."""

    def __init__(self, channels: int, relu: bool) -> None:
        # MindSpore's momentum weighs the OLD statistics (PyTorch's weighs the new ones).
        super().__init__(channels, momentum=0.9)
        self.relu = relu

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C, H, W) -> the same."""
        if x.dtype == ms.bfloat16:  # which this operator, unlike float16, does not know
            y = super().construct(x.astype(ms.float32)).astype(x.dtype)
        else:
            y = super().construct(x)
        return ops.relu(y) if self.relu else y


class GroupNorm(nn.GroupNorm):
    """Group norm, followed by a ReLU if asked for.

    With it N ranks with b images equal one rank with N * b, which batch norm cannot.
    """

    def __init__(self, channels: int, relu: bool) -> None:
        super().__init__(num_groups(channels), channels)
        self.relu = relu

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C, H, W) -> the same."""
        y = super().construct(x.astype(ms.float32)).astype(x.dtype)
        return ops.relu(y) if self.relu else y


class DomainNorm(nn.Cell):
    """Batch norm with statistics, scales and shifts for every domain.

    Chang et al., "Domain-Specific Batch Normalization for Unsupervised Domain Adaptation", CVPR
    2019.

    Attributes:
        batch_norm: The batch norm of a domain.
    """

    batch_norm: ClassVar[type[nn.Cell]] = BatchNorm

    def __init__(self, channels: int, domains: Sequence[str], relu: bool) -> None:
        super().__init__()
        self.of = nn.CellDict({name: self.batch_norm(channels, relu) for name in domains})
        self.concat = ops.Concat(0)

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C, H, W) -> the same."""
        parts = split(x, counts)
        norms = self.of.values()
        return self.concat([own(part, counts) for own, part in zip(norms, parts)])  # noqa: B905


class ConvNorm(nn.Cell):
    """A convolution and the norm that follows it; neither becomes a child of this cell."""

    def __init__(self, conv: nn.Cell, norm: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.both = (conv, norm)

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C_in, H, W), ``counts[d]`` images of every domain -> (N, C_out, ...)."""
        return self.both[1](self.both[0](x), counts)


class Gate(nn.Cell):
    """A soft mask: (logits, map) -> sigmoid(logits) * map."""

    def construct(self, logits: Tensor, x: Tensor) -> Tensor:
        """(N, C, H, W) twice -> the same."""
        return ops.sigmoid(logits) * x


class SymmetricMaxPool(nn.Cell):
    """A max-pool with as much padding on all sides; see :meth:`Backend.max_pool`."""

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__()
        edge = (kernel_size // 2,) * 2
        # With zeros, which win only where all is zero. MindSpore's own padding is a 3-D operator.
        self.pad = ops.Pad(((0, 0), (0, 0), edge, edge))
        self.pool = nn.MaxPool2d(kernel_size, stride, pad_mode="valid")

    def construct(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
        return self.pool(self.pad(x))


class Resize(nn.Cell):
    """See :meth:`Backend.resize`."""

    def __init__(self) -> None:
        super().__init__()
        self.interpolate = ops.ResizeBilinearV2(half_pixel_centers=True)

    def construct(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, C, H, W) -> (N, C, *size)."""
        if x.shape[2:] == size:
            return x
        return self.interpolate(x, size)


class Transpose(nn.Cell):
    """Puts axes in another order, and numbers into another type if one is given."""

    def __init__(self, order: tuple[int, ...], dtype: Any = None) -> None:
        super().__init__()
        self.order = order
        self.dtype = dtype

    def construct(self, x: Tensor) -> Tensor:
        """Return the tensor with its axes in ``order``."""
        x = x.transpose(self.order)
        return x if self.dtype is None else x.astype(self.dtype)


class ByTask(nn.Cell):
    """Puts the images of every task one after the other; tasks of one data set have the same.

    Args:
        dataset_of_task: For every task, the number of its data set.
        num_datasets: How many there are.
    """

    def __init__(self, dataset_of_task: Sequence[int], num_datasets: int) -> None:
        super().__init__()
        self.dataset_of_task = tuple(dataset_of_task)
        self.is_mixed_batch = self.dataset_of_task == tuple(range(num_datasets))
        self.concat = ops.Concat(0)

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C, H, W), ``counts[d]`` images of every data set -> the same of every task."""
        if self.is_mixed_batch:
            return x
        parts = split(x, counts) if len(counts) > 1 else (x,)
        return self.concat([parts[d] for d in self.dataset_of_task])


class AttentionLevel(nn.Cell):
    """The attention modules of all tasks on one level, each on its own task's images.

    Args:
        modules: One per task. They belong to the task branches: none becomes a child of this cell.
        by_task: Gives every task its images.
        gate: (logits of a mask, map) -> the masked map.
        channel_axis: Axis of the channels in a map.
    """

    def __init__(
        self, modules: Sequence[nn.Cell], by_task: ByTask, gate: nn.Cell, channel_axis: int
    ) -> None:
        super().__init__(auto_prefix=False)
        self.modules = tuple(modules)
        self.by_task = by_task
        self.dataset_of_task = by_task.dataset_of_task
        self.gate = gate
        self.concat = ops.Concat(0)
        self.concat_channels = ops.Concat(channel_axis)

    def construct(self, counts: Sequence[int], shared: Tensor, *extracted: Tensor) -> Tensor:
        """Mask the shared map.

        Args:
            counts: Images of every data set.
            shared: The shared map of all images.
            extracted: From level 1 on, what the extractor has made of the level before, with the
                images of all tasks, one task after the other.

        Returns:
            The masked map, with the images of all tasks.
        """
        shared = self.by_task(shared, counts)
        of_tasks = [counts[d] for d in self.dataset_of_task]
        seen = self.concat_channels((shared, *extracted)) if extracted else shared
        logits = [
            module(part)
            for module, part in zip(self.modules, split(seen, of_tasks))  # noqa: B905
        ]
        return self.gate(self.concat(logits), shared)


class LinearHeads(nn.Cell):
    """Pooling and linear layers of several tasks, each on its own task's images.

    Args:
        heads: Cells with a ``linear`` layer each. They belong to the task branches: none becomes a
            child of this cell.
        tasks: For every head, the position of its task among all tasks.
    """

    def __init__(self, heads: Sequence[nn.Cell], tasks: Sequence[int]) -> None:
        super().__init__(auto_prefix=False)
        self.heads = tuple(heads)
        self.tasks = tuple(tasks)

    def construct(self, x: Tensor, counts: Sequence[int]) -> tuple[Tensor, ...]:
        """Return the logits of every head.

        Args:
            x: The last level's map with the images of all tasks, one task after the other.
            counts: Images of every task.
        """
        parts = split(x, counts)
        return tuple([head(parts[i]) for head, i in zip(self.heads, self.tasks)])  # noqa: B905


class CrossEntropies(nn.Cell):
    """The mean cross-entropies of several tasks.

    Args:
        smoothing: See :func:`smoothed`.
    """

    def __init__(self, smoothing: float) -> None:
        super().__init__()
        self.smoothing = smoothing

    def construct(
        self, logits: Sequence[Tensor], labels: Sequence[Tensor], *mixing: Sequence[Tensor]
    ) -> Tensor:
        """Return the losses of the T tasks, (T,).

        Args:
            logits: Of every task, (N, K).
            labels: Of every task, int32 (N,).
            mixing: If images are mixed with each other, the labels of their partners, of every task
                int32 (N,), and the shares of their own, of every task float32 (N,).
        """
        losses: tuple[Tensor, ...] = ()
        for i, own in enumerate(logits):
            target = smoothed(labels[i], own.shape[1], self.smoothing)
            if mixing:
                partners, shares = mixing
                other = smoothed(partners[i], own.shape[1], self.smoothing)
                share = shares[i].reshape((-1, 1))
                target = share * target + (1.0 - share) * other
            losses = (*losses, cross_entropy(own, target))
        return ops.stack(losses)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy: logits and probabilities of all classes (N, K) -> scalar."""
    return -(target * ops.log_softmax(logits, -1)).sum(-1).mean()


def smoothed(labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Return the target with label smoothing (Szegedy et al., CVPR 2016).

    Labels int32 (N,), with values in 0..K-1 -> float32 (N, K); ``smoothing`` is the probability
    that is spread evenly over all classes.
    """
    rest = smoothing / num_classes
    return ops.one_hot(
        labels,
        num_classes,
        Tensor(1.0 - smoothing + rest, ms.float32),
        Tensor(rest, ms.float32),
    )
