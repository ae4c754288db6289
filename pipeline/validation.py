"""Validation of decoders in training, and what is seen of it: their scores and a figure of each."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from ..cache import Features, SpaceClipError, write_atomically
from ..evaluate import BackboneFacts, Protocol, shown_rows, validate, validation_figure
from ..train import Candidate

FIGURE = "validation.png"


def validation_scores(validation: Features, candidates: Sequence[Candidate]) -> list[dict[str, float] | SpaceClipError]:
    """The `score` of `fit` on a validation store: each decoder by its plan's protocol and precision.

    Some of the predictions of each plan are drawn into its folder: those of its raw or its EMA weights, whichever score
    better.
    """
    scored = [(model, Protocol.model_validate(plan.protocol), plan.settings.precision) for model, plan in candidates]
    wanted = [set(shown_rows(validation, plan.settings.figures)) for _, plan in candidates]
    depths = [dict[int, Tensor]() for _ in candidates]

    def seen(number: int, row: int, depth: Tensor) -> None:
        if row in wanted[number]:
            depths[number][row] = depth.clone()

    found = validate(scored, validation, seen=seen)
    by_plan: dict[Path, list[int]] = {}
    for number, (_, plan) in enumerate(candidates):
        by_plan.setdefault(plan.out, []).append(number)
    for out, numbers in by_plan.items():
        errors = {number: scores["abs_rel"] for number in numbers if isinstance(scores := found[number], dict)}
        if errors and depths[best := min(errors, key=errors.__getitem__)]:
            kind = ("raw", "EMA")[numbers.index(best)]
            encoder = BackboneFacts.of(validation.identity["backbone"]).label
            caption = (
                f"Latest epoch, {kind} weights: AbsRel {errors[best]:.4f} over {len(validation.usable)} validation "
                f"images\n{scored[best][1].label}\nencoder {encoder}"
            )
            if drawn := validation_figure(validation, depths[best], scored[best][1], caption):
                # A disk that is full ends the run when its state is written, which says what to do.
                with suppress(OSError):
                    write_atomically(out / FIGURE, drawn)
    return found
