"""CLIP's ModifiedResNet: a three-convolution stem, anti-aliased strides, attention pooling."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from car.vlm.init import normal
from car.vlm.vit import resized_positions


class Bottleneck(nn.Module):
    """Residual bottleneck whose stride is an average pool before the last convolution and in the shortcut."""

    expansion = 4

    def __init__(self, channels: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        out = planes * self.expansion
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(planes, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or channels != out:
            # The checkpoints name the shortcut's pool "-1"; it has no parameters, so only "0" and "1" are in them.
            self.downsample = nn.Sequential()
            self.downsample.add_module("-1", nn.AvgPool2d(stride))
            self.downsample.add_module("0", nn.Conv2d(channels, out, 1, bias=False))
            self.downsample.add_module("1", nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self.avgpool(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class AttentionPool(nn.Module):
    """Attention pooling: the mean position queries all positions."""

    def __init__(self, positions: int, width: int, heads: int, embed_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = normal(positions + 1, width, std=width**-0.5)
        self.k_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Pool a feature map (B, C, h, w) to (B, E)."""
        tokens = x.flatten(2).mT
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
        tokens = tokens + resized_positions(self.positional_embedding, (x.shape[-2], x.shape[-1]))

        def split(y: Tensor) -> Tensor:
            return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        q, k, v = split(self.q_proj(tokens[:, :1])), split(self.k_proj(tokens)), split(self.v_proj(tokens))
        pooled = F.scaled_dot_product_attention(q, k, v)
        return self.c_proj(pooled.transpose(1, 2).flatten(1))


class ModifiedResNet(nn.Module):
    """CLIP's ResNet image encoder."""

    patch = 32

    def __init__(self, *, layers: tuple[int, ...], width: int, resolution: int, embed_dim: int, heads: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(2)
        channels = width
        stages = []
        for i, blocks in enumerate(layers):
            planes = width * 2**i
            first = Bottleneck(channels, planes, stride=1 if i == 0 else 2)
            channels = planes * Bottleneck.expansion
            stages.append(nn.Sequential(first, *(Bottleneck(channels, planes) for _ in range(blocks - 1))))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.attnpool = AttentionPool((resolution // self.patch) ** 2, channels, heads, embed_dim)

    def features(self, images: Tensor) -> Tensor:
        """The last feature map (B, 32 * width, H / 32, W / 32) of images (B, 3, H, W)."""
        x = images.to(self.conv1.weight.dtype)
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = F.relu(norm(conv(x)))
        x = self.avgpool(x)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def pool_masked(self, features: Tensor, masks: Tensor) -> Tensor:
        """Embeddings (M, E), not normalised, of one feature map (1, C, h, w) times each of the masks (M, h, w)."""
        return self.attnpool(features * masks.unsqueeze(1).to(features.dtype))

    def forward(self, images: Tensor) -> Tensor:
        """Embedding (B, E), not normalised, of images (B, 3, H, W)."""
        return self.attnpool(self.features(images))
