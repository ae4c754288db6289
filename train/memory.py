"""What training holds in memory, as far as it is known exactly before it begins: all but the activations of a step."""

from collections.abc import Sequence

import torch

from ..cache import Features
from .decoder import DecoderSettings, DepthDecoder
from .reading import training_batches
from .recipe import TrainSettings
from .resident import needed_bytes, residence


def state_bytes(settings: DecoderSettings) -> int:
    """Of a decoder in training: weights, gradients, AdamW's two moments, the average, and buffers with their copies.

    An auxiliary head whose loss has no weight has no gradient and no moments, and takes less.
    """
    with torch.device("meta"):
        decoder = DepthDecoder(settings)
    weights, buffers = (sum(one.nbytes for one in some) for some in (decoder.parameters(), decoder.buffers()))
    return 5 * weights + 3 * buffers


def loaded_bytes(features: Features, layers: Sequence[int], settings: TrainSettings, device: torch.device) -> int:
    """Of training features that are loaded once; 0 where they are read from the stores in each epoch.

    Raises:
        SpaceClipError: They are to be loaded and do not fit, or do not fit the recipe.
    """
    batches = training_batches(features, layers, settings, device)
    return 0 if residence(batches, device, settings.resident) == "no" else needed_bytes(batches)
