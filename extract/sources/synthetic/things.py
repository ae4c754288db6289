"""What scenes show, by name: nouns, and colour words that are found from the colours themselves."""

from dataclasses import dataclass

import numpy as np

from .materials import Array, Colour, Material, linear, palette

# Display colours that people call by these names.
_NAMES = {
    "white": "f7f7f5 e0ded6",
    "light grey": "c2c2bf",
    "grey": "999999 787878",
    "dark grey": "525254",
    "black": "0d0d0d 29292b",
    "red": "bf1a1a d93333 9e4033",
    "dark red": "6b1a1a",
    "pink": "e699a6 cc8c85",
    "orange": "e68026 bf6b33",
    "brown": "805433 99704c",
    "dark brown": "4c3324",
    "beige": "d9c299 bda17a ccad8f",
    "yellow": "e6cc33 c79e33",
    "light green": "adcc9e",
    "green": "4c8033 4c7354 739966",
    "dark green": "244729",
    "light blue": "a6c2d9 94a8c2",
    "blue": "3361b2 4c668f",
    "dark blue": "1f2e5c",
    "purple": "734780 594c6b 45264f",
}
_TO_XYZ = np.array([[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0178, 0.1095, 0.8727]], np.float32)


@dataclass(frozen=True)
class Thing:
    """Something in a scene: its noun and the word or words for its colour, "" if it has none worth a word."""

    noun: str
    colour: str = ""


SKY = Thing("sky")


def colour_word(colour: Colour) -> str:
    """The name of the nearest of the named colours, in CIE L*a*b*, for a display (sRGB) colour in 0 to 1."""
    return _WORDS[int(np.linalg.norm(_SHADES - _lab(colour), axis=1).argmin())]


def describe(material: Material) -> str:
    """The colours of a material, and its pattern if that shows: "dark blue", "red and white striped"."""
    words = list(dict.fromkeys(map(colour_word, material.colours)))
    return f"{' and '.join(words)} {material.style if len(words) > 1 else ''}".strip()


def _lab(colour: Colour) -> Array:
    x, y, z = np.cbrt(_TO_XYZ @ linear(colour)[:, 0])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


_WORDS = [word for word, shades in _NAMES.items() for _ in palette(shades)]
_SHADES = np.stack([_lab(shade) for shades in _NAMES.values() for shade in palette(shades)])
