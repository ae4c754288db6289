"""Validation of decoders in training, and what is seen of it: their scores and a figure of each."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from ..cache import Features, SpaceClipError, write_atomically
from ..evaluate import BackboneFacts, KeptDepths, Protocol, image_free_depths, shown_rows, validate, validation_figure
from ..train import Candidate

FIGURE = "validation.png"

_QUICK = 1000
"""Training images of which predictions without an image are made in some seconds."""


class ValidationScores:
    """The `score` of `fit`: each decoder by its plan's protocol and precision.

    Some of the predictions of each plan are drawn into its folder: those of its raw or its EMA weights, whichever score
    better.

    Args:
        training: What predictions without an image are made of, to be set beside those of the decoders.
        validation: What is scored on.
    """

    def __init__(self, training: Features, validation: Features) -> None:
        self._training, self._validation = training, validation
        self._image_free: dict[str, str] = {}

    def __call__(self, candidates: Sequence[Candidate]) -> list[dict[str, float] | SpaceClipError]:
        """Score decoders and draw what they predict."""
        protocols = [Protocol.model_validate(one.plan.protocol) for one in candidates]
        scored = [
            (one.decoder, protocol, one.plan.settings.precision)
            for one, protocol in zip(candidates, protocols, strict=True)
        ]
        wanted = [set(shown_rows(self._validation, one.plan.settings.figures)) for one in candidates]
        depths = [dict[int, Tensor]() for _ in candidates]
        drawn = {protocol.label: protocol for protocol, rows in zip(protocols, wanted, strict=True) if rows}
        new = [protocol for label, protocol in drawn.items() if label not in self._image_free]
        made = {protocol: _image_free(self._training, protocol, most=_QUICK) for protocol in new}
        image_free = [(protocol, name, depth) for protocol in new for name, depth in made[protocol].items()]

        def seen(number: int, row: int, depth: Tensor) -> None:
            if number < len(wanted) and row in wanted[number]:
                depths[number][row] = depth.clone()

        others = [(depth, protocol, "float32") for protocol, _, depth in image_free]
        found = validate([*scored, *others], self._validation, seen=seen)
        self._note(new, image_free, found[len(scored) :])
        by_plan: dict[Path, list[int]] = {}
        for number, one in enumerate(candidates):
            by_plan.setdefault(one.plan.out, []).append(number)
        for numbers in by_plan.values():
            errors = {number: scores["abs_rel"] for number in numbers if isinstance(scores := found[number], dict)}
            if errors and depths[best := min(errors, key=errors.__getitem__)]:
                self._draw(candidates[best], protocols[best], errors[best], depths[best])
        return found[: len(scored)]

    def _note(
        self,
        protocols: Sequence[Protocol],
        made: Sequence[tuple[Protocol, str, Tensor]],
        found: Sequence[Mapping[str, float] | SpaceClipError],
    ) -> None:
        """Keep the strongest prediction without an image, as it will be said."""
        for protocol in protocols:
            errors = {
                name: scores["abs_rel"]
                for (of, name, _), scores in zip(made, found, strict=True)
                if of == protocol and not isinstance(scores, SpaceClipError)
            }
            best = min(errors, key=errors.__getitem__, default="")
            self._image_free[protocol.label] = f"; best without an image ({best}): {errors[best]:.4f}" if best else ""

    def _draw(self, candidate: Candidate, protocol: Protocol, error: float, depths: Mapping[int, Tensor]) -> None:
        weights = {"raw": "raw", "ema": "EMA"}[candidate.weights]
        caption = (
            f"Epoch {candidate.epoch}, {weights} weights: AbsRel {error:.4f} over {len(self._validation.usable)} "
            f"validation images{self._image_free[protocol.label]}\n{protocol.label}\n"
            f"encoder {BackboneFacts.of(self._validation.identity['backbone']).label}"
        )
        if drawn := validation_figure(self._validation, depths, protocol, caption):
            # A disk that is full ends the run when its state is written, which says what to do.
            with suppress(OSError):
                write_atomically(candidate.plan.out / FIGURE, drawn)


def score_without_image(training: Features, validation: Features, protocol: Protocol) -> dict[str, dict[str, float]]:
    """Validation scores of predictions that know no image, by name; none without training depth in the range.

    Args:
        training: What they are made of, unless that is kept beside it.
        validation: What is scored on.
        protocol: How.
    """
    made = _image_free(training, protocol)
    found = validate([(depth, protocol, "float32") for depth in made.values()], validation)
    return {name: scores for name, scores in zip(made, found, strict=True) if not isinstance(scores, SpaceClipError)}


def _image_free(training: Features, protocol: Protocol, most: int | None = None) -> dict[str, Tensor]:
    """Predictions without an image, kept or made; none of more training images than `most`."""
    folder, found = training.stores[0].path.parent, None
    kept = KeptDepths(folder, training, protocol.depth_range) if isinstance(folder, Path) else None
    if kept:
        found = kept.read()
    if found is None and (most is None or len(training) <= most):
        with suppress(SpaceClipError):  # no training depth in that range
            found = image_free_depths(training, *protocol.depth_range)
            if kept:
                kept.write(found)
    return {name: torch.from_numpy(depth) for name, depth in (found or {}).items()}
