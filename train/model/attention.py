"""Attention modules (one per task and level) and the feature extractors the tasks share.

MTLN (Zheng et al., TGRS 60, 2022) after MTAN (Liu, Johns and Davison, CVPR 2019).

Shapes: N = images, C = channels, H, W = height and width. Tensors are NCHW.
"""

from collections.abc import Sequence

from mindspore import Tensor, nn

from train.model.layers import Norm, conv, norm


class AttentionModule(nn.Cell):
    """1x1 conv - norm - ReLU - 1x1 conv - norm - sigmoid: a soft mask over a shared map.

    Its images are those of one task, so it has one domain.
    """

    def __init__(self, in_channels: int, channels: int, norm_kind: Norm) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, channels, 1)
        self.norm1 = norm(norm_kind, channels)
        self.conv2 = conv(channels, channels, 1)
        self.norm2 = norm(norm_kind, channels)
        self.relu = nn.ReLU()
        self.sigmoid = nn.Sigmoid()

    def construct(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> mask (N, C, H, W) with values in (0, 1)."""
        counts = [x.shape[0]]
        x = self.relu(self.norm1(self.conv1(x), counts))
        return self.sigmoid(self.norm2(self.conv2(x), counts))


class FeatureExtractor(nn.Cell):
    """3x3 conv - norm - ReLU, and a max-pool down to the next level's size.

    Args:
        in_channels: Channels of the masked maps.
        channels: Channels of the next level.
        norm_kind: Kind of norm.
        tasks: The tasks whose maps come together here.
        stride: By how much the next level is smaller.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        norm_kind: Norm,
        tasks: Sequence[str],
        stride: int,
    ) -> None:
        super().__init__()
        self.conv = conv(in_channels, channels, 3)
        self.norm = norm(norm_kind, channels, tasks)
        self.relu = nn.ReLU()
        # "same" rounds odd sizes up, as the trunk's strided convolutions do.
        self.pool = nn.MaxPool2d(stride, stride, pad_mode="same") if stride > 1 else nn.Identity()

    def construct(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """(N, C_in, H, W), ``counts[t]`` images of every task -> (N, C, ceil(H / stride), ...)."""
        return self.pool(self.relu(self.norm(self.conv(x), counts)))
