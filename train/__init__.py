"""Everything learned: the decoder, its losses, the training run and its checkpoints."""

from .checkpoint import Checkpoint, CheckpointInfo, load_checkpoint, save_checkpoint
from .decoder import DecoderSettings, DepthDecoder, DepthPrediction
from .loop import Epoch, fit
from .losses import LossSettings, silog_loss, ssim_loss
from .recipe import TrainSettings
from .release import load_release_checkpoint

__all__ = [
    "Checkpoint",
    "CheckpointInfo",
    "DecoderSettings",
    "DepthDecoder",
    "DepthPrediction",
    "Epoch",
    "LossSettings",
    "TrainSettings",
    "fit",
    "load_checkpoint",
    "load_release_checkpoint",
    "save_checkpoint",
    "silog_loss",
    "ssim_loss",
]
