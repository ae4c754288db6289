"""Everything learned: the decoder, its losses, the training run and its checkpoints."""

from .blocks import resize
from .callbacks import Callbacks
from .checkpoint import INFO, WEIGHTS, Checkpoint, CheckpointInfo, StoreFacts, load_checkpoint, save_checkpoint
from .decoder import DecoderSettings, DepthDecoder, DepthPrediction
from .engine import Candidate, Plan, fit
from .feed import Inputs, allocator, feed
from .history import HISTORY, Epoch, range_warning, read_history
from .inference import InferenceDecoder, for_inference
from .losses import LossSettings, silog_loss, ssim_loss
from .memory import loaded_bytes, state_bytes
from .precision import autocast, resolve_precision
from .recipe import Seed, TrainSettings
from .release import load_release_checkpoint
from .run import Run
from .side_by_side import HELD, SideBySide, at_once, side_by_side
from .start import StartSettings, shared_weights

__all__ = [
    "HELD",
    "HISTORY",
    "INFO",
    "WEIGHTS",
    "Callbacks",
    "Candidate",
    "Checkpoint",
    "CheckpointInfo",
    "DecoderSettings",
    "DepthDecoder",
    "DepthPrediction",
    "Epoch",
    "InferenceDecoder",
    "Inputs",
    "LossSettings",
    "Plan",
    "Run",
    "Seed",
    "SideBySide",
    "StartSettings",
    "StoreFacts",
    "TrainSettings",
    "allocator",
    "at_once",
    "autocast",
    "feed",
    "fit",
    "for_inference",
    "load_checkpoint",
    "load_release_checkpoint",
    "loaded_bytes",
    "range_warning",
    "read_history",
    "resize",
    "resolve_precision",
    "save_checkpoint",
    "shared_weights",
    "side_by_side",
    "silog_loss",
    "ssim_loss",
    "state_bytes",
]
