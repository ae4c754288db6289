"""What was scored: a checkpoint or saved maps, and the encoder behind a checkpoint's features."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from .protocol import Protocol

if TYPE_CHECKING:
    from ..train import Checkpoint


class CheckpointFacts(BaseModel):
    """Which weights were scored: the raw ones or their moving average, of which epoch, from which file.

    Attributes:
        storage: How the features that it was trained on are kept: `float16` or `int8`.
        validation: Protocol of the metrics that weights were chosen by; None without a validation split.
        validation_images: How many images that was over; None where the checkpoint does not say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["checkpoint"] = "checkpoint"
    path: str
    sha256: str
    epoch: int
    weights: Literal["raw", "ema"]
    chosen: Literal["best", "last"]
    storage: str
    validation: Protocol | None = None
    validation_images: int | None = None

    @classmethod
    def of(cls, checkpoint: "Checkpoint", storage: str) -> Self:
        """From a checkpoint's own description, and the storage of the features that it was trained on."""
        info = checkpoint.info
        return cls(
            path=str(checkpoint.path),
            sha256=info.sha256,
            epoch=info.epoch,
            weights=info.weights,
            chosen=info.chosen,
            storage=storage,
            validation=Protocol.recorded(info.protocol),
            validation_images=sum(store["images"] for store in info.validation) or None,
        )

    @property
    def label(self) -> str:
        """One short line."""
        weights = {"raw": "raw", "ema": "EMA"}[self.weights]
        chosen = {"best": "best on validation", "last": "the last"}[self.chosen]
        origin = f"trained on {self.storage} features, sha256 {self.sha256[:12]}"
        return f"{self.path}, {weights} weights of epoch {self.epoch} ({chosen}), {origin}"


class SavedMapsFacts(BaseModel):
    """Depth maps of any model, read from files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["saved maps"] = "saved maps"
    path: str
    name: str
    depth_scale: float | None

    @property
    def label(self) -> str:
        """One short line."""
        scale = f", {self.depth_scale:g} counts a metre" if self.depth_scale else ""
        return f"{self.name} ({self.path}{scale})"


class BackboneFacts(BaseModel):
    """Which frozen encoder made the features; a random one says so in `revision`, with its seed.

    Attributes:
        weights: Hash of its weights: two folders of one name hold two encoders.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    revision: str
    weights: str
    random: bool

    @classmethod
    def of(cls, identity: Mapping[str, Any]) -> Self:
        """From the backbone's identity in a store or checkpoint."""
        name = str(identity["name"])
        facts = {field: str(identity[field]) for field in ("revision", "weights")}
        return cls(name=name, **facts, random=name.startswith("random:"))

    @property
    def embedded(self) -> bool:
        """Whether it is a small one that comes with the package."""
        return self.name.startswith("embedded:")

    @property
    def label(self) -> str:
        """One short line."""
        revision = self.revision if self.random or self.embedded else self.revision[:12]
        return f"{self.name} ({revision}, weights {self.weights[:12]})"
