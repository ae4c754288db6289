"""The history of a run: what each epoch came to."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HISTORY = "history.csv"
_COLLAPSED = 0.5


@dataclass(frozen=True)
class Epoch:
    """One epoch in numbers.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean total loss of its steps.
        silog: Mean SILog loss.
        ssim: Mean SSIM loss.
        valid: Share of the pixels whose depth counts.
        zero: Share of those for which 0 m was predicted.
        skipped: Steps skipped for a non-finite loss.
        val_raw: Validation AbsRel of the raw weights; None without a validation split.
        val_ema: Likewise of their moving average.
    """

    epoch: int
    loss: float
    silog: float
    ssim: float
    valid: float
    zero: float
    skipped: int
    val_raw: float | None
    val_ema: float | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Epoch":
        """From a row of the history."""
        return cls(**row)

    @property
    def collapsed(self) -> bool:
        """Whether most of the depth is 0 m, which the loss cannot move: the head's ReLU has no gradient there."""
        return self.zero > _COLLAPSED

    def __str__(self) -> str:
        skipped = f", {self.skipped} steps skipped" if self.skipped else ""
        scored = ""
        if self.val_raw is not None and self.val_ema is not None:
            scored = f", validation AbsRel {self.val_raw:.4f} raw, {self.val_ema:.4f} EMA"
        losses = f"loss {self.loss:.4f} (SILog {self.silog:.4f}, SSIM {self.ssim:.4f}{skipped})"
        zero = f", COLLAPSED: 0 m predicted at {self.zero:.0%} of them" if self.collapsed else ""
        return f"epoch {self.epoch}: {losses}, {self.valid:.1%} of the pixels valid{zero}{scored}"


def history_csv(history: Sequence[Mapping[str, float | None]]) -> bytes:
    """The rows as a table with a header."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    return text.getvalue().encode()
