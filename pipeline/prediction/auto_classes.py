"""SpaceClip as transformers' classes, so that its `pipeline("depth-estimation")` runs it without remote code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from transformers.configuration_utils import PretrainedConfig
from transformers.image_processing_base import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor
from transformers.modeling_outputs import DepthEstimatorOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import AutoConfig
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from ...cache import SpaceClipError
from ...extract import as_rgb, prepare_image
from ...train import resize
from .hub import CONFIG
from .model import SpaceClip


class SpaceClipConfig(PretrainedConfig):
    """What transformers tells kinds of models apart by; all else is in the checkpoint's own record."""

    model_type = CONFIG["model_type"]


class SpaceClipImageProcessor(BaseImageProcessor):
    """From pictures to what the encoder sees, and from its depth to that of each picture.

    Args:
        input_size: Side of the encoder's square input, pixels.
        target_size: (height, width) that a picture is brought to before; None for none.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012 - as the base class has it

    def __init__(self, input_size: int = 224, target_size: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_size, self.target_size = input_size, target_size

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, name: str | Path, *, revision: str | None = None, **_: Any
    ) -> Self:
        """As the record of a checkpoint says; see `SpaceClip.from_pretrained`."""
        model = SpaceClip.from_pretrained(name, revision=revision, device="cpu")
        return cls(model.input_size, model.target_size)

    def __call__(self, images: Any, *_: Any, **__: Any) -> BatchFeature:
        """Pictures, arrays [H, W, 3] uint8 RGB, or one of them, as `pixel_values` [B, 3, S, S] uint8."""
        given = images if isinstance(images, list | tuple) else [images]
        size = (self.target_size[0], self.target_size[1]) if self.target_size else None
        prepared = np.stack([prepare_image(as_rgb(image), size, self.input_size) for image in given])
        return BatchFeature({"pixel_values": torch.from_numpy(prepared).permute(0, 3, 1, 2)})

    def post_process_depth_estimation(
        self, outputs: DepthEstimatorOutput, target_sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[dict[str, Tensor]]:
        """Depth in metres as `predicted_depth`, brought to (height, width) of each image where these are given."""
        depths: Any = outputs.predicted_depth
        sizes = target_sizes if target_sizes is not None else [tuple(depths.shape[1:])] * len(depths)
        return [
            {"predicted_depth": resize(depth[None, None].cpu(), (int(size[0]), int(size[1])))[0, 0]}
            for depth, size in zip(depths, sizes, strict=True)
        ]


class SpaceClipForDepthEstimation(PreTrainedModel):
    """A `SpaceClip` that transformers can call; made by `from_pretrained`.

    Its parameters are the decoder's; the encoder is loaded at the first image, where the decoder is then.
    """

    config_class = SpaceClipConfig
    main_input_name = "pixel_values"
    input_modalities = "image"

    def __init__(self, config: SpaceClipConfig, model: SpaceClip | None = None) -> None:
        if model is None:
            raise SpaceClipError("a model of a configuration alone has no weights: use from_pretrained")
        super().__init__(config)
        self.decoder, self._model = model.decoder, model

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        name: str | Path,
        *,
        config: SpaceClipConfig | None = None,
        revision: str | None = None,
        backbone: str | None = None,
        precision: str = "auto",
        dtype: str | torch.dtype = "auto",
        **_: Any,
    ) -> Self:
        """As `SpaceClip.from_pretrained`, on the CPU until it is moved.

        Raises:
            SpaceClipError: As there; or another type is asked for: the record says what the encoder computes in.
        """
        if dtype not in ("auto", torch.float32, None):
            raise SpaceClipError(
                f"{name}: dtype is {dtype}, and the encoder computes in the precision of the record; leave it out"
            )
        model = SpaceClip.from_pretrained(name, revision=revision, backbone=backbone, device="cpu", precision=precision)
        return cls(config or SpaceClipConfig(architectures=CONFIG["architectures"]), model)

    def forward(self, pixel_values: Tensor, **_: Any) -> DepthEstimatorOutput:
        """Depth [B, h, w] in metres, of the decoder's own size, of `pixel_values` [B, 3, S, S] uint8.

        Raises:
            SpaceClipError: They are of another type or size.
        """
        size = self._model.to(self.device).input_size
        if pixel_values.dtype is not torch.uint8 or pixel_values.shape[1:] != (3, size, size):
            raise SpaceClipError(
                f"pixel_values are {pixel_values.dtype} {list(pixel_values.shape)}: expected uint8 [B, 3, {size}, "
                f"{size}], as SpaceClipImageProcessor makes them"
            )
        depth: Any = self._model.decode(pixel_values.permute(0, 2, 3, 1).cpu().numpy())
        return DepthEstimatorOutput(predicted_depth=depth)

    def save_pretrained(self, save_directory: str | Path, **_: Any) -> None:  # pyright: ignore
        """See `SpaceClip.save_pretrained`."""
        self._model.save_pretrained(save_directory)


def register_auto_classes() -> None:
    """Tell transformers of these classes, so that it finds them by the folder or hub id of a checkpoint."""
    AutoConfig.register(SpaceClipConfig.model_type, SpaceClipConfig, exist_ok=True)
    modeling_auto.AutoModelForDepthEstimation.register(SpaceClipConfig, SpaceClipForDepthEstimation, exist_ok=True)
    AutoImageProcessor.register(SpaceClipConfig, SpaceClipImageProcessor, exist_ok=True)
    # Of this dictionary the pipeline takes the names that it does not warn of.
    names: Any = modeling_auto.MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES
    names[SpaceClipConfig.model_type] = SpaceClipForDepthEstimation.__name__
