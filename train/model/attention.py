"""Attention modules, one per task and level, and the feature extractors that all tasks share.

MTLN (Zheng et al., TGRS 60, 2022) after MTAN (Liu, Johns and Davison, CVPR 2019).

Shapes: N = images, C = channels, H, W = height and width. Maps are (N, C, H, W), or as the backend
orders their axes.
"""

from collections.abc import Sequence

from mindspore import Tensor, nn

from train.model.backend import Backend


class AttentionModule(nn.Cell):
    """1x1 conv - norm - ReLU - 1x1 conv - norm: the logits of a soft mask over a shared map.

    Its images are those of one task, so it has one domain.
    """

    def __init__(self, in_channels: int, channels: int, backend: Backend) -> None:
        super().__init__()
        self.conv1 = backend.conv(in_channels, channels, 1)
        self.norm1 = backend.norm(channels, relu=True)
        self.conv2 = backend.conv(channels, channels, 1)
        self.norm2 = backend.norm(channels)

    def construct(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C, H, W)."""
        counts = [x.shape[0]]
        x = self.norm1(self.conv1(x), counts)
        logits: Tensor = self.norm2(self.conv2(x), counts)
        return logits


class FeatureExtractor(nn.Cell):
    """3x3 conv - norm - ReLU, and a max-pool down to the next level's size.

    Args:
        in_channels: Channels of the masked maps.
        channels: Channels of the next level.
        tasks: The tasks whose maps come together here.
        stride: By how much the next level is smaller.
        backend: What it is made of.
    """

    def __init__(
        self, in_channels: int, channels: int, tasks: Sequence[str], stride: int, backend: Backend
    ) -> None:
        super().__init__()
        self.conv = backend.conv(in_channels, channels, 3)
        self.norm = backend.norm(channels, tasks, relu=True)
        self.conv_norm = backend.conv_norm(self.conv, self.norm)
        self.pool = backend.max_pool(stride, stride) if stride > 1 else nn.Identity()

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C_in, H, W), ``counts[t]`` images of every task -> (N, C, ceil(H / stride), ...)."""
        return self.pool(self.conv_norm(x, counts))
