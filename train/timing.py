"""Where the time of a training run went."""

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict


class Receipt(BaseModel):
    """What a run took; time that was lost with an interruption or a collapsed start is not in it.

    Attributes:
        seconds: In all.
        images_per_second: Images learned from, over all of these seconds.
        reading: Share of the time in which no batch was there to learn from.
        computing: Share of the steps, and of saving the state, of all decoders that were trained together.
        validating: Share of the scoring of raw and averaged weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float
    images_per_second: float
    reading: float
    computing: float
    validating: float

    @classmethod
    def of(cls, seconds: Mapping[str, float], images: int) -> Self:
        """From the seconds of each kind, and the images learned from, those of each epoch anew."""
        total = sum(seconds.values())
        shares = {kind: seconds.get(kind, 0.0) / total for kind in ("reading", "computing", "validating")}
        return cls(seconds=total, images_per_second=images / total, **shares)

    def __str__(self) -> str:
        shares = ", ".join(f"{getattr(self, kind):.0%} {kind}" for kind in ("reading", "computing", "validating"))
        return f"{self.images_per_second:.3g} images/s over {self.seconds:.0f} s: {shares}"
