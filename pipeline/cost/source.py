"""The networks that are measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...extract import Backbone, load_backbone, load_recorded_backbone
from ...train import DecoderSettings, DepthDecoder, InferenceDecoder, autocast, for_inference
from ..config import Experiment
from ..device import choose_device
from ..prediction import SpaceClip

_RANDOM = "random:"


@dataclass(frozen=True)
class Variant:
    """What is computed of an image.

    Attributes:
        name: Of the table.
        encoders: Towers that the image goes through, each with weights of its own.
        decodes: Whether the last one's states are decoded.
    """

    name: str
    encoders: int
    decodes: bool


ALONE = Variant("backbone alone", 1, decodes=False)
SHARED = Variant("shared backbone + decoder", 1, decodes=True)
SEPARATE = Variant("separate backbone + decoder", 2, decodes=True)
VARIANTS = (ALONE, SHARED, SEPARATE)


@dataclass(frozen=True)
class Networks:
    """Encoders and a decoder, loaded.

    Attributes:
        encoders: Equal, each with weights of its own.
        decoder: None where it is not needed.
        precision: Of the decoder's arithmetic, as it was asked for.
        weights: Of the decoder as it is trained.
        settings: The decoder's.
    """

    encoders: Sequence[Backbone]
    decoder: InferenceDecoder | None
    precision: str
    weights: int
    settings: DecoderSettings

    @property
    def are_the_authors(self) -> bool:
        """Whether they are of the sizes that the authors measured: CLIP ViT-B/16, and the paper's decoder."""
        encoder, paper = self.encoders[0], DecoderSettings()
        sizes = encoder.depth, encoder.channels, encoder.patches, encoder.input_size
        no_sizes = {"dropout": paper.dropout, "head_bias": paper.head_bias}
        return sizes == (12, 768, 14 * 14, 224) and self.settings.model_copy(update=no_sizes) == paper

    @torch.inference_mode()
    def compute(self, variant: Variant, images: Tensor) -> None:
        """One pass over images [B, 3, S, S] uint8 on the device, until its end."""
        *hosts, last = self.encoders[-variant.encoders :]
        for host in hosts:
            host.encode(images, ())
        decoder = self.decoder if variant.decodes else None
        found = last.encode(images, decoder.layers if decoder else ())
        if decoder:
            with autocast(self.precision, images.device):
                decoder(found.states, found.pooled)
        if images.device.type == "cuda":
            torch.cuda.synchronize(images.device)

    def images(self, batch: int) -> Tensor:
        """A batch of random images."""
        encoder = self.encoders[0]
        shape = (batch, 3, encoder.input_size, encoder.input_size)
        return torch.randint(0, 256, shape, dtype=torch.uint8).to(encoder.device)

    def parameters(self, variant: Variant) -> int:
        """Weights of a variant."""
        tower: Any = self.encoders[0]  # a module in each family of encoders
        each = sum(weight.numel() for weight in tower.model.parameters())
        return variant.encoders * each + variant.decodes * self.weights


@dataclass(frozen=True)
class Source:
    """Where the networks come from; it can be sent to another process.

    Attributes:
        given: A checkpoint's folder or hub id; or an experiment, whose sizes are taken, with random weights.
        device: Where they compute.
        precision: Of the decoder's arithmetic.
        encoder_precision: Of the encoder's, see `BackboneSettings`.
        revision: Of the checkpoint on the hub.
        backbone: Where the encoder is, if not where the checkpoint's record says.
    """

    given: str | Experiment
    device: str = "auto"
    precision: str = "auto"
    encoder_precision: str = "auto"
    revision: str | None = None
    backbone: str | None = None

    def load(self, variant: Variant) -> Networks:
        """What a variant needs.

        Raises:
            SpaceClipError: There is no such checkpoint, encoder, device or precision.
        """
        if isinstance(self.given, Experiment):
            return self._random(self.given, variant)
        model = SpaceClip.from_pretrained(self.given, revision=self.revision, device=self.device)
        record = {**model.info.backbone, "precision": self.encoder_precision}
        encoders = [
            load_recorded_backbone(record, source=self.backbone, device=model.device) for _ in range(variant.encoders)
        ]
        return self._networks(encoders, model.decoder, variant)

    def _random(self, experiment: Experiment, variant: Variant) -> Networks:
        name, seed = experiment.backbone.name.removeprefix(_RANDOM), experiment.backbone.seed
        device = choose_device(self.device)
        encoders = [
            load_backbone(f"{_RANDOM}{name}", seed=seed, precision=self.encoder_precision, device=device)
            for _ in range(variant.encoders)
        ]
        settings = experiment.decoder.for_features(encoders[0].channels)
        encoders[0].check_layers(settings.layers)
        return self._networks(encoders, DepthDecoder(settings).to(device), variant)

    def _networks(self, encoders: Sequence[Backbone], decoder: DepthDecoder, variant: Variant) -> Networks:
        weights = sum(weight.numel() for weight in decoder.parameters())
        needed = for_inference(decoder, self.precision) if variant.decodes else None
        return Networks(encoders, needed, self.precision, weights, decoder.settings)
