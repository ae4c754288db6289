"""The synthetic scenes and the cameras in them, all decided by numbers."""

from dataclasses import dataclass

import numpy as np

from .picture import Kind
from .raycast import Camera
from .rays import Bundle
from .rooms import room
from .shading import Scene
from .streets import street

KINDS: tuple[Kind, ...] = ("room", "street")
_CLEARANCE: dict[Kind, float] = {"room": 0.5, "street": 1.3}  # metres in front of the lens
_TRIES = 40


@dataclass(frozen=True)
class Stage:
    """A scene and the part of it where cameras may stand.

    Attributes:
        kind: What it shows.
        scene: What there is to see.
        low: Least x, y, z of a camera, metres.
        high: Largest x, y, z of a camera, metres.
    """

    kind: Kind
    scene: Scene
    low: tuple[float, float, float]
    high: tuple[float, float, float]


def build(kind: Kind, rng: np.random.Generator) -> Stage:
    """Build a room or a street.

    Args:
        kind: Which.
        rng: Decides everything about it.
    """
    if kind == "room":
        scene, size = room(rng)
        x, y = size[0] / 2 - 0.3, size[1] / 2 - 0.3
        return Stage(kind, scene, (-x, -y, 0.6), (x, y, min(2.2, size[2] - 0.3)))
    scene, front, end = street(rng)
    return Stage(kind, scene, (0.5 - front, -6, 0.75), (front - 0.5, 0.5 * end, 2.2))


def place_camera(stage: Stage, height: int, width: int, rng: np.random.Generator) -> Camera:
    """Stand a camera somewhere with a clear view.

    Args:
        stage: The scene to stand in.
        height: Image rows.
        width: Image columns.
        rng: Decides where and which way.

    Returns:
        The first of some tries that has nothing right before the lens, or else the one with the most room there.
    """
    best, room_of_best = _aim(stage, height, width, rng), -1.0
    for _ in range(_TRIES):
        camera = _aim(stage, height, width, rng)
        ahead = _clear_distance(stage.scene, camera)
        if ahead >= _CLEARANCE[stage.kind]:
            return camera
        if ahead > room_of_best:
            best, room_of_best = camera, ahead
    return best


def _aim(stage: Stage, height: int, width: int, rng: np.random.Generator) -> Camera:
    x, y, z = (float(a) for a in rng.uniform(stage.low, stage.high))
    if stage.kind == "room":
        target = 0.7 * rng.uniform(stage.low, stage.high)
        yaw = float(np.arctan2(target[1] - y, target[0] - x))
    else:
        spread = 1.2 if rng.random() < 0.25 else 0.3
        yaw = float(np.pi / 2 + rng.normal(0, spread))
    pitch = float(np.clip(rng.normal(-7, 8), -25, 10))
    roll = float(np.clip(rng.normal(0, 1.5), -4, 4))
    field = float(rng.uniform(60, 70))
    pitch, roll, field = (float(a) for a in np.deg2rad([pitch, roll, field]))
    return Camera((x, y, z), yaw, pitch, roll, field, height, width)


def _clear_distance(scene: Scene, camera: Camera) -> float:
    """Distance to the nearest surface that a coarse grid of rays meets, metres."""
    rows, columns = np.meshgrid(np.linspace(0, camera.height, 9), np.linspace(0, camera.width, 12), indexing="ij")
    directions = camera.rays(rows.ravel().astype(np.float32), columns.ravel().astype(np.float32))
    return float(Bundle(np.array(camera.position, np.float32), directions).nearest(scene.solids)[0].min())
