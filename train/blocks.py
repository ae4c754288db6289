"""The decoder's building blocks: FiLM, upsampling, the structural and semantic stages, and the depth heads.

Source: arXiv 2601.17657v2, section III. Every map is [B, channels, height, width].
"""

from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def resize(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize [B, C, H, W] bilinearly (corners not aligned) to `size`; the same tensor if it has that size already."""
    if tuple(features.shape[-2:]) == tuple(size):
        return features
    return F.interpolate(features, size=size, mode="bilinear", align_corners=False)


def normalised_conv(inputs: int, outputs: int) -> nn.Sequential:
    """A 3x3 convolution without bias, BatchNorm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class FiLM(nn.Module):
    """Scale and shift patch tokens channel by channel, as the image's pooled vector says."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * channels))

    def forward(self, tokens: Tensor, pooled: Tensor) -> Tensor:
        """Return gamma * tokens + beta [B, P, C] for `tokens` [B, P, C] and `pooled` [B, C]."""
        gamma, beta = self.generator(pooled).unsqueeze(1).chunk(2, dim=-1)
        return gamma * tokens + beta


class Upsample(nn.Module):
    """Double height and width: a transposed 2x2 convolution, refined by a 3x3 one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.expand = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.refine = normalised_conv(outputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, 2H, 2W]."""
        return self.refine(self.expand(features))


class Dropout(nn.Module):
    """Drops activations while training, as `generator` draws them; by default PyTorch's own."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share, self.generator = share, cast("torch.Generator | None", None)

    def forward(self, features: Tensor) -> Tensor:
        """Zero a share of the activations, and scale the others up by as much."""
        if not self.training or not self.share:
            return features
        kept = torch.empty_like(features).bernoulli_(1 - self.share, generator=self.generator)
        return features * kept.div_(1 - self.share)


class Residual(nn.Module):
    """Two normalised 3x3 convolutions with dropout between them, added to their input."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.dropout = Dropout(dropout)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Keep the shape [B, channels, H, W]."""
        hidden = self.dropout(F.relu(self.norm1(self.conv1(features)), inplace=True))
        return F.relu(self.norm2(self.conv2(hidden)).add_(features), inplace=True)


class Gate(nn.Module):
    """Strengthen a skip connection by up to two times where the main path asks for it."""

    def __init__(self, inputs: int, skip: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(inputs, skip, 1)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Return skip * (1 + sigmoid(weigh(features))) at the height and width of `features` [B, inputs, H, W]."""
        skip = resize(skip, (features.shape[-2], features.shape[-1]))
        return skip * (1 + torch.sigmoid(self.weigh(features)))


class StructuralBlock(nn.Module):
    """One stage of the structural path: upsample, join the projected shallow state, fuse."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.upsample = Upsample(inputs, outputs)
        self.fuse = normalised_conv(2 * outputs, outputs)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Map `features` [B, inputs, H, W] and `skip` [B, outputs, h, w] to [B, outputs, 2H, 2W]."""
        features = self.upsample(features)
        skip = resize(skip, (features.shape[-2], features.shape[-1]))
        return self.fuse(torch.cat((features, skip), dim=1))


class SemanticBlock(nn.Module):
    """One stage of the main path: upsample, join the gated semantic and structural skips, fuse, refine."""

    def __init__(self, inputs: int, outputs: int, structural: bool, dropout: float) -> None:
        super().__init__()
        self.upsample = Upsample(inputs, outputs)
        self.semantic_gate = Gate(outputs, outputs)
        self.structural_gate = Gate(outputs, outputs) if structural else None
        self.fuse = normalised_conv((3 if structural else 2) * outputs, outputs)
        self.residual = Residual(outputs, dropout)

    def forward(self, features: Tensor, semantic: Tensor, structural: Tensor | None) -> Tensor:
        """Map `features` [B, inputs, H, W] and skips of `outputs` channels, any size, to [B, outputs, 2H, 2W]."""
        features = self.upsample(features)
        joined = [features, self.semantic_gate(features, semantic)]
        if self.structural_gate is not None and structural is not None:
            joined.append(self.structural_gate(features, structural))
        return self.residual(self.fuse(torch.cat(joined, dim=1)))


class DepthHead(nn.Module):
    """Turn features into metres.

    Started from a bias about zero, as PyTorch's is, the ReLU says nothing at most pixels, has no gradient there, and
    may never wake; a `bias` of some metres makes it start near that depth. The last convolution computes in the
    weights' own precision even under autocast: bfloat16 tells depths at 80 m apart only by half a metre.
    """

    def __init__(self, inputs: int, hidden: int, kernel: int, bias: float | Literal["pytorch"]) -> None:
        super().__init__()
        self.features = normalised_conv(inputs, hidden)
        self.predict = nn.Conv2d(hidden, 1, kernel, padding=kernel // 2)
        if bias != "pytorch":
            nn.init.constant_(cast(nn.Parameter, self.predict.bias), bias)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to depth [B, 1, H, W] in metres, never negative."""
        hidden = self.features(features)
        with torch.autocast(hidden.device.type, enabled=False):
            return F.relu(self.predict(hidden.to(self.predict.weight.dtype)))
