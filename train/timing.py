"""Where the time of a training run went, and what the cache saved of it."""

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict

from ..cache import EncoderRate, FeatureCache, Features

_KINDS = ("reading", "copying", "computing", "validating")


class Encoding(BaseModel):
    """What an epoch would take besides, were its images encoded anew.

    Attributes:
        seconds: That one device would compute on them, at the rate that was measured while the stores were filled.
        images: Of training and of validation.
        measured_on: The device and precision of that measurement; of several stores, all that there were.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float
    images: int
    measured_on: str

    @classmethod
    def of(cls, training: Features, validation: Features | None, images: int) -> Self | None:
        """From what lies beside the stores; None where the rate of one of them is not known.

        Args:
            training: The training features.
            validation: The validation features, all of which are read in an epoch.
            images: Of the training features, in an epoch.
        """
        read: list[tuple[FeatureCache, float]] = []
        for features, share in ((training, images / len(training.usable)), (validation, 1.0)):
            read += [(store, share * len(store.usable)) for store in (features.stores if features else ())]
        rates = [rate for store, _ in read if (rate := EncoderRate.read(store.path))]
        if len(rates) < len(read):
            return None
        seconds = sum(count / rate.images_per_second for (_, count), rate in zip(read, rates, strict=True))
        places = dict.fromkeys(f"{rate.device} in {rate.precision}" for rate in rates)
        return cls(seconds=seconds, images=round(sum(count for _, count in read)), measured_on=", ".join(places))

    def __str__(self) -> str:
        return (
            f"without the cache an epoch would take {_plain(self.seconds)} s more (encoder at "
            f"{_plain(self.images / self.seconds)} images/s, measured at extraction on {self.measured_on})"
        )


class Receipt(BaseModel):
    """What a run took; time that was lost with an interruption or a collapsed start is not in it.

    Attributes:
        seconds: In all.
        images_per_second: Images learned from, over all of these seconds.
        reading: Share of the time in which no batch was there to learn from.
        copying: Share in which a batch was brought to the device, and its depth to metres.
        computing: Share of the steps, and of saving the state, of all decoders that were trained together.
        validating: Share of the scoring of raw and averaged weights.
        encoding: What the cache saves; None where it is not known.
        made_with: Code, libraries and machine of the process that ended it, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float
    images_per_second: float
    reading: float
    copying: float = 0.0
    computing: float
    validating: float
    encoding: Encoding | None = None
    made_with: dict[str, str] = {}

    @classmethod
    def of(
        cls,
        seconds: Mapping[str, float],
        images: int,
        encoding: Encoding | None = None,
        made_with: Mapping[str, str] | None = None,
    ) -> Self:
        """From the seconds of each kind, and the images learned from, those of each epoch anew."""
        total = sum(seconds.values())
        shares = {kind: seconds.get(kind, 0.0) / total for kind in _KINDS}
        return cls(
            seconds=total,
            images_per_second=images / total,
            encoding=encoding,
            made_with=dict(made_with or {}),
            **shares,
        )

    def __str__(self) -> str:
        shares = ", ".join(f"{getattr(self, kind):.0%} {kind}" for kind in _KINDS)
        saved = f"; {self.encoding}" if self.encoding else ""
        return f"{_plain(self.images_per_second)} images/s over {self.seconds:.0f} s: {shares}{saved}"


def _plain(value: float) -> str:
    """Three digits, and never a power of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
