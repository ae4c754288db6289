"""The embedded data set: rooms and streets made up by numbers and rendered on the spot, with exact depth."""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ....cache import Counts
from ..source import CameraFacts, Entry, Sample
from .camera import FIELD, focal_of, place_camera
from .picture import Picture, with_names
from .raycast import render
from .rooms import room
from .shading import Kind, Scene
from .streets import street

KINDS: dict[Kind, Callable[[np.random.Generator], Scene]] = {"room": room, "street": street}
_VERSION = 3  # of the generator: to be raised whenever the same settings give other pictures or captions

# Many small arrays: two threads that take turns at the interpreter render a fifth slower than one alone.
_ONE_THREAD = Lock()

ENCODER_SEED = 1_000_000
"""Seeds from here on are the embedded encoder's own: it learnt from their scenes, and nobody else may use them."""


class SyntheticSettings(BaseModel):
    """Which rooms and streets.

    Attributes:
        kind: Names this source among others.
        scenes: Number of scenes, rooms and streets in turn.
        views_per_scene: Pictures taken of each scene.
        height: Image rows.
        width: Image columns.
        max_depth: Depth beyond this is left unknown, metres.
        seed: Other seeds give other scenes; those from `ENCODER_SEED` on are refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["synthetic"] = "synthetic"
    scenes: int = Field(default=48, ge=1)
    views_per_scene: int = Field(default=6, ge=1)
    height: int = Field(default=192, ge=16)
    width: int = Field(default=256, ge=16)
    max_depth: float = Field(default=40.0, gt=0)
    seed: int = Field(default=42, ge=0, lt=ENCODER_SEED)


class EncoderSettings(SyntheticSettings):
    """The scenes that the embedded encoder is trained on, apart from all that `SyntheticSettings` allows."""

    seed: int = Field(default=ENCODER_SEED, ge=ENCODER_SEED, lt=2**32)


class SyntheticSource:
    """Rooms and streets as a source of samples.

    Every sample follows from the settings and its own id alone, so samples may be loaded in any order and from several
    threads, and more scenes or views leave the others as they are.
    """

    depth_unit: float | None = 0.001
    depth_counts: Counts = "uint32"

    def __init__(self, settings: SyntheticSettings) -> None:
        self._settings = settings
        stamp = (
            f"synthetic version {_VERSION}, seed {settings.seed}, {settings.height} x {settings.width}, "
            f"to {settings.max_depth} m"
        )
        kinds: tuple[Kind, ...] = tuple(KINDS)
        self._views: list[tuple[Kind, int, int]] = [
            (kinds[scene % len(kinds)], scene // len(kinds), view)
            for scene in range(settings.scenes)
            for view in range(settings.views_per_scene)
        ]
        self.entries: Sequence[Entry] = [
            Entry(f"{kind}-{number:04d}/{view:02d}", f"{kind}-{number:04d}", stamp)
            for kind, number, view in self._views
        ]

    def load(self, index: int) -> Sample:
        """Render one sample: an image [H, W, 3] and its depth along the optical axis [H, W] in metres, 0 in the sky."""
        _, image, depth, _ = self._render(index)
        return Sample(self.entries[index].id, image, depth, self.entries[index].scene)

    def picture(self, index: int) -> Picture:
        """Render the same sample with a map of the things in it, to be captioned."""
        return with_names(*self._render(index))

    def _render(self, index: int) -> tuple[Scene, NDArray[np.uint8], NDArray[np.float32], NDArray[np.int16]]:
        settings, (kind, number, view) = self._settings, self._views[index]
        seeds = settings.seed, tuple(KINDS).index(kind), number
        with _ONE_THREAD:
            scene = KINDS[kind](np.random.default_rng([*seeds, 0]))
            rng = np.random.default_rng([*seeds, 1 + view])
            camera = place_camera(scene, settings.height, settings.width, rng)
            return scene, *render(scene, camera, settings.max_depth, rng)

    def depth_sizes(self) -> list[tuple[int, int] | None]:
        """Native (height, width) of every sample's depth map."""
        return [(self._settings.height, self._settings.width)] * len(self.entries)

    @property
    def camera(self) -> CameraFacts | None:
        """What the cameras are drawn from: the median is of that, not of these samples."""
        height, width = self._settings.height, self._settings.width
        fields = np.deg2rad([FIELD[1], sum(FIELD) / 2, FIELD[0]]).tolist()
        focal = [round(focal_of(field, width), 4) for field in fields]
        return CameraFacts(focal=focal, size=[height, width], images=len(self.entries))

    def check(self) -> list[str]:
        """Nothing can be missing of what is computed."""
        return []
