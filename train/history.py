"""The history of a run: what each epoch came to."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HISTORY = "history.csv"
_COLLAPSED = 0.5
_WITHIN = 0.5


@dataclass(frozen=True)
class Epoch:
    """One epoch in numbers.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean total loss of its steps.
        silog: Mean SILog loss.
        ssim: Mean SSIM loss.
        valid: Share of the pixels whose depth counts.
        measured: Share of the pixels that have a depth, in the range or not.
        mean_depth: Of those, in metres.
        zero: Share of those that count for which 0 m was predicted.
        head_gradient: Mean norm of the gradient that reached the depth head's weights, before clipping.
        skipped: Steps skipped for a non-finite loss.
        restarts: Earlier starts of the run that collapsed.
        val_raw: Validation AbsRel of the raw weights; None without a validation split.
        val_ema: Likewise of their moving average.
    """

    epoch: int
    loss: float
    silog: float
    ssim: float
    valid: float
    measured: float
    mean_depth: float
    zero: float
    head_gradient: float
    skipped: int
    restarts: int
    val_raw: float | None = None
    val_ema: float | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Epoch":
        """From a row of the history."""
        return cls(**row)

    @property
    def collapsed(self) -> bool:
        """Whether most of the depth is 0 m, where the head's ReLU has no gradient, or none reached the head at all."""
        return self.zero > _COLLAPSED or not self.head_gradient

    @property
    def collapse(self) -> str:
        """The numbers by which a collapse is known."""
        return f"0 m predicted at {self.zero:.0%} of the valid pixels, gradient at the head {self.head_gradient:.2g}"

    def __str__(self) -> str:
        skipped = f", {self.skipped} steps skipped" if self.skipped else ""
        scored = ""
        if self.val_raw is not None and self.val_ema is not None:
            scored = f", validation AbsRel {self.val_raw:.4f} raw, {self.val_ema:.4f} EMA"
        losses = f"loss {self.loss:.4f} (SILog {self.silog:.4f}, SSIM {self.ssim:.4f}{skipped})"
        zero = f", COLLAPSED: {self.collapse}" if self.collapsed else ""
        return f"epoch {self.epoch}: {losses}, {self.valid:.1%} of the pixels valid{zero}{scored}"


def read_history(folder: Path) -> list[Epoch]:
    """The epochs of a run, from its folder; none where it has none."""
    try:
        text = (folder / HISTORY).read_text()
    except FileNotFoundError:
        return []
    return [
        Epoch.of({name: _number(value) for name, value in row.items()}) for row in csv.DictReader(io.StringIO(text))
    ]


def _number(text: str) -> float | None:
    return (int(text) if text.isdigit() else float(text)) if text else None


def range_warning(within: float, mean_depth: float, min_depth: float, max_depth: float) -> str | None:
    """What to say where most of the measured depth lies outside the range; None where it does not.

    Args:
        within: Share of the measured pixels that lie within the range.
        mean_depth: Of all measured pixels, in metres.
        min_depth: Of the range, in metres.
        max_depth: Likewise.
    """
    if within >= _WITHIN:
        return None
    return (
        f"only {100 * within:.2g} % of the measured pixels lie within {min_depth:g} to {max_depth:g} m "
        f"(mean depth {mean_depth:.3g} m): is the range or the unit right?"
    )


def history_csv(history: Sequence[Mapping[str, float | None]]) -> bytes:
    """The rows as a table with a header."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    return text.getvalue().encode()
