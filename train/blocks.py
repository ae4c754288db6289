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


def resized_conv(features: Tensor, weight: Tensor, size: tuple[int, int]) -> Tensor:
    """The 3x3 convolution of `resize(features, size)`, zeros outside, at a fraction of its arithmetic.

    Both are linear, so channels are mixed at the few pixels there are; then rows and columns are resized, each of the
    nine taps shifted by its place.

    Args:
        features: [B, a, h, w].
        weight: [b, a, 3, 3].
        size: (H, W).

    Returns:
        [B, b, H, W].
    """
    batch, _, height, width = features.shape
    weight = weight.to(features.dtype)
    taps = torch.einsum("zahw,baij->zhiwjb", features, weight).reshape(batch * height * 3, width * 3, -1)
    down, across = (_shifted_resize(few, many, taps) for few, many in zip((height, width), size, strict=True))
    rows = torch.bmm(across.expand(taps.shape[0], -1, -1), taps).view(batch, height * 3, -1)
    whole = torch.bmm(down.expand(batch, -1, -1), rows)
    return whole.view(batch, *size, len(weight)).permute(0, 3, 1, 2)


def _shifted_resize(few: int, many: int, like: Tensor) -> Tensor:
    """The matrix [many, few * 3] that resizes a line linearly, and shifts it by -1, 0 and 1 pixels."""
    eye = torch.eye(few, dtype=torch.promote_types(like.dtype, torch.float32), device=like.device)
    resized = F.interpolate(eye[None], size=many, mode="linear", align_corners=False)[0]
    shifted = F.pad(resized, (1, 1)).unfold(1, many, 1)
    return shifted.flatten(0, 1).T.to(like.dtype)


class NormalisedConv(nn.Sequential):
    """A 3x3 convolution without bias, BatchNorm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        )

    @property
    def kernel(self) -> Tensor:
        """The weights of the convolution [outputs, inputs, 3, 3]."""
        return cast(Tensor, self[0].weight)

    @property
    def bias(self) -> Tensor | None:
        """The bias of the convolution [outputs]: none, unless BatchNorm is folded into it."""
        return cast("Tensor | None", self[0].bias)

    def activate(self, convolved: Tensor) -> Tensor:
        """BatchNorm and ReLU of what was convolved already."""
        return self[2](self[1](convolved))


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
        self.refine = NormalisedConv(outputs, outputs)
        # Nothing bends between the two: joined they take 16 ab multiplications a pixel in place of 4 ab + 36 bb.
        self.is_joined = inputs < 3 * outputs

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, 2H, 2W]."""
        if not self.is_joined:
            return self.refine(self.expand(features))
        return self.refine.activate(upsampled(features, *self.joined()))

    def joined(self) -> tuple[Tensor, Tensor]:
        """Both convolutions as one transposed one, stride 2 and padding 1.

        Returns:
            Its kernel [inputs, outputs, 4, 4], and its bias [1, outputs, 3, 3] at a map's first, inner and last pixels.
        """
        refine = self.refine.kernel
        taps = torch.einsum("amk,bmd->abkd", self.expand.weight.flatten(2), refine.flatten(2).flip(2))
        # Tap k of the one and d of the other meet at k + 2 - d, as the places of a window do in `fold`.
        places = F.fold(torch.eye(36, dtype=taps.dtype, device=taps.device).view(36, 4, 9), 4, 2).flatten(1)
        kernel = (taps.flatten(2) @ places).unflatten(2, (4, 4))
        # Where the 3x3 window reaches over the border there is no bias either.
        bias = cast(Tensor, self.expand.bias)[None, :, None, None].expand(-1, -1, 3, 3)
        return kernel, F.conv2d(bias, refine, self.refine.bias, padding=1)


def upsampled(features: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Map [B, inputs, H, W] to [B, outputs, 2H, 2W] with what `Upsample.joined` returned."""
    expanded = F.conv_transpose2d(features, kernel, stride=2, padding=1)
    for axis in (2, 3):
        first, inner, last = bias.split(1, axis)
        bias = torch.cat([first, *[inner] * (expanded.shape[axis] - 2), last], axis)
    # Spread over the batch as rows: the gradient's sum over it is then several times as fast.
    rows = bias.permute(0, 2, 3, 1).flatten(1).expand(expanded.shape[0], -1)
    bias = rows.unflatten(1, (*expanded.shape[2:], -1)).permute(0, 3, 1, 2)
    return expanded.add_(bias)


class Dropout(nn.Module):
    """Drops activations while training, as `generator` draws them; by default PyTorch's own."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share, self.generator = share, cast("torch.Generator | None", None)

    def forward(self, features: Tensor) -> Tensor:
        """Zero a share of the activations, to 2^-16 as it is set, and scale the others up by as much."""
        if not self.training or not self.share:
            return features
        # Drawing is most of the work on a CPU, so that 64 random bits decide four activations.
        draws = torch.empty(-(-features.numel() // 4), dtype=torch.int64, device=features.device)
        draws = draws.random_(-(2**63), None, generator=self.generator).view(torch.int16)
        dropped = int(self.share * 2**16)
        kept = draws.as_strided(features.shape, features.stride()) >= dropped - 2**15
        return features * kept.to(features.dtype).div_(1 - dropped / 2**16)


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
        return torch.addcmul(skip, skip, torch.sigmoid(self.weigh(features)))


class StructuralBlock(nn.Module):
    """One stage of the structural path: upsample, join the projected shallow state, fuse."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.upsample = Upsample(inputs, outputs)
        self.fuse = NormalisedConv(2 * outputs, outputs)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Map `features` [B, inputs, H, W] and `skip` [B, outputs, h, w] to [B, outputs, 2H, 2W]."""
        features = self.upsample(features)
        ours, theirs = self.fuse.kernel.chunk(2, dim=1)
        fused = F.conv2d(features, ours, self.fuse.bias, padding=1)
        return self.fuse.activate(fused.add_(resized_conv(skip, theirs, (fused.shape[-2], fused.shape[-1]))))


class SemanticBlock(nn.Module):
    """One stage of the main path: upsample, join the gated semantic and structural skips, fuse, refine."""

    def __init__(self, inputs: int, outputs: int, structural: bool, dropout: float) -> None:
        super().__init__()
        self.upsample = Upsample(inputs, outputs)
        self.semantic_gate = Gate(outputs, outputs)
        self.structural_gate = Gate(outputs, outputs) if structural else None
        self.fuse = NormalisedConv((3 if structural else 2) * outputs, outputs)
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
        self.features = NormalisedConv(inputs, hidden)
        self.predict = nn.Conv2d(hidden, 1, kernel, padding=kernel // 2)
        if bias != "pytorch":
            nn.init.constant_(cast(nn.Parameter, self.predict.bias), bias)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to depth [B, 1, H, W] in metres, never negative."""
        hidden = self.features(features)
        with torch.autocast(hidden.device.type, enabled=False):
            return F.relu(self.predict(hidden.to(self.predict.weight.dtype)))
