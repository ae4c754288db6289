"""What a number was measured under: the settings a user gives and the protocol that stands beside every result."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..cache import SpaceClipError
from .crops import check_crop


def _known_crop(name: str) -> str:
    try:
        return check_crop(name)
    except SpaceClipError as error:
        # Pydantic collects a ValueError with whatever else is wrong in the settings; any other ends the check at once.
        raise ValueError(str(error)) from error


CropName = Annotated[str, AfterValidator(_known_crop)]
ProtocolName = Literal["controlled", "standard", "paper", "validation"]
Size = tuple[int, int]


@dataclass(frozen=True)
class _Fixed:
    """What a published protocol says of a data set: crop, farthest depth in metres, size of the truth (None native)."""

    crop: str
    max_depth: float
    size: Size | None = None


_MIN_DEPTH = 0.001
_STANDARD = {"kitti": _Fixed("garg", 80.0), "nyu": _Fixed("nyu_eigen", 10.0)}
_FIXED: dict[ProtocolName, dict[str, _Fixed]] = {
    "controlled": _STANDARD,
    "standard": _STANDARD,
    "paper": {"kitti": _Fixed("kitti_eigen", 80.0, (352, 704)), "nyu": _Fixed("none", 10.0)},
}


def split_of(name: ProtocolName) -> Literal["val", "test"]:
    """The split that a protocol scores."""
    return "val" if name == "validation" else "test"


def reads_settings(name: ProtocolName, data: str) -> bool:
    """Whether a protocol takes its crop and depth range from the settings; the others have their own."""
    return name == "validation" or (name == "controlled" and data not in _FIXED["controlled"])


def _each_once(names: tuple[ProtocolName, ...]) -> tuple[ProtocolName, ...]:
    return tuple(dict.fromkeys(names))


class EvaluateSettings(BaseModel):
    """How to score.

    Attributes:
        protocols: `validation` scores the held-out rows by which weights and settings are chosen, with the crop and
            depth range set here; the others score the test set. Of KITTI and NYU with crops and ranges of their own:
            `controlled` (for weights chosen on held-out scenes) and `standard` (what the field compares by) the same
            pixels, `paper` those of SPACE-CLIP's tables. Of other data `controlled` alone, with the settings here.
        crop: Of `validation`, and of `controlled` on data of one's own.
        min_depth: Likewise, in metres; the checkpoint's own if left out.
        max_depth: Likewise.
        flip_average: Score the average of both views, and the plain view beside it; without it, the plain view alone.
        median_scaling: Score everything a second time, scaled by the ratio of medians of truth and prediction.
        batch_size: Images decoded together.
        precision: Of the decoder's arithmetic.
        figures: Images drawn.
        figure_scale: Of the colours of depth: equal ratios (`log`), which show what is near, or equal steps of metres.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocols: Annotated[tuple[ProtocolName, ...], AfterValidator(_each_once)] = Field(
        default=("controlled",), min_length=1
    )
    crop: CropName = "none"
    min_depth: float | None = Field(default=None, gt=0)
    max_depth: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    flip_average: bool = True
    median_scaling: bool = False
    batch_size: int = Field(default=8, ge=1)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    figures: int = Field(default=6, ge=1)
    figure_scale: Literal["linear", "log"] = "log"

    def protocol(self, name: ProtocolName, about: Mapping[str, Any], min_depth: float, max_depth: float) -> "Protocol":
        """The named protocol for a split, in the variant that counts most: averaged where asked for, never scaled.

        Args:
            name: One of `protocols`.
            about: What the store of the split says of its data set; a protocol with settings of its own is named
                `custom` where it was given other rows than those it is meant for.
            min_depth: Of the checkpoint, in metres.
            max_depth: Likewise.

        Raises:
            SpaceClipError: The protocol is not defined for the data set or the split, or the depth range is empty.
        """
        found: dict[str, Any]
        split, data = about.get("split", "test"), str(about.get("data"))
        if reads_settings(name, data):
            meant = split == "val" if name == "validation" else split == "test" and about.get("split_by") == "scene"
            found = {
                "name": name if meant else "custom",
                "crop": self.crop,
                "min_depth": min_depth if self.min_depth is None else self.min_depth,
                "max_depth": max_depth if self.max_depth is None else self.max_depth,
            }
        else:
            fixed = _FIXED[name].get(data)
            if fixed is None:
                raise SpaceClipError(
                    f"the {name} protocol is defined for {' and '.join(_FIXED[name])}, these features are of "
                    f"{data!r}: set evaluate.protocols to [controlled]"
                )
            if split != "test":
                raise SpaceClipError(f"the {name} protocol scores the test split, these features are the {split} split")
            found = {"name": name, "min_depth": _MIN_DEPTH, **vars(fixed)}
        depth = about.get("depth")
        return Protocol(
            kb_crop=bool(about.get("kb_crop")),
            truth=str(depth) if depth else None,
            flip_average=self.flip_average,
            median_scaling=False,
            **found,
        )

    def variants(self, protocol: "Protocol") -> list["Protocol"]:
        """The protocol, then what is scored beside it: without flip averaging, and both with median scaling."""
        flips = (protocol.flip_average, False) if protocol.flip_average else (protocol.flip_average,)
        scalings = (False, True) if self.median_scaling else (False,)
        return [
            protocol.model_copy(update={"flip_average": flip, "median_scaling": scaling})
            for scaling in scalings
            for flip in flips
        ]


