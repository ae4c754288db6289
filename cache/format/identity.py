"""What a store is: its samples, its settings, and the fingerprint of both."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from json.encoder import encode_basestring_ascii as encode
from typing import Any, Literal, Self

from ..errors import StoreError

Storage = Literal["float16", "int8"]
Counts = Literal["uint16", "uint32"]

FORMAT = 5
"""Of stores, by which they lie apart: one of an older format is extracted again beside it."""


_BEGUN = {
    "computed.device": "on {}, this run computes on {}, whose features differ in their last bits: go on there",
    "computed.batch": "in batches of {} images, this run would make batches of {}: leave batch_size out",
}
"""What is said of a store that cannot be gone on with as it was begun."""


@dataclass(frozen=True)
class Entry:
    """What is known of a sample before it is decoded.

    Attributes:
        id: Unique name of the sample within its data set.
        scene: Name of the place it was taken at; samples of one scene are never divided between splits.
        stamp: Changes when the sample's content changes (file sizes, or the generator's version, seed and settings).
    """

    id: str
    scene: str | None
    stamp: str

    def quoted(self) -> tuple[str, str, str]:
        """Its fields as `json.dumps` writes them, ten times as fast."""
        return encode(self.id), "null" if self.scene is None else encode(self.scene), encode(self.stamp)


@dataclass(frozen=True)
class DepthSpec:
    """How depth is kept: whole counts of a unit, so that nothing of the source's precision is lost.

    Attributes:
        unit: Metres of one count.
        size: (height, width) of the training target.
        native: (height, width) that holds every ground truth at its own size; None where all have the target's size.
        counts: Type of the counts: `uint16` where the source's own are no wider.
    """

    unit: float
    size: tuple[int, int]
    native: tuple[int, int] | None = None
    counts: Counts = "uint32"

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """From what an identity says of it."""
        native = fields["native"] and tuple(fields["native"])
        return cls(fields["unit"], tuple(fields["size"]), native, fields["counts"])


@dataclass(frozen=True)
class StoreSpec:
    """Everything that decides a store's bytes, the last bits of its features included.

    Attributes:
        backbone: Name, revision, weights hash and compute precision of the frozen encoder.
        preprocessing: Sizes, resampling and normalisation between the image file and the encoder.
        layers: Hidden states kept, 0 being the embedding output.
        views: Names of the views kept of each image.
        patches: Patch tokens P of one hidden state.
        channels: Width C of one hidden state.
        image_size: (height, width) of the encoder's input, kept for figures and later layers.
        depth: How depth is kept, None for images alone.
        entries: The samples, in the order of the store's rows.
        shard: Images in one shard.
        storage: How hidden states are kept: `float16`, or `int8` with a scale for each sample, view and channel.
        computed: What the features were computed with, which decides their last bits: kind of `device`, and `batch`.
            Of the identity, but not of the fingerprint: the same data finds the same store on whatever machine, and is
            refused there by name.
    """

    backbone: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    layers: tuple[int, ...]
    views: tuple[str, ...]
    patches: int
    channels: int
    image_size: tuple[int, int]
    depth: DepthSpec | None
    entries: Sequence[Entry]
    shard: int = 64
    storage: Storage = "float16"
    computed: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, identity: Mapping[str, Any], entries: Sequence[Entry], storage: Storage | None = None) -> Self:
        """The spec of an identity (see `identity`) and its samples; with another storage, if one is given."""
        tokens, depth = identity["tokens"], identity["depth"]
        return cls(
            backbone=identity["backbone"],
            preprocessing=identity["preprocessing"],
            layers=tuple(identity["layers"]),
            views=tuple(identity["views"]),
            patches=tokens["patches"],
            channels=tokens["channels"],
            image_size=tuple(identity["image_size"]),
            depth=depth and DepthSpec.of(depth),
            entries=entries,
            shard=identity["shard"],
            storage=storage or tokens["storage"],
            computed=identity["computed"],
        )

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-len(self.entries) // self.shard)

    def rows(self, shard: int) -> tuple[int, int]:
        """First row and the row after the last of a shard."""
        return shard * self.shard, min((shard + 1) * self.shard, len(self.entries))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All fields, as plain JSON values; the fingerprint is taken of all but `computed`."""
        fields = {
            "backbone": dict(self.backbone),
            "preprocessing": dict(self.preprocessing),
            "layers": self.layers,
            "views": self.views,
            "tokens": {"patches": self.patches, "channels": self.channels, "storage": self.storage},
            "image_size": self.image_size,
            "depth": asdict(self.depth) if self.depth else None,
            "samples": {"count": len(self.entries), "sha256": entries_digest(self.entries)},
            "shard": self.shard,
            "computed": dict(self.computed),
        }
        return json.loads(json.dumps(fields))

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that differ between stores whose bytes may differ."""
        return fingerprint(self.identity)


def entries_digest(entries: Sequence[Entry]) -> str:
    """SHA-256 of the sample list: ids, scenes, stamps, and their order."""
    lines = [f"[{', '.join(entry.quoted())}]\n" for entry in entries]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def fingerprint(identity: Mapping[str, Any]) -> str:
    """Fingerprint of an identity (see `StoreSpec.identity`)."""
    text = json.dumps({"format": FORMAT, **settings_of(identity)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def settings_of(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity less what its features were computed with."""
    return {name: value for name, value in identity.items() if name != "computed"}


def require_same(found: Any, wanted: Any, where: str, field: str = "") -> None:
    """Refuse a store whose identity differs from the one wanted.

    Args:
        found: The store's identity, or a part of it.
        wanted: The identity asked for; a mapping may name some of the fields only.
        where: The store's name, for the message.
        field: Dotted name of the part compared.

    Raises:
        StoreError: Names the first field that differs, the value found and the value wanted.
    """
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key, value in wanted.items():
            require_same(found.get(key), value, where, f"{field}.{key}" if field else str(key))
    elif _plain(found) != _plain(wanted) and field in _BEGUN:
        begun = _BEGUN[field].format(found, wanted)
        raise StoreError(f"{where} was begun {begun}, or delete it, or give another --out")
    elif _plain(found) != _plain(wanted):
        raise StoreError(
            f"{where} was made with other settings: {field} is {_plain(found)!r} there, {_plain(wanted)!r} is wanted; "
            f"extract with the wanted settings{_option(field, wanted)}, or ask for those of the store"
        )


def _option(field: str, wanted: Any) -> str:
    """The option of `spaceclip extract` that gives what is wanted, where it is not plain from the field's name."""
    return " (--size {} {})".format(*wanted) if field == "preprocessing.target_size" and wanted else ""


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
