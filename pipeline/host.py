"""A trained decoder in a host: depth from the hidden states that the host's own forward pass computes."""

import operator
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, SupportsIndex

import numpy as np
import torch._dynamo
from PIL import Image
from torch import Tensor, nn

from ..cache import SpaceClipError
from ..extract import (
    Features,
    HiddenStates,
    HostTower,
    find_tower,
    normalisation,
    prepare_image,
    require_recorded_weights,
)
from ..train import Checkpoint, load_checkpoint, resize
from .prediction.cameras import camera_of, said_of_unlike
from .prediction.depth_map import DepthMap
from .prediction.hub import checkpoint_folder
from .prediction.model import AnyCamera, AnyImage, SpaceClip, as_picture


class AttachedDecoder:
    """Depth for what a host's vision tower saw last: see `attach`, which makes it.

    Called, it gives depth [B, 1, h, w] in metres for the last forward pass of the host, float32 on its device, at the
    decoder's own size or at the one asked for. The tower computes nothing for it, and no output of the host changes;
    copies of one pass's hidden states are kept until the next begins. As a context it detaches at the end.

    Attributes:
        model: The checkpoint; its own encoder is loaded only if it is itself asked to predict.
        tower: The host's vision tower.
        weights: In what the tower's weights are those of the checkpoint's record.
    """

    def __init__(self, model: SpaceClip, tower: HostTower, weights: str) -> None:
        self.model, self.tower, self.weights = model, tower, weights
        self._hidden: HiddenStates | None = HiddenStates(tower.module, model.decoder.settings.layers, copies=True)

    def __call__(self, size: tuple[int, int] | None = None) -> Tensor:
        """Depth [B, 1, H, W] in metres for the images that the tower was given last; it has no gradient.

        Args:
            size: (H, W) of the result, as those of the photographs; the decoder's own if not given.

        Raises:
            SpaceClipError: It is detached, the host has not computed since, it gave its tower images of another size,
                or the size asked for is none.
        """
        if self._hidden is None:
            raise SpaceClipError(
                f"the decoder of {self.model.path} is detached from {self.tower.name}: attach it again"
            )
        features, found, side = self._hidden.features, self._hidden.image_size, self.tower.input_size
        if found != (side, side):
            raise SpaceClipError(
                f"{self.tower.name} was given images of {found[0]} x {found[1]} pixels, the decoder of "
                f"{self.model.path} reads those of {side} x {side}: give it images of that size"
            )
        # The host may have been moved since, or lie on several devices.
        device = features.pooled.device
        states = {layer: state.to(device) for layer, state in features.states.items()}
        depth = self.model.to(device).decode_features(Features(states, features.pooled))
        # The copy is an ordinary tensor, which a host that learns may compute with.
        depth = depth.clone()
        return depth if size is None else resize(depth, _height_and_width(size))

    def depth_map(self, image: AnyImage, index: int | None = None, *, camera: AnyCamera = None) -> DepthMap:
        """Depth at a photograph's own size, to look at, to save, or as points.

        Args:
            image: The photograph, one that `SpaceClip.predict` takes; it is not compared with what the tower was given.
            index: Its place in the batch that the tower was given last; may be left out of a batch of one.
            camera: That of `SpaceClip.predict`: by default what EXIF data says, else a guess. As there, a warning says
                where depth is no metres, since the lens is another than that of the training.

        Raises:
            SpaceClipError: As when it is called, the photograph or the camera is none, the batch has several images, or
                none of that place.
        """
        picture = as_picture(image)
        depth, taken_with = self(), camera_of(picture, camera, self.model.training_camera)
        if index is None and len(depth) == 1:
            index = 0
        if index is None or not 0 <= index < len(depth):
            raise SpaceClipError(
                f"{self.tower.name} was given {len(depth)} images last, and depth is asked for that of index {index}: "
                f"expected the photograph's place among them, from 0 to {len(depth) - 1}"
            )
        if text := said_of_unlike([taken_with], self.model.training_camera):
            warnings.warn(text, stacklevel=2)
        return self.model.depth_map(np.asarray(picture), depth[index, 0].cpu(), taken_with)

    def prepare(self, image: AnyImage) -> Image.Image:
        """A photograph as those of the training were, for the host's processor: the whole frame, [S, S] pixels."""
        return Image.fromarray(prepare_image(as_picture(image), self.model.target_size, self.tower.input_size))

    def detach(self) -> None:
        """Remove all hooks from the host, and forget its hidden states; doing it again does nothing."""
        if self._hidden is not None:
            self._hidden.close()
        self._hidden = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def __getstate__(self) -> NoReturn:
        raise SpaceClipError(
            f"this decoder cannot be copied or pickled, being attached to {self.tower.name}: attach again"
        )

    def __repr__(self) -> str:
        info, detached = self.model.info, "" if self._hidden else ", detached"
        layers = ", ".join(map(str, self.model.decoder.settings.layers))
        computed, recorded = str(self.tower.dtype).removeprefix("torch."), info.backbone.get("precision")
        precision = "" if computed == recorded else f" in {recorded}, which differs from this host's {computed}"
        return (
            f"AttachedDecoder: hidden states {layers} of {self.tower}; {self.weights}{detached}\n"
            f"{self.model.path}: {info.min_depth:g} to {info.max_depth:g} m, trained on {info.backbone.get('name')}"
            f"{precision}"
        )


