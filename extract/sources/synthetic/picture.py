"""Rendered pictures, and which things show in them where."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .shading import Kind, Scene
from .things import SKY, Thing, describe

_TELLING = 0.2  # the share of a thing's pixels that must show its colour for it to be named


@dataclass(frozen=True)
class Seen:
    """A thing as a picture shows it.

    Attributes:
        thing: Its noun and colour.
        index: Its value in the picture's map of things.
        share: The share of the picture's pixels that show it, above 0.
        left: The share of the picture's width left of it, 0 to 1; a twentieth of its pixels may lie beyond.
        right: The share of the picture's width left of its right end, likewise.
        distance: Median depth of its pixels in metres, infinite where that is unknown.
    """

    thing: Thing
    index: int
    share: float
    left: float
    right: float
    distance: float


@dataclass(frozen=True)
class Picture:
    """A rendered picture, and by name what shows in it.

    Attributes:
        kind: What it shows.
        light: The light in a word or two: a time of day in streets, "daylight" or "lamp light" in rooms.
        image: [H, W, 3] RGB, uint8.
        depth: [H, W] metres along the optical axis, float32, 0 where unknown.
        things: [H, W] int16, the index into `names` of what each pixel's middle shows, -1 for the sky.
        names: The scene's things, seen or not, with their colour where enough of it shows.
    """

    kind: Kind
    light: str
    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    things: NDArray[np.int16]
    names: tuple[Thing, ...]

    def name(self, index: int) -> Thing:
        """The thing of a value of the map."""
        return self.names[index] if index >= 0 else SKY

    @cached_property
    def seen(self) -> tuple[Seen, ...]:
        """All things that show in some pixel, without the sky, the largest first."""
        found = [self._measure(int(index)) for index in np.unique(self.things) if index >= 0]
        return tuple(sorted(found, key=lambda seen: -seen.share))

    def _measure(self, index: int) -> Seen:
        rows, columns = np.nonzero(self.things == index)
        left, right = np.quantile((columns + 0.5) / self.things.shape[1], [0.05, 0.95])
        depth = self.depth[rows, columns]
        distance = float(np.median(np.where(depth > 0, depth, np.inf)))
        return Seen(self.names[index], index, len(rows) / self.things.size, float(left), float(right), distance)


def with_names(
    scene: Scene, image: NDArray[np.uint8], depth: NDArray[np.float32], solids: NDArray[np.int16]
) -> Picture:
    """The picture of a rendered scene, from the index of the solid that each pixel shows [H, W]."""
    names = [Thing(noun) for noun, _ in scene.things]
    things = np.array([solid.thing for solid in scene.solids] + [-1], np.int16)[solids]
    for index in np.unique(things[things >= 0]):
        noun, material = scene.things[index]
        parts, pixels = np.unique(solids[things == index], return_counts=True)
        telling = [scene.solids[part].material is material for part in parts]
        if material and pixels[telling].sum() >= _TELLING * pixels.sum():
            names[index] = Thing(noun, describe(material))
    return Picture(scene.kind, scene.light, image, depth, things, tuple(names))
