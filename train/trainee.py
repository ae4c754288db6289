"""A decoder in training, with its optimiser, average, schedule and random stream."""

from collections.abc import Mapping
from dataclasses import asdict, replace

import torch
from torch import Tensor

from ..cache import SpaceClipError
from .blocks import Dropout
from .decoder import DecoderSettings, DepthDecoder
from .ema import EMA
from .feed import Inputs
from .history import Epoch
from .recipe import TrainSettings
from .schedule import learning_rate
from .start import initial_decoder
from .state import Progress
from .step import StepLosses, TrainingStep

_NEXT_SEED = 1000
_MOST_RESTARTS = 3
_CALM = "lower learning_rate, or set precision to float32"


class Trainee:
    """One decoder; it draws nothing from PyTorch's global random stream, so that others may be trained beside it.

    Args:
        decoder: The network.
        settings: The recipe.
        device: Where to train.
        steps: Steps of an epoch.
        saved: Where it goes on from.

    Attributes:
        done: Steps done.
    """

    def __init__(
        self, decoder: DecoderSettings, settings: TrainSettings, device: torch.device, steps: int, saved: Progress
    ) -> None:
        self.settings, self._steps, self._saved = settings, steps, saved
        self._seed = settings.seed + _NEXT_SEED * len(saved.collapsed)
        self.decoder = initial_decoder(decoder, settings.start, self._seed).to(device)
        self.average = EMA(self.decoder, settings.ema_decay, warmup=settings.ema_warmup)
        self._draw = torch.Generator(device).manual_seed(self._seed)
        for module in self.decoder.modules():
            if isinstance(module, Dropout):
                module.generator = self._draw
        self._step = TrainingStep(self.decoder, settings, self._draw)
        self._tally = _Tally(device)
        self.done = saved.steps
        self._restore(saved.tensors)

    @property
    def finished(self) -> bool:
        """Whether all its epochs are done."""
        return self.done == self.settings.epochs * self._steps

    def step(self, inputs: Inputs) -> None:
        """Learn from a batch. Nothing is read from the device."""
        if self.done % self._steps == 0:
            self.decoder.train()
            self._tally.clear()
        settings = self.settings
        total = settings.epochs * self._steps
        rate = learning_rate(self.done, total, settings.learning_rate, settings.min_learning_rate, settings.warmup)
        valid = (inputs.depth > settings.min_depth) & (inputs.depth < settings.max_depth)
        losses = self._step(inputs.states, inputs.pooled, inputs.depth, valid, rate)
        self._tally.add(losses, inputs.depth)
        self.average.update(self.decoder, self.done)
        self.done += 1

    def check(self) -> None:
        """See how it does, which waits for the device.

        Raises:
            SpaceClipError: So many steps in a row were skipped that the run is lost.
        """
        if self._tally.most_skipped() >= self.settings.max_skipped:
            epoch, step = divmod(self.done - 1, self._steps)
            raise SpaceClipError(
                f"the loss was not finite for {self.settings.max_skipped} steps in a row "
                f"(epoch {epoch + 1}, by step {step + 1}): {_CALM}"
            )

    def end_epoch(self) -> Epoch:
        """The epoch that has just ended, not yet scored.

        Raises:
            SpaceClipError: Nothing was learned in it.
        """
        self.check()
        settings, epoch = self.settings, self.done // self._steps
        found = self._tally.means(self._steps)
        if not found["valid"]:
            raise SpaceClipError(
                f"no pixel of epoch {epoch} has a depth between min_depth and max_depth "
                f"({settings.min_depth:g} to {settings.max_depth:g} m), so nothing was learned: set them to the range "
                "of the data"
            )
        if not found.pop("learned"):
            raise SpaceClipError(
                f"the loss was not finite in any step of epoch {epoch} that had a valid pixel: {_CALM}"
            )
        return Epoch(epoch=epoch, restarts=len(self._saved.collapsed), **found)  # pyright: ignore[reportArgumentType]

    def started_again(self, epoch: Epoch) -> Progress:
        """What it begins anew from, with the next initialisation, after an epoch in which it collapsed.

        Raises:
            SpaceClipError: The settings want it to end here, or it has begun anew too often.
        """
        collapsed = [*self._saved.collapsed, {"seed": self._seed, **asdict(epoch)}]
        if self.settings.collapse == "stop" or len(collapsed) > _MOST_RESTARTS:
            seeds = ", ".join(str(start["seed"]) for start in collapsed)
            raise SpaceClipError(
                f"collapsed in epoch {epoch.epoch} ({epoch.collapse}; seed {seeds}): lower learning_rate, give another "
                "seed, or set decoder.head_bias to a depth of the data"
            )
        return Progress(collapsed=collapsed)

    def keep(self, epoch: Epoch, metrics: Mapping[str, Mapping[str, float]]) -> Epoch:
        """Note an epoch, and keep the weights that the settings ask for.

        Args:
            epoch: What `end_epoch` gave.
            metrics: On validation, of the `raw` and the `ema` weights; empty without a validation split.
        """
        saved = self._saved
        for kind, model in self.models.items():
            if self.settings.keep == "last":
                better = kind == "ema"
            else:
                better = saved.best is None or metrics[kind]["abs_rel"] < saved.best["metrics"]["abs_rel"]
            if better:
                saved.best = {"weights": kind, "epoch": epoch.epoch, "metrics": dict(metrics[kind])}
                saved.kept = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        epoch = replace(epoch, **{f"val_{kind}": found.get("abs_rel") for kind, found in metrics.items()})
        saved.history.append(asdict(epoch))
        return epoch

    @property
    def models(self) -> dict[str, DepthDecoder]:
        """The decoder and its average."""
        return {"raw": self.decoder, "ema": self.average.model}

    def progress(self) -> Progress:
        """All that it goes on from, as of now."""
        self._saved.steps, self._saved.tensors = self.done, self._tensors()
        return self._saved

    def _tensors(self) -> dict[str, Tensor]:
        found = {f"decoder.{name}": tensor for name, tensor in self.decoder.state_dict().items()}
        found |= {f"average.{name}": tensor for name, tensor in self.average.model.state_dict().items()}
        for number, moments in self._step.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        return found | {"run.random": self._draw.get_state(), "run.tally": self._tally.values}

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        if not tensors:
            return
        parts: dict[str, dict[str, Tensor]] = {"decoder": {}, "average": {}, "optimizer": {}, "run": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.decoder.load_state_dict(parts["decoder"])
        self.average.model.load_state_dict(parts["average"])
        self._draw.set_state(parts["run"]["random"])
        self._tally.values.copy_(parts["run"]["tally"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            number, _, moment = name.partition(".")
            # AdamW's fused kernel walks a parameter and its moments in step: they must share one memory format.
            like = self._step.parameters[int(number)]
            same = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
            moments.setdefault(int(number), {})[moment] = same
        optimizer = self._step.optimizer
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


class _Tally:
    """Sums over the steps of an epoch, kept on the device.

    Attributes:
        values: [12] float64, or float32 where the device has no such: see `_NAMES`.
    """

    _LOSSES = ("loss", "silog", "ssim", "head_gradient")
    _SHARES = ("valid", "zero", "measured", "depth")
    _NAMES = (*_LOSSES, *_SHARES, "finite", "learned", "in_a_row", "most_in_a_row")

    def __init__(self, device: torch.device) -> None:
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.values = torch.zeros(len(self._NAMES), dtype=dtype, device=device)

    def clear(self) -> None:
        """Begin with an epoch; steps that were skipped in a row stay so."""
        self.values[:-2].zero_()

    def add(self, losses: StepLosses, depth: Tensor) -> None:
        """Add a step's; its losses count where it was taken."""
        finite = losses.total.isfinite()
        terms = torch.stack([losses.total, losses.silog, losses.ssim, losses.head_gradient]).where(finite, 0.0)
        shares = torch.stack([losses.valid, losses.zero, (depth > 0).float().mean(), depth.mean()])
        counts = torch.stack([finite, finite & (losses.valid > 0)])
        self.values[:-2] += torch.cat([terms, shares, counts])
        self.values[-2] = torch.where(finite, 0.0, self.values[-2] + 1)
        self.values[-1] = torch.maximum(self.values[-1], self.values[-2])

    def most_skipped(self) -> int:
        """Steps that were ever skipped in a row."""
        return int(self.values[-1])

    def means(self, steps: int) -> dict[str, float]:
        """Mean losses over the steps taken, mean shares over all; steps skipped, and those that taught something."""
        found = dict(zip(self._NAMES, self.values.tolist(), strict=True))
        valid, zero, measured, depth = (found[name] / steps for name in self._SHARES)
        losses = {name: found[name] / max(found["finite"], 1) for name in self._LOSSES}
        shares = {"valid": valid, "measured": measured, "mean_depth": depth / max(measured, 1e-30)}
        skipped = steps - int(found["finite"])
        return {**losses, **shares, "zero": zero / (valid or 1), "skipped": skipped, "learned": found["learned"]}
