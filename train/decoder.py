"""The depth decoder: from the cached hidden states of a frozen encoder to metres.

Source: arXiv 2601.17657v2, section III (the "dense predictor").
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from torch import Tensor, nn

from ..cache import SpaceClipError
from .blocks import DepthHead, FiLM, SemanticBlock, StructuralBlock, resize

_LARGEST = 1 << 16
Size = Annotated[int, Field(ge=1, le=_LARGEST)]
Channels = tuple[Size, Size, Size, Annotated[int, Field(ge=2, le=_LARGEST)]]
_Layer = Annotated[int, Field(ge=0, le=_LARGEST)]


class DecoderSettings(BaseModel):
    """Shape of the decoder; the defaults are the paper's, for CLIP ViT-B/16.

    Attributes:
        hidden_size: channels C of the hidden states and of the pooled vector; see `for_features`.
        channels: channels after each of the four stages, coarsest first.
        film: modulate the semantic states by the pooled vector.
        film_hidden: width of the FiLM generators.
        structural: have the structural path (the three shallow states).
        semantic_layers: hidden states of the main path, coarsest stage first.
        structural_layers: hidden states of the structural path, coarsest stage first.
        dropout: share of activations dropped in the residual blocks while training, in [0, 1).
        head_bias: metres that the depth heads start near, see `DepthHead`; `pytorch` for PyTorch's own start, which is
            the authors' release's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden_size: Size = 768
    channels: Channels = (256, 128, 64, 32)
    film: bool = True
    film_hidden: Size = 256
    structural: bool = True
    semantic_layers: tuple[_Layer, _Layer, _Layer, _Layer] = (12, 9, 6, 3)
    structural_layers: tuple[_Layer, _Layer, _Layer] = (2, 1, 0)
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    head_bias: Annotated[float, Field(ge=-_LARGEST, le=_LARGEST)] | Literal["pytorch"] = 2.0

    @field_validator("head_bias", mode="wrap")
    @classmethod
    def _metres_or_pytorch(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError:
            raise ValueError("expected metres, or pytorch") from None

    @property
    def layers(self) -> tuple[int, ...]:
        """The hidden states that the decoder reads, ascending, each once."""
        return tuple(sorted({*self.semantic_layers, *(self.structural_layers if self.structural else ())}))

    def for_features(self, channels: int) -> Self:
        """The settings for features of so many channels, which need not be said twice.

        Raises:
            SpaceClipError: Another hidden size was asked for.
        """
        if "hidden_size" in self.model_fields_set and self.hidden_size != channels:
            raise SpaceClipError(
                f"decoder.hidden_size is {self.hidden_size}, these features have {channels} channels; leave it out, "
                "it follows from the features"
            )
        return self.model_copy(update={"hidden_size": channels})


@dataclass(frozen=True, slots=True)
class DepthPrediction:
    """What the decoder says about a batch.

    Attributes:
        depth: [B, 1, H, W] in metres, never negative, in the weights' precision.
        auxiliary: the same from the coarser stages that were asked for, by stage, 0 the coarsest.
    """

    depth: Tensor
    auxiliary: dict[int, Tensor]


class DepthDecoder(nn.Module):
    """The learned part of SPACE-CLIP; its weights and maps live in channels-last memory format."""

    def __init__(self, settings: DecoderSettings | None = None) -> None:
        super().__init__()
        self.settings = settings = settings or DecoderSettings()
        size, widths = settings.hidden_size, settings.channels
        inner = widths[:3] if settings.structural else ()
        self.film = nn.ModuleList(FiLM(size, settings.film_hidden) for _ in widths if settings.film)
        self.semantic_projections = nn.ModuleList(nn.Conv2d(size, width, 1) for width in widths)
        self.structural_projections = nn.ModuleList(nn.Conv2d(size, width, 1) for width in inner)
        self.structural_blocks = nn.ModuleList(
            StructuralBlock(inputs, outputs) for inputs, outputs in zip((size, *inner), inner, strict=False)
        )
        self.semantic_blocks = nn.ModuleList(
            SemanticBlock(inputs, outputs, stage < len(inner), settings.dropout)
            for stage, (inputs, outputs) in enumerate(zip((widths[0], *widths), widths, strict=False))
        )
        self.head = DepthHead(widths[3], widths[3] // 2, kernel=3, bias=settings.head_bias)
        self.auxiliary_heads = nn.ModuleList(
            DepthHead(width, max(width // 2, 16), kernel=1, bias=settings.head_bias) for width in widths[:3]
        )
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(
        self,
        states: Mapping[int, Tensor],
        pooled: Tensor,
        output_size: tuple[int, int] | None = None,
        *,
        auxiliary: Collection[int] | None = None,
    ) -> DepthPrediction:
        """Predict depth.

        Args:
            states: hidden state index -> patch tokens [B, P, C] without class token, any floating type; P is a
                square number, row by row. States that `settings.layers` does not name are ignored.
            pooled: the encoder's pooled output [B, C].
            output_size: (H, W) of the prediction; 16 times the token grid if not given (224 x 224 for 196 tokens).
            auxiliary: also predict from these of the stages 0 to 2; if not given, from all while training.

        Raises:
            SpaceClipError: a state is missing, or a shape does not fit the settings.
        """
        grid = self._token_grid(states, pooled)
        output_size = output_size or (16 * grid, 16 * grid)
        dtype = self._compute_dtype(pooled.device)
        pooled = pooled.to(dtype)
        tokens = {layer: states[layer].to(dtype) for layer in self.settings.layers}

        structural = self._structural_maps(tokens, grid)
        semantic = self._semantic_maps(tokens, pooled, grid)
        features, stages = semantic[0], []
        for block, skip, shallow in zip(self.semantic_blocks, semantic, (*structural, None), strict=True):
            features = block(features, skip, shallow)
            stages.append(features)

        depth = resize(self.head(features), output_size)
        if auxiliary is None:
            auxiliary = range(len(self.auxiliary_heads)) if self.training else ()
        coarse = {stage: self.auxiliary_heads[stage](stages[stage]) for stage in auxiliary}
        return DepthPrediction(depth, {stage: resize(depth, output_size) for stage, depth in coarse.items()})

    def _structural_maps(self, tokens: Mapping[int, Tensor], grid: int) -> list[Tensor | None]:
        """Outputs of the structural blocks, or nothing three times."""
        if not self.settings.structural:
            return [None] * 3
        shallow = [_as_map(tokens[layer], grid) for layer in self.settings.structural_layers]
        features, maps = shallow[0], []
        for block, projection, state in zip(self.structural_blocks, self.structural_projections, shallow, strict=True):
            features = block(features, projection(state))
            maps.append(features)
        return maps

    def _semantic_maps(self, tokens: Mapping[int, Tensor], pooled: Tensor, grid: int) -> list[Tensor]:
        """The projected semantic states [B, channels[i], grid, grid], modulated first if FiLM is on."""
        deep = [tokens[layer] for layer in self.settings.semantic_layers]
        if self.settings.film:
            deep = [film(state, pooled) for film, state in zip(self.film, deep, strict=True)]
        projections = zip(self.semantic_projections, deep, strict=True)
        return [projection(_as_map(state, grid)) for projection, state in projections]

    def _compute_dtype(self, device: torch.device) -> torch.dtype:
        if torch.is_autocast_enabled(device.type):
            return torch.get_autocast_dtype(device.type)
        return next(self.semantic_projections.parameters()).dtype

    def _token_grid(self, states: Mapping[int, Tensor], pooled: Tensor) -> int:
        """Side of the token grid, once all shapes are found to fit."""
        settings = self.settings
        missing = [layer for layer in settings.layers if layer not in states]
        if missing:
            raise SpaceClipError(
                f"hidden states {missing} are missing: found {sorted(states)}, expected {list(settings.layers)}; "
                "extract them, or choose other layers for the decoder"
            )
        shape = tuple(states[settings.layers[0]].shape)
        if len(shape) != 3 or shape[2] != settings.hidden_size:
            raise SpaceClipError(
                f"hidden state {settings.layers[0]} is {list(shape)}, expected [B, P, {settings.hidden_size}]; "
                "set the decoder's hidden_size to the encoder's"
            )
        grid = math.isqrt(shape[1])
        if grid < 1 or grid * grid != shape[1]:
            raise SpaceClipError(
                f"hidden states hold {shape[1]} patch tokens, expected a square number such as 196 (14 x 14); "
                "leave the class token out"
            )
        for layer in settings.layers:
            if tuple(states[layer].shape) != shape:
                raise SpaceClipError(
                    f"hidden state {layer} is {list(states[layer].shape)}, expected {list(shape)} like hidden state "
                    f"{settings.layers[0]}; take all states from the same images"
                )
        if tuple(pooled.shape) != (shape[0], shape[2]):
            raise SpaceClipError(
                f"the pooled vector is {list(pooled.shape)}, expected {[shape[0], shape[2]]}; "
                "take it from the same images as the hidden states"
            )
        return grid


def _as_map(tokens: Tensor, grid: int) -> Tensor:
    """View tokens [B, P, C] as a map [B, C, grid, grid], which is channels-last without a copy."""
    return tokens.transpose(1, 2).unflatten(2, (grid, grid))