def attach(
    vision_model: nn.Module,
    checkpoint: str | Path | Checkpoint,
    *,
    processor: Any = None,
    backbone: str | None = None,
    allow_other_weights: bool = False,
    precision: str = "auto",
) -> AttachedDecoder:
    """Have a host's own forward passes give depth too, at the price of a decoder pass.

    >>> head = attach(host, "results/nyu")  # doctest: +SKIP
    >>> answer = host.generate(**inputs)  # doctest: +SKIP
    >>> depth = head()  # doctest: +SKIP

    Args:
        vision_model: A CLIP vision model of transformers, or any model with exactly one in it; compiled or not.
        checkpoint: A loaded one, its folder, or its id on the Hugging Face hub.
        processor: The host's image processor, to be compared with what the training's images went through.
        backbone: Where the recorded encoder is (see `BackboneSettings.name`), if its weights have to be rounded to
            compare them with a host of 16 bits, and the record does not say.
        allow_other_weights: Take a tower of the right shape whatever its weights are; they are not compared.
        precision: Of the decoder's arithmetic: `float32`, `bfloat16`, or `auto` as in training.

    Raises:
        SpaceClipError: The tower is of another shape or other weights than the one that the decoder was trained on, the
            processor does something else, or there is no such tower or checkpoint.
    """
    tower = find_tower(vision_model)
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = load_checkpoint(checkpoint_folder(checkpoint))
    _require_shape(tower, checkpoint)
    if processor is not None:
        _require_normalisation(processor, tower, checkpoint)
    if allow_other_weights:
        weights = "its weights were not compared (allow_other_weights)"
    else:
        weights = _compared(tower, checkpoint, backbone)
    _have_compiled_code_see_hooks()
    return AttachedDecoder(SpaceClip(checkpoint, backbone=backbone, precision=precision), tower, weights)


def _height_and_width(size: Iterable[SupportsIndex]) -> tuple[int, int]:
    try:
        height, width = map(operator.index, size)
    except (TypeError, ValueError):
        height, width = 0, 0
    if min(height, width) < 1:
        raise SpaceClipError(f"depth is asked for at size {size}: expected (height, width) in whole pixels")
    return height, width


def _have_compiled_code_see_hooks() -> None:
    """By default code that was compiled for a model without hooks passes over those that it has got since.

    Depth would be that of an older image: all is compiled again when it is next called.
    """
    if torch._dynamo.config.skip_nnmodule_hook_guards:
        torch._dynamo.config.skip_nnmodule_hook_guards = False
        torch.compiler.reset()


def _require_shape(tower: HostTower, checkpoint: Checkpoint) -> None:
    info, settings = checkpoint.info, checkpoint.decoder.settings
    compared = [("width", tower.channels, settings.hidden_size)]
    if info.image_size and info.patches:
        side = info.image_size[0]
        compared.append(("image size", tower.input_size, side))
        compared.append(("patch size", tower.patch_size, side // round(info.patches**0.5)))
    for name, found, expected in compared:
        if found != expected:
            raise SpaceClipError(
                f"{tower} has {name} {found}, and {checkpoint.path.parent} was trained on one of {expected} "
                f"({info.backbone.get('name')}): attach to a host of that encoder, or train on this one's features "
                "(`spaceclip extract --host`)"
            )
    if (last := max(settings.layers)) > tower.blocks:
        raise SpaceClipError(
            f"{tower} has no hidden state {last}, which {checkpoint.path.parent} reads: attach to a host of that "
            f"encoder ({info.backbone.get('name')}), or train on this one's features (`spaceclip extract --host`)"
        )


def _require_normalisation(processor: Any, tower: HostTower, checkpoint: Checkpoint) -> None:
    recorded = checkpoint.info.preprocessing
    for name, found in zip(("mean", "std"), normalisation(processor, tower.input_size), strict=True):
        if list(found) != recorded.get(name):
            raise SpaceClipError(
                f"the image processor has {name} {list(found)}, the images of {checkpoint.path.parent} had "
                f"{recorded.get(name)}: attach to a host of the same, or train on this one's features "
                "(`spaceclip extract --host`)"
            )


def _compared(tower: HostTower, checkpoint: Checkpoint, backbone: str | None) -> str:
    try:
        return require_recorded_weights(tower, checkpoint.info.backbone, source=backbone)
    except SpaceClipError as error:
        raise SpaceClipError(
            f"{checkpoint.path.parent}: {error}; train on this host's own features (`spaceclip extract --host "
            "PKG:CALLABLE`), or take it all the same (allow_other_weights=True)"
        ) from error
