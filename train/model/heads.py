"""Heads: what turns a task's attended features into its answer."""

from mindspore import Tensor, nn
from mindspore.common.initializer import Normal


class ClassificationHead(nn.Cell):
    """Global average pooling and a linear layer."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Dense(channels, num_classes, weight_init=Normal(0.01), bias_init="zeros")

    def construct(self, x: Tensor) -> Tensor:
        """Features (N, C, H, W) -> logits (N, num_classes)."""
        return self.linear(x.mean((2, 3)))
