"""Where the time of a training run went."""

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict

_KINDS = ("reading", "copying", "computing", "validating")


class Receipt(BaseModel):
    """What a run took; time that was lost with an interruption or a collapsed start is not in it.

    Attributes:
        seconds: In all.
        images_per_second: Images learned from, over all of these seconds.
        reading: Share of the time in which no batch was there to learn from.
        copying: Share in which a batch was brought to the device, and its depth to metres.
        computing: Share of the steps, and of saving the state, of all decoders that were trained together.
        validating: Share of the scoring of raw and averaged weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float
    images_per_second: float
    reading: float
    copying: float = 0.0
    computing: float
    validating: float

    @classmethod
    def of(cls, seconds: Mapping[str, float], images: int) -> Self:
        """From the seconds of each kind, and the images learned from, those of each epoch anew."""
        total = sum(seconds.values())
        shares = {kind: seconds.get(kind, 0.0) / total for kind in _KINDS}
        return cls(seconds=total, images_per_second=images / total, **shares)

    def __str__(self) -> str:
        shares = ", ".join(f"{getattr(self, kind):.0%} {kind}" for kind in _KINDS)
        return f"{self.images_per_second:.3g} images/s over {self.seconds:.0f} s: {shares}"
