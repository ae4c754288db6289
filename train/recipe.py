"""The recipe: every setting of a training run but the network's own."""

from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

from ..cache import Shuffle
from .curves import CurveLog
from .losses import LossSettings
from .resident import Residence
from .start import StartSettings

Seed = Annotated[int, Field(ge=0, lt=2**64)]
"""What PyTorch's generators take."""


class Order(NamedTuple):
    """The settings that decide which images are in which batch, and which of them are flipped, by their own names."""

    batch_size: int
    flip_probability: float
    order_seed: int
    overfit: int | None
    shuffle: Shuffle

    def differences(self, other: Self) -> list[tuple[str, Any, Any]]:
        """The name, own value and the other's of each that differs."""
        found = zip(self._fields, self, other, strict=True)
        return [(name, one, another) for name, one, another in found if one != another]


class TrainSettings(BaseModel):
    """The recipe (arXiv 2601.17657, section IV); depths in metres.

    Attributes:
        epochs: Passes over the training features.
        batch_size: Images in a step; the last incomplete batch of an epoch is dropped.
        accumulate: Micro-batches that a batch is divided into, at most, so that it fits a small device. The gradient
            of a step is their mean, by images; the statistics of SILog and BatchNorm are those of each micro-batch.
        overfit: Train on the first so many usable samples alone, to see that a decoder can learn at all; the batch is
            lowered to them.
        learning_rate: Highest rate of AdamW.
        min_learning_rate: Rate at the end of the cosine.
        warmup: Share of all steps with a rising rate.
        weight_decay: Of AdamW, on all parameters.
        clip_norm: Largest norm of the gradient.
        ema_decay: Of the moving average of all weights, every step.
        ema_warmup: Let the decay rise to `ema_decay` as (1 + n) / (10 + n) with the steps n done: without it, as in the
            paper, the average of a short run is mostly the untrained network.
        flip_probability: How often the flipped view is trained on.
        min_depth: Depths that count lie strictly above.
        max_depth: Depths that count lie strictly below.
        precision: Of the decoder's arithmetic: `auto`, `float32`, `tf32` (float32 with products of ten bits of
            fraction, on CUDA) or `bfloat16`; losses are float32.
        cuda_graph: On CUDA, take steps as one graph where that does the same; it decides no number.
        seed: Of the initial weights and the dropout.
        order_seed: Of the order and the flips, `seed` if not given. Decoders that are trained together share it.
        keep: Weights to keep: the `best` on validation so far, raw or EMA, or the `last` epoch's EMA weights, for which
            no validation split is needed.
        shuffle: How an epoch's images are put in order: `full`, or by `blocks` of stored shards, for features that do
            not fit into memory (see `Batches`).
        reader_threads: Threads that read; by default as many as the machine has cores, 16 at most. It decides no
            number.
        batches_ahead: Batches read before they are asked for; by default 2, or 4 for a GPU. It decides no number.
        resident: Whether all training features are loaded once: to the `device`, a card; to the machine's own `memory`,
            page-locked for CUDA; or `no`; `auto` loads them to a GPU where they fit. It decides no number.
        save_every: Steps after which the state is written besides the end of each epoch; it decides no number.
        log: Curves to write to `curves/` beside the history: `dvclive`, `tensorboard` or both; they decide no number.
        figures: Validation images drawn after each epoch; they decide no number.
        max_skipped: Steps with a non-finite loss in a row that end the run.
        collapse: What to do after an epoch that predicts 0 m at most valid pixels: `warn`, `stop`, or `restart` from
            the first step with the next initialisation (seed + 1000), three times at most; the order of images stays.
        loss: Weights of the loss terms.
        start: The decoder whose initial weights are taken where they fit; one's own if nothing is set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: PositiveInt = 20
    batch_size: PositiveInt = 64
    accumulate: PositiveInt = 1
    overfit: PositiveInt | None = None
    learning_rate: PositiveFloat = 1e-4
    min_learning_rate: NonNegativeFloat = 1e-6
    warmup: float = Field(default=0.05, ge=0, lt=1)
    weight_decay: NonNegativeFloat = 0.01
    clip_norm: PositiveFloat = 1.0
    ema_decay: float = Field(default=0.996, ge=0, lt=1)
    ema_warmup: bool = True
    flip_probability: float = Field(default=0.5, ge=0, le=1)
    min_depth: PositiveFloat = 0.001
    max_depth: PositiveFloat = Field(default=80.0, validate_default=True)
    precision: Literal["auto", "float32", "tf32", "bfloat16"] = "auto"
    cuda_graph: bool = True
    seed: Seed = 42
    order_seed: Seed | None = None
    keep: Literal["best", "last"] = "best"
    shuffle: Shuffle = "full"
    reader_threads: PositiveInt | None = None
    batches_ahead: PositiveInt | None = None
    resident: Residence = "auto"
    save_every: PositiveInt | None = None
    log: tuple[CurveLog, ...] = ()
    figures: NonNegativeInt = 3
    max_skipped: PositiveInt = 20
    collapse: Literal["warn", "stop", "restart"] = "warn"
    loss: LossSettings = LossSettings()
    start: StartSettings = StartSettings()

    @field_validator("max_depth")
    @classmethod
    def _range_is_not_empty(cls, max_depth: float, info: ValidationInfo) -> float:
        min_depth = info.data.get("min_depth", 0.0)
        if max_depth <= min_depth:
            raise ValueError(f"expected more than min_depth, which is {min_depth:g} m")
        return max_depth

    def deciding(self) -> dict[str, Any]:
        """All that decides the numbers of a run, as plain JSON values."""
        free = {"cuda_graph", "resident", "save_every", "log", "figures", "reader_threads", "batches_ahead"}
        found = self.model_dump(mode="json", exclude={*free, "start"})
        return {**found, "start": self.start.given} if self.start.given else found

    @property
    def order(self) -> Order:
        """What decides which images are in which batch, and which of them are flipped."""
        seed = self.seed if self.order_seed is None else self.order_seed
        return Order(self.batch_size, self.flip_probability, seed, self.overfit, self.shuffle)

    def fitted(self, images: int) -> Self:
        """The same for few images: they make one batch, unless another `batch_size` was asked for and no overfit."""
        asked = "batch_size" in self.model_fields_set and self.overfit is None
        if asked or not 0 < images < self.batch_size:
            return self
        return self.model_copy(update={"batch_size": images})
