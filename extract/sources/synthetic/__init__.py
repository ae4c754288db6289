"""The embedded data set: rooms and streets made up by numbers and ray-traced on the spot, with depth and captions."""

from .captions import caption, phrase
from .picture import Picture, Seen
from .synthetic_source import ENCODER_SEED, EncoderSettings, SyntheticSettings, SyntheticSource
from .things import SKY, Thing

__all__ = [
    "ENCODER_SEED",
    "SKY",
    "EncoderSettings",
    "Picture",
    "Seen",
    "SyntheticSettings",
    "SyntheticSource",
    "Thing",
    "caption",
    "phrase",
]
