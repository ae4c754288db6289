"""How fast a store's features were computed: a small file beside the store, which is no part of it."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Self

from .format.parsing import parse_json
from .places.location import Location
from .places.opening import place_at

SUFFIX = ".rate"


@dataclass(frozen=True)
class EncoderRate:
    """What an encoder did, as it was measured while it filled a store.

    Attributes:
        images: That went through it, each view of an image by itself.
        seconds: In which one device computed on them.
        device: Its kind, as in `StoreSpec.computed`.
        precision: Of the arithmetic.
    """

    images: int
    seconds: float
    device: str
    precision: str

    @property
    def images_per_second(self) -> float:
        """Of one device."""
        return self.images / self.seconds

    @classmethod
    def read(cls, store: Location) -> Self | None:
        """That of a store; None where none is known: another version made the store, or its file is damaged."""
        with suppress(OSError, ValueError, TypeError, ArithmeticError):
            found = cls(**parse_json(place_at(store.parent).read(_file(store))))
            if found.images_per_second > 0:
                return found
        return None

    def write(self, store: Location) -> None:
        """Write it beside a store, atomically."""
        place_at(store.parent).write(_file(store), json.dumps(asdict(self), indent=1).encode() + b"\n")

    def add_to(self, store: Location) -> None:
        """Likewise, with what earlier runs measured on such a device in such a precision; that of others is dropped."""
        found = self.read(store)
        if found and (found.device, found.precision) == (self.device, self.precision):
            total = found.images + self.images, found.seconds + self.seconds
            EncoderRate(*total, self.device, self.precision).write(store)
        else:
            self.write(store)


def forget_rate(store: Location) -> None:
    """Delete what is known of a store that is deleted."""
    place_at(store.parent).delete(_file(store))


def _file(store: Location) -> str:
    return f"{store.stem}{SUFFIX}"
