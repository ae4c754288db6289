"""The training run: epochs over the store, choice of weights on validation, a checkpoint at the end."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from ..cache import Batches, FeatureCache, SpaceClipError, write_atomically
from .checkpoint import CheckpointInfo, save_checkpoint
from .decoder import DecoderSettings, DepthDecoder
from .ema import EMA
from .feed import allocator, feed
from .losses import LossSettings
from .schedule import learning_rate
from .state import Progress, StateFolder
from .step import TrainingStep

HISTORY = "history.csv"


class TrainSettings(BaseModel):
    """The recipe (arXiv 2601.17657, section IV); depths in metres.

    Attributes:
        epochs: Passes over the training features.
        batch_size: Images in a step; the last incomplete batch of an epoch is dropped.
        learning_rate: Highest rate of AdamW.
        min_learning_rate: Rate at the end of the cosine.
        warmup: Share of all steps with a rising rate.
        weight_decay: Of AdamW, on all parameters.
        clip_norm: Largest norm of the gradient.
        ema_decay: Of the moving average of all weights, every step.
        flip_probability: How often the flipped view is trained on.
        min_depth: Depths that count lie strictly above.
        max_depth: Depths that count lie strictly below.
        precision: Of the decoder's arithmetic: `auto`, `float32`, `bfloat16` or `float16`; losses are float32.
        seed: Of the initial weights, the order, the flips and the dropout.
        max_skipped: Steps with a non-finite loss in a row that end the run.
        loss: Weights of the loss terms.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: PositiveInt = 20
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 1e-4
    min_learning_rate: NonNegativeFloat = 1e-6
    warmup: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: NonNegativeFloat = 0.01
    clip_norm: PositiveFloat = 1.0
    ema_decay: float = Field(default=0.996, ge=0, lt=1)
    flip_probability: float = Field(default=0.5, ge=0, le=1)
    min_depth: PositiveFloat = 0.001
    max_depth: PositiveFloat = 80.0
    precision: str = "auto"
    seed: int = 42
    max_skipped: PositiveInt = 20
    loss: LossSettings = LossSettings()


@dataclass(frozen=True)
class Epoch:
    """One epoch in numbers.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean total loss of its steps.
        silog: Mean SILog loss.
        ssim: Mean SSIM loss.
        skipped: Steps skipped for a non-finite loss.
        val_raw: Validation AbsRel of the raw weights.
        val_ema: Validation AbsRel of their moving average.
    """

    epoch: int
    loss: float
    silog: float
    ssim: float
    skipped: int
    val_raw: float
    val_ema: float

    def __str__(self) -> str:
        skipped = f", {self.skipped} steps skipped" if self.skipped else ""
        return (
            f"epoch {self.epoch}: loss {self.loss:.4f} (SILog {self.silog:.4f}, SSIM {self.ssim:.4f}{skipped}), "
            f"validation AbsRel {self.val_raw:.4f} raw, {self.val_ema:.4f} EMA"
        )


Score = Callable[[DepthDecoder], dict[str, float]]