class Protocol(BaseModel):
    """Everything that a reader must know to compare a number with another; nothing in it is left to a default.

    Attributes:
        name: See `EvaluateSettings`; `custom` for rows chosen in another way.
        crop: Pixels scored, see `CROPS`.
        min_depth: True depths that count lie strictly above, metres; predictions are clipped to it.
        max_depth: Likewise below.
        size: (height, width) that the truth was brought to by nearest neighbour; None for its native size.
        kb_crop: Whether image and truth were cut to KITTI's 352 x 1216 before anything else.
        truth: Which of a data set's several depths is the truth (NYU: raw or in-painted); None where there is but one.
        flip_average: Whether the prediction is the average of both views; None for saved maps, which do not say.
        median_scaling: Whether the prediction was scaled by the ratio of medians.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    crop: CropName
    min_depth: float = Field(gt=0)
    max_depth: float
    size: Size | None = None
    kb_crop: bool = False
    truth: str | None = None
    flip_average: bool | None
    median_scaling: bool

    @classmethod
    def recorded(cls, content: Mapping[str, Any]) -> Self | None:
        """That of a checkpoint's record; None where that has none.

        Raises:
            SpaceClipError: It is none of this version.
        """
        try:
            return cls.model_validate(content) if content else None
        except ValidationError as error:
            fault = error.errors()[0]
            raise SpaceClipError(
                f"the checkpoint's protocol is none of this version ({'.'.join(map(str, fault['loc']))!r:.80}: "
                f"{fault['msg']}): train it again"
            ) from error

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.max_depth <= self.min_depth:
            raise SpaceClipError(
                f"the depth range is {self.min_depth:g} to {self.max_depth:g} m, expected min_depth < max_depth: "
                "mend min_depth or max_depth"
            )
        return self

    @property
    def depth_range(self) -> tuple[float, float]:
        """`min_depth` and `max_depth`."""
        return self.min_depth, self.max_depth

    @property
    def key(self) -> str:
        """Name of the variant, for files: `standard`, `standard_plain` (no flip averaging), `standard_median`."""
        plain = "_plain" if self.flip_average is False else ""
        return f"{self.name}{plain}{'_median' if self.median_scaling else ''}"

    @property
    def setting(self) -> str:
        """What all variants share, in one line."""
        crop = f"{self.crop} crop" if self.crop != "none" else "no crop"
        size = "native size" if self.size is None else f"truth at {self.size[0]} x {self.size[1]}"
        cut = "frames KB-cropped to 352 x 1216, " if self.kb_crop else ""
        truth = f", depth: {self.truth}" if self.truth else ""
        return f"{self.name} protocol: {cut}{crop}, {self.min_depth:g} to {self.max_depth:g} m, {size}{truth}"

    @property
    def variant(self) -> str:
        """What tells variants apart, in one line."""
        flip = {True: "with flip averaging", False: "no flip averaging", None: "flip averaging not known"}
        return f"{flip[self.flip_average]}, {'WITH' if self.median_scaling else 'no'} median scaling"

    @property
    def label(self) -> str:
        """One line for tables, figures and reports."""
        return f"{self.setting}, {self.variant}"
