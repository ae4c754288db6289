"""What a number was measured under: the settings a user gives and the protocol that stands beside every result."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ..cache import SpaceClipError
from .crops import check_crop

CropName = Annotated[str, AfterValidator(check_crop)]


class EvaluateSettings(BaseModel):
    """How to score a checkpoint; depths in metres, and a bound left out is the checkpoint's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop: CropName = "none"
    min_depth: float | None = Field(default=None, gt=0)
    max_depth: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    flip_average: bool = True
    median_scaling: bool = False
    batch_size: int = Field(default=8, ge=1)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    figures: int = Field(default=6, ge=1)

    def protocol(self, name: str, min_depth: float, max_depth: float) -> "Protocol":
        """Resolve against the checkpoint's depth range in metres.

        `name` is "controlled" where the validation split was made by scene, "custom" otherwise.

        Raises:
            SpaceClipError: the resulting range is empty.
        """
        return Protocol(
            name=name,
            crop=self.crop,
            min_depth=min_depth if self.min_depth is None else self.min_depth,
            max_depth=max_depth if self.max_depth is None else self.max_depth,
            flip_average=self.flip_average,
            median_scaling=self.median_scaling,
        )


class Protocol(BaseModel):
    """Everything that a reader must know to compare a number with another; nothing in it is left to a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    crop: CropName
    min_depth: float = Field(gt=0)
    max_depth: float
    flip_average: bool
    median_scaling: bool
    resolution: Literal["native"] = "native"

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.max_depth <= self.min_depth:
            raise SpaceClipError(
                f"the depth range is {self.min_depth:g} to {self.max_depth:g} m, expected min_depth < max_depth: "
                "mend min_depth or max_depth"
            )
        return self

    @property
    def label(self) -> str:
        """One line for tables, figures and reports."""
        return (
            f"{self.name} protocol: {f'{self.crop} crop' if self.crop != 'none' else 'no crop'}, "
            f"{self.min_depth:g} to {self.max_depth:g} m, {self.resolution} size, "
            f"{'with' if self.flip_average else 'no'} flip averaging, "
            f"{'WITH' if self.median_scaling else 'no'} median scaling"
        )