def fit(
    cache: FeatureCache,
    decoder_settings: DecoderSettings,
    settings: TrainSettings,
    out: Path,
    *,
    score: Score,
    protocol: Mapping[str, Any],
    device: torch.device,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    each_epoch: Callable[[Epoch], None] = lambda _epoch: None,
) -> CheckpointInfo:
    """Train a decoder, or finish an interrupted run of the same settings, features and code.

    Args:
        cache: Training features with depth.
        decoder_settings: The network.
        settings: The recipe.
        out: Folder of `checkpoint.safetensors`, `checkpoint.json` and `history.csv`.
        score: Validation metrics of a decoder; the lowest `abs_rel` of raw and EMA weights so far is kept.
        protocol: What `score` measures, for the record.
        device: Where to train.
        progress: Called with (steps done, steps in all).
        each_epoch: Called after each epoch.

    Raises:
        SpaceClipError: The features do not fit the settings, or the loss stays non-finite.
    """
    batches = Batches(
        cache,
        settings.batch_size,
        decoder_settings.layers,
        seed=settings.seed,
        flip_probability=settings.flip_probability,
        allocate=allocator(device),
    )
    state = StateFolder(out, _identity(cache, decoder_settings, settings, protocol, device))
    run = _Run(decoder_settings, settings, device, len(batches))
    saved = state.load()
    run.restore(saved)
    for row in saved.history:
        each_epoch(Epoch(**row))  # pyright: ignore[reportArgumentType]
    while saved.epoch < settings.epochs:
        done = saved.epoch
        progress(done * len(batches), settings.epochs * len(batches))
        losses = run.epoch(batches, done, progress)
        epoch = Epoch(done + 1, **losses, **run.choose(score, saved, done + 1))
        saved.epoch, saved.tensors = done + 1, run.tensors()
        saved.history.append(asdict(epoch))
        state.save(saved)
        each_epoch(epoch)
    info = _info(cache, decoder_settings, settings, protocol, saved)
    write_atomically(out / HISTORY, _csv(saved.history))
    save_checkpoint(out, saved.kept, info)
    state.remove()
    return info


class _Run:
    """Decoder, moving average and step of a run, and what an epoch does with them."""

    def __init__(self, decoder: DecoderSettings, settings: TrainSettings, device: torch.device, steps: int) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.device, self.steps = settings, device, steps
        self.decoder = DepthDecoder(decoder).to(device)
        self.average = EMA(self.decoder, settings.ema_decay)
        self.step = TrainingStep(self.decoder, settings)

    def epoch(self, batches: Batches, number: int, progress: Callable[[int, int], None]) -> dict[str, float]:
        """Train for one epoch; returns mean losses and the number of skipped steps."""
        settings = self.settings
        total = settings.epochs * self.steps
        sums = torch.zeros(3, dtype=torch.float64)
        skipped = in_a_row = 0
        # A resumed run must draw the same dropout: each epoch has its own seed.
        torch.manual_seed(settings.seed * 100_003 + number)
        self.decoder.train()
        for at, inputs in enumerate(feed(batches.epoch(number), self.device)):
            done = number * self.steps + at
            rate = learning_rate(
                done, total, settings.learning_rate, settings.min_learning_rate, settings.warmup
            )
            valid = (inputs.depth > settings.min_depth) & (inputs.depth < settings.max_depth)
            losses = self.step(inputs.states, inputs.pooled, inputs.depth, valid, rate)
            values = torch.stack([losses.total.detach(), losses.silog, losses.ssim]).double().cpu()
            if values[0].isfinite():
                sums, in_a_row = sums + values, 0
            else:
                skipped, in_a_row = skipped + 1, in_a_row + 1
            if in_a_row == settings.max_skipped:
                raise SpaceClipError(
                    f"the loss was not finite for {in_a_row} steps in a row (epoch {number + 1}, step {at + 1}): "
                    "lower learning_rate, or set precision to float32"
                )
            self.average.update(self.decoder)
            progress(done + 1, total)
        loss, silog, ssim = (sums / max(self.steps - skipped, 1)).tolist()
        return {"loss": loss, "silog": silog, "ssim": ssim, "skipped": skipped}

    def choose(self, score: Score, saved: Progress, epoch: int) -> dict[str, float]:
        """Score raw and EMA weights; keep the better of them if it is the best so far."""
        found = {}
        for kind, model in (("raw", self.decoder), ("ema", self.average.model)):
            metrics = score(model)
            found[f"val_{kind}"] = metrics["abs_rel"]
            if saved.best is None or metrics["abs_rel"] < saved.best["metrics"]["abs_rel"]:
                saved.best = {"weights": kind, "epoch": epoch, "metrics": metrics}
                saved.kept = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        return found
