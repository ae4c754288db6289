"""Encoder and decoder together: from an image to metres."""

import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Self, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...cache import SpaceClipError, out_of_memory, require_same
from ...evaluate import printable
from ...extract import Backbone, Features, as_rgb, load_recorded_backbone, prepare_image, read_image
from ...train import Checkpoint, InferenceDecoder, autocast, for_inference, load_checkpoint, resize, resolve_precision
from ..device import choose_device
from .cameras import CameraChoice, TrainingCamera, camera_of, said_of_doubtful, said_of_unlike
from .depth_map import DepthMap
from .hub import checkpoint_folder, push_folder, save_folder
from .intrinsics import Intrinsics
from .model_card import DATA_IN_WORDS, UNRECORDED

AnyImage = str | Path | Image.Image | NDArray[Any]
AnyCamera = CameraChoice | Intrinsics | Sequence[float] | NDArray[Any] | None

_ON_CPU, _ELSEWHERE = 8, 32
_LONGEST = 16_384


class SpaceClip:
    """A trained decoder with the frozen encoder whose hidden states it reads.

    What happens to an image is what extraction did to those of the training: decoding, target size, input size,
    normalisation, and the encoder's precision are the record's.

    Args:
        checkpoint: The decoder, on the device that is to compute.
        backbone: Where the encoder is, if not where the record says.
        precision: Of the decoder's arithmetic, as in training.

    Attributes:
        info: The checkpoint's record.
        batch_size: Images that are computed together.
    """

    def __init__(self, checkpoint: Checkpoint, *, backbone: str | None = None, precision: str = "auto") -> None:
        self.info, self.path, self.decoder = checkpoint.info, checkpoint.path.parent, checkpoint.decoder
        self.device = next(self.decoder.parameters()).device
        self.batch_size = _ON_CPU if self.device.type == "cpu" else _ELSEWHERE
        self._source, self._precision, self._loading = backbone, precision, Lock()

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        backbone: str | None = None,
        device: str = "auto",
        precision: str = "auto",
    ) -> Self:
        """Load a checkpoint; the encoder that its record names is loaded when it is first needed.

        Args:
            name: Folder of `checkpoint.safetensors` and `checkpoint.json`, or a hub id (owner/model).
            revision: Commit, branch or tag on the hub.
            backbone: Where the encoder is, if not where the record says; see `BackboneSettings.name`.
            device: `cpu`, `cuda`, `mps`; `auto` takes the best there is.
            precision: Of the decoder's arithmetic: `float32`, `bfloat16`, or `auto` as in training.

        Raises:
            SpaceClipError: There is no checkpoint, it was altered, or there is no such device.
        """
        found = load_checkpoint(checkpoint_folder(name, revision), choose_device(device))
        return cls(found, backbone=backbone, precision=precision)

    def save_pretrained(self, folder: str | Path, *, license_id: str | None = None) -> None:
        """Write a folder that `from_pretrained` and transformers read: weights, record, and a model card.

        Args:
            folder: Made if it is not there; files of these names are replaced.
            license_id: For the card, as the hub names it (`apache-2.0`); the software states none.

        Raises:
            OSError: It cannot be written.
        """
        save_folder(self, Path(folder), Path(folder).name, license_id)

    def push_to_hub(
        self, repo_id: str, *, private: bool | None = None, token: str | None = None, license_id: str | None = None
    ) -> str:
        """Write the same to a repository of the Hugging Face hub, which is made if it is not there.

        Args:
            repo_id: owner/model.
            private: Whether a new one is.
            token: By default the one of `hf auth login` or HF_TOKEN.
            license_id: See `save_pretrained`.

        Returns:
            Address of the commit.

        Raises:
            SpaceClipError: There is no token, no network, or no right to write there.
        """
        return push_folder(self, repo_id, private=private, token=token, license_id=license_id)

    def to(self, device: torch.device | str) -> Self:
        """Move it to another device, in place; an encoder that was loaded is loaded there again when it is needed."""
        device = torch.device(device)
        if device != self.device:
            self.decoder.to(device)
            self.device = device
            for name in ("_backbone", "_inference"):
                self.__dict__.pop(name, None)
        return self

    @property
    def backbone(self) -> Backbone:
        """The frozen encoder, loaded once.

        Raises:
            SpaceClipError: It cannot be had, or its weights or normalisation are not those of the record.
        """
        with self._loading:
            return self._backbone

    @cached_property
    def _backbone(self) -> Backbone:
        found = load_recorded_backbone(self.info.backbone, source=self._source, device=self.device)
        found.check_layers(self.decoder.settings.layers)
        used = {"resample": "bicubic", "mean": found.mean, "std": found.std}
        require_same(self.info.preprocessing, used, str(self.path))
        return found

    @property
    def input_size(self) -> int:
        """Side of the encoder's square input, pixels."""
        return self.info.image_size[0] if self.info.image_size else self.backbone.input_size

    @property
    def target_size(self) -> tuple[int, int] | None:
        """(height, width) that every image is brought to before the encoder's own size; None for none."""
        match self.info.preprocessing.get("target_size"):
            case None:
                return None
            case [int(height), int(width)] if 0 < height <= _LONGEST and 0 < width <= _LONGEST:
                return height, width
            case other:
                raise SpaceClipError(
                    f"{self.path}: its record has a target_size of {other!r:.50}, expected [height, width] in pixels; "
                    "train it again"
                )

    @property
    def precision(self) -> str:
        """Of the decoder's arithmetic on this device."""
        if self._precision != "auto":
            return self._precision
        return str(resolve_precision("auto", self.device)).removeprefix("torch.")

    @property
    def depth_range(self) -> tuple[float, float]:
        """Depths between which it was trained, metres."""
        return self.info.min_depth, self.info.max_depth

    @overload
    def predict(
        self,
        images: AnyImage,
        *,
        flip_average: bool = False,
        camera: AnyCamera = None,
        rescale_focal: bool = False,
    ) -> DepthMap: ...

    @overload
    def predict(
        self,
        images: Iterable[AnyImage],
        *,
        flip_average: bool = False,
        camera: AnyCamera = None,
        rescale_focal: bool = False,
    ) -> list[DepthMap]: ...

    def predict(
        self,
        images: AnyImage | Iterable[AnyImage],
        *,
        flip_average: bool = False,
        camera: AnyCamera = None,
        rescale_focal: bool = False,
    ) -> DepthMap | list[DepthMap]:
        """Depth at each image's own size.

        Args:
            images: A path, a picture, or an array [H, W, 3] uint8 RGB (16 bits, grey and alpha are taken too); or a
                list of these. Pictures and files are turned as their EXIF data asks.
            flip_average: Average with what the mirrored image gives: twice the time, a little more accurate.
            camera: `CameraChoice(fov_x=78)` or `CameraChoice(fx=520)` for images of any size; `Intrinsics`,
                (fx, fy, cx, cy) or a matrix [3, 3] for images of one size, in their pixels; by default what EXIF data
                says, else that of the training, or 60 degrees where that is not known. It changes the points, and
                depth only with `rescale_focal`.
            rescale_focal: Correct depth for another lens than that of the training, see `TrainingCamera.factor`.
                Without it there is a warning where that would change depth by over 5 %.
                A camera that can hardly be meant (see `Intrinsics.doubt`) is warned of, too.

        Returns:
            One depth map, or a list with one for each of several images.

        Raises:
            SpaceClipError: An image cannot be read, the camera is impossible, or not known where depth is to be
                rescaled, or memory ran out.
        """
        one = isinstance(images, str | np.ndarray) or not isinstance(images, Iterable)
        several: Any = [images] if one else images
        given = list(several)
        found = []
        for start in range(0, len(given), self.batch_size):
            pictures = [as_picture(image) for image in given[start : start + self.batch_size]]
            prepared = np.stack([self.prepare(picture) for picture in pictures])
            for picture, depth in zip(pictures, self.decode(prepared, flip_average=flip_average), strict=True):
                taken_with = camera_of(picture, camera, self.training_camera)
                factor = self.rescaling(taken_with) if rescale_focal else 1.0
                found.append(self.depth_map(np.asarray(picture), depth, taken_with, factor))
        cameras = [one.camera for one in found]
        unlike = "" if rescale_focal else said_of_unlike(cameras, self.training_camera)
        for text in filter(None, (unlike, *said_of_doubtful(cameras))):
            warnings.warn(text, stacklevel=2)
        return found[0] if one else found

    def prepare(self, picture: Image.Image) -> NDArray[np.uint8]:
        """What the encoder sees of a picture: [S, S, 3] uint8."""
        return prepare_image(picture, self.target_size, self.backbone.input_size)

    @torch.inference_mode()
    def decode(self, prepared: NDArray[np.uint8], *, flip_average: bool = False) -> Tensor:
        """Depth [B, h, w] in metres at the decoder's own size, float32 on the CPU.

        Args:
            prepared: [B, S, S, 3] uint8, see `prepare`.
            flip_average: Average with what the mirrored images give.

        Raises:
            SpaceClipError: Memory ran out, or some depth is NaN or infinite.
        """
        with out_of_memory(f"lower batch_size (now {self.batch_size})"):
            pixels = torch.from_numpy(prepared).permute(0, 3, 1, 2)
            depth = self._decode(pixels)
            if flip_average:
                depth = (depth + self._decode(pixels.flip(-1)).flip(-1)) / 2
            depth = depth[:, 0].cpu()
        if not depth.isfinite().all():
            raise SpaceClipError(f"{self.path}: gives no number as depth; take another checkpoint, or train it again")
        return depth

    def _decode(self, pixels: Tensor) -> Tensor:
        return self.decode_features(self.backbone.encode(pixels, self.decoder.settings.layers))

    @torch.inference_mode()
    def decode_features(self, features: Features) -> Tensor:
        """Depth [B, 1, h, w] in metres at the decoder's own size from the features of its encoder, on its device."""
        with autocast(self._precision, self.device):
            return self._inference(features.states, features.pooled)

    @cached_property
    def _inference(self) -> InferenceDecoder:
        return for_inference(self.decoder, self._precision)

    def depth_map(
        self, image: NDArray[np.uint8], depth: Tensor, camera: Intrinsics | None = None, factor: float = 1.0
    ) -> DepthMap:
        """A decoded map [h, w] at the size of its image [H, W, 3], times a factor."""
        low, high = self.depth_range
        rescaled = {} if factor == 1 else {"Focal-Rescaled": f"times {factor:.4f}"}
        return DepthMap(
            depth=resize(depth[None, None] * factor, (image.shape[0], image.shape[1]))[0, 0].numpy(),
            image=image,
            depth_range=(low * factor, high * factor),
            intrinsics=camera,
            factor=factor,
            facts=self.facts | rescaled,
        )

    @property
    def taught_by(self) -> str:
        """The data sets of its training in words, and the range of depths: of other scenes depth is worth less."""
        names = dict.fromkeys(DATA_IN_WORDS.get(store.get("data", ""), UNRECORDED) for store in self.info.stores)
        return f"{' and '.join(names) or UNRECORDED}, {self.info.min_depth:g} to {self.info.max_depth:g} m"

    @property
    def training_camera(self) -> TrainingCamera | None:
        """The camera of its training images; None where their stores do not say it."""
        return TrainingCamera.of([store["camera"] for store in self.info.stores if "camera" in store])

    def rescaling(self, camera: Intrinsics) -> float:
        """What depth is to be multiplied by for images of a camera, see `TrainingCamera.factor`.

        Raises:
            SpaceClipError: It is a guess, or the camera of the training is not known.
        """
        if self.training_camera is None:
            raise SpaceClipError(
                f"{self.path}: does not say which camera its training images are of, so that depth cannot be rescaled; "
                "extract with a list that has focal lengths, and train again"
            )
        if camera.is_guess:
            raise SpaceClipError("its camera is not known, so that depth cannot be rescaled; say it by --fov-x or --fx")
        return self.training_camera.factor(camera)

    @property
    def facts(self) -> dict[str, str]:
        """What a file should say of the model that made it."""
        encoder = self.info.backbone
        return {
            "Software": "SpaceCLIP",
            "Checkpoint": self.info.sha256,
            "Encoder": printable(f"{encoder['name']}, {encoder['revision']}"),
            "Trained-Range": f"{self.info.min_depth:g} to {self.info.max_depth:g} metres",
        }

    def __repr__(self) -> str:
        info, metrics = self.info, self.info.metrics
        weights = sum(weight.numel() for weight in self.decoder.parameters())
        score = f"validation AbsRel {metrics['abs_rel']:.3f}" if "abs_rel" in metrics else "not validated"
        return (
            f"SpaceClip: {info.backbone['name']} + decoder of {weights / 1e6:.1f} M parameters on {self.device}\n"
            f"{self.path}: trained on {self.taught_by}, epoch {info.epoch} ({info.weights}), {score}"
        )


def as_picture(image: AnyImage) -> Image.Image:
    """An image as a picture of mode RGB, upright.

    Raises:
        SpaceClipError: It is none, or cannot be read.
    """
    if isinstance(image, str | Path):
        return read_image(Path(image), upright=True)
    if isinstance(image, Image.Image | np.ndarray):
        return as_rgb(image)
    raise SpaceClipError(
        f"an image is of type {type(image).__name__}: expected a path, a PIL picture or a numpy array [H, W, 3]"
    )
