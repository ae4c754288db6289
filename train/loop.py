"""The training run: epochs over the store, choice of weights on validation, a checkpoint at the end."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..cache import Batches, FeatureCache, SpaceClipError, is_begun, only_writer, out_of_memory, write_atomically
from .checkpoint import INFO, WEIGHTS, CheckpointInfo, load_checkpoint, save_checkpoint, store_facts
from .decoder import DecoderSettings, DepthDecoder
from .ema import EMA
from .feed import allocator, feed
from .history import HISTORY, Epoch, history_csv
from .recipe import TrainSettings
from .schedule import learning_rate
from .state import Progress, StateFolder
from .step import TrainingStep

_CALM = "lower learning_rate, or set precision to float32"

Score = Callable[[DepthDecoder], dict[str, float]]


def fit(
    cache: FeatureCache,
    decoder_settings: DecoderSettings,
    settings: TrainSettings,
    out: Path,
    *,
    score: Score | None,
    protocol: Mapping[str, Any],
    device: torch.device,
    validation: FeatureCache | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    each_epoch: Callable[[Epoch], None] = lambda _epoch: None,
) -> CheckpointInfo:
    """Train a decoder, or finish an interrupted run of the same settings, features and code.

    A finished checkpoint of the same settings and stores is returned as it is, and no epoch is reported.

    Args:
        cache: Training features with depth.
        decoder_settings: The network.
        settings: The recipe.
        out: Folder of `checkpoint.safetensors`, `checkpoint.json` and `history.csv`.
        score: Validation metrics of a decoder, by whose `abs_rel` the best weights are chosen; None without validation.
        protocol: What `score` measures, for the record.
        device: Where to train.
        validation: The store that `score` reads, for the record.
        force: Replace a finished checkpoint; it stays until this one is finished.
        progress: Called with (steps done, steps in all).
        each_epoch: Called after each epoch.

    Raises:
        SpaceClipError: The features do not fit the settings, the best weights are wanted and there is nothing to choose
            them by, no pixel counts, the loss stays non-finite, memory runs out; or the folder holds a finished
            checkpoint of other settings or stores, is written by another run, holds a damaged state or checkpoint, or
            cannot be written to.
    """
    if score is None and settings.keep == "best":
        raise SpaceClipError(
            "there is no validation split to choose the best weights by: hold scenes out (data.split.val), "
            "or set train.keep to last"
        )
    identity = {
        "store": cache.digest,
        "validation": None if validation is None else validation.digest,
        "decoder": decoder_settings.model_dump(),
        "training": settings.model_dump(),
        "protocol": dict(protocol),
        "device": device.type,
    }
    state = StateFolder(out, identity)
    describe = partial(_info, cache, validation, decoder_settings, settings, protocol)
    # The lock's file lies in the folder, so that one that cannot be written to is found before the first step.
    with (
        only_writer(out / "checkpoint", "checkpoint"),
        out_of_memory(f"lower batch_size, which is {settings.batch_size}"),
    ):
        for file in out.iterdir():
            # Left by a killed run; others may be writing results of other names into this folder.
            if is_begun(file.name) and file.name[1:].startswith((WEIGHTS, INFO, HISTORY)):
                file.unlink()
        saved = state.load()
        if (out / INFO).exists() and not force and saved.epoch < settings.epochs:
            return _finished(out, describe)
        batches = Batches(
            cache,
            settings.batch_size,
            decoder_settings.layers,
            seed=settings.seed,
            flip_probability=settings.flip_probability,
            allocate=allocator(device),
        )
        run = _Run(decoder_settings, settings, device, len(batches))
        run.restore(saved.tensors)
        for row in saved.history:
            each_epoch(Epoch.of(row))
        while saved.epoch < settings.epochs:
            epoch = run.advance(batches, score, saved, progress)
            state.save(saved)
            each_epoch(epoch)
        assert saved.best is not None
        info = describe(saved.best)
        write_atomically(out / HISTORY, history_csv(saved.history))
        save_checkpoint(out, saved.kept, info)
        state.remove()
    return info


class _Run:
    """Decoder, moving average and step of a run, and what an epoch does with them."""

    def __init__(self, decoder: DecoderSettings, settings: TrainSettings, device: torch.device, steps: int) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.device, self.steps = settings, device, steps
        self.decoder = DepthDecoder(decoder).to(device)
        self.average = EMA(self.decoder, settings.ema_decay, warmup=settings.ema_warmup)
        self.step = TrainingStep(self.decoder, settings)
        self.skipped_in_a_row = 0

    def advance(
        self, batches: Batches, score: Score | None, saved: Progress, progress: Callable[[int, int], None]
    ) -> Epoch:
        """Train and score for one epoch more than was saved, and add it to that."""
        done = saved.epoch
        progress(done * self.steps, self.settings.epochs * self.steps)
        losses = self.epoch(batches, done, progress)
        epoch = Epoch.of({"epoch": done + 1, **losses, **self.choose(score, saved, done + 1)})
        saved.epoch, saved.tensors = done + 1, self.tensors()
        saved.history.append(asdict(epoch))
        return epoch

    def epoch(self, batches: Batches, number: int, progress: Callable[[int, int], None]) -> dict[str, float]:
        """Train for one epoch; returns mean losses and the number of skipped steps."""
        settings = self.settings
        total = settings.epochs * self.steps
        sums, counted = torch.zeros(3, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
        skipped = learned = 0
        # A resumed run must draw the same dropout: each epoch has its own seed.
        torch.manual_seed(settings.seed * 100_003 + number)
        self.decoder.train()
        for at, inputs in enumerate(feed(batches.epoch(number), self.device)):
            done = number * self.steps + at
            rate = learning_rate(done, total, settings.learning_rate, settings.min_learning_rate, settings.warmup)
            valid = (inputs.depth > settings.min_depth) & (inputs.depth < settings.max_depth)
            losses = self.step(inputs.states, inputs.pooled, inputs.depth, valid, rate)
            shares = (losses.valid, losses.zero, (inputs.depth > 0).float().mean(), inputs.depth.mean())
            values = torch.stack([losses.total.detach(), losses.silog, losses.ssim, *shares]).cpu().double()
            counted += values[3:]
            if values[0].isfinite():
                sums, self.skipped_in_a_row = sums + values[:3], 0
                learned += bool(values[3])
            else:
                skipped, self.skipped_in_a_row = skipped + 1, self.skipped_in_a_row + 1
            if self.skipped_in_a_row == settings.max_skipped:
                raise SpaceClipError(
                    f"the loss was not finite for {settings.max_skipped} steps in a row "
                    f"(epoch {number + 1}, step {at + 1}): {_CALM}"
                )
            self.average.update(self.decoder, done)
            progress(done + 1, total)
        valid, zero, measured, depth = (counted / self.steps).tolist()
        if not valid:
            raise SpaceClipError(
                f"no pixel of epoch {number + 1} has a depth between min_depth and max_depth "
                f"({settings.min_depth:g} to {settings.max_depth:g} m), so nothing was learned: set them to the range "
                "of the data"
            )
        if not learned:
            raise SpaceClipError(
                f"the loss was not finite in any step of epoch {number + 1} that had a valid pixel: {_CALM}"
            )
        loss, silog, ssim = (sums / (self.steps - skipped)).tolist()
        found = {"valid": valid, "measured": measured, "mean_depth": depth / measured, "zero": zero / valid}
        return {"loss": loss, "silog": silog, "ssim": ssim, **found, "skipped": skipped}

    def choose(self, score: Score | None, saved: Progress, epoch: int) -> dict[str, float | None]:
        """Score raw and EMA weights; keep what the settings say."""
        found: dict[str, float | None] = {}
        for kind, model in (("raw", self.decoder), ("ema", self.average.model)):
            metrics = score(model) if score else {}
            found[f"val_{kind}"] = metrics.get("abs_rel")
            if self.settings.keep == "last":
                better = kind == "ema"
            else:
                better = saved.best is None or metrics["abs_rel"] < saved.best["metrics"]["abs_rel"]
            if better:
                saved.best = {"weights": kind, "epoch": epoch, "metrics": metrics}
                saved.kept = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next epoch starts from, by dotted name."""
        found = {f"decoder.{name}": tensor for name, tensor in self.decoder.state_dict().items()}
        found |= {f"average.{name}": tensor for name, tensor in self.average.model.state_dict().items()}
        for number, moments in self.step.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go back to where `tensors` were taken."""
        parts: dict[str, dict[str, Tensor]] = {"decoder": {}, "average": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        if not tensors:
            return
        self.decoder.load_state_dict(parts["decoder"])
        self.average.model.load_state_dict(parts["average"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            number, _, moment = name.partition(".")
            # AdamW's fused kernel walks a parameter and its moments in step: they must share one memory format.
            like = self.step.parameters[int(number)]
            same = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
            moments.setdefault(int(number), {})[moment] = same
        optimizer = self.step.optimizer
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def _finished(out: Path, describe: Callable[[Mapping[str, Any]], CheckpointInfo]) -> CheckpointInfo:
    """The finished checkpoint of a folder, if its record is what `describe` says of this run."""
    try:
        info = load_checkpoint(out).info
    except SpaceClipError as error:
        raise SpaceClipError(f"{error}, with --force") from error
    if info != describe(info.model_dump(include={"weights", "epoch", "metrics", "sha256"})):
        raise SpaceClipError(f"{out} holds a finished checkpoint: give another --out, or --force to replace it")
    return info


def _info(
    cache: FeatureCache,
    validation: FeatureCache | None,
    decoder: DecoderSettings,
    settings: TrainSettings,
    protocol: Mapping[str, Any],
    best: Mapping[str, Any],
) -> CheckpointInfo:
    return CheckpointInfo(
        decoder=decoder,
        backbone=cache.identity["backbone"],
        preprocessing=cache.identity["preprocessing"],
        store=store_facts(cache),
        validation=None if validation is None else store_facts(validation),
        min_depth=settings.min_depth,
        max_depth=settings.max_depth,
        protocol=dict(protocol),
        training=settings.model_dump(mode="json"),
        chosen=settings.keep,
        **best,
    )
