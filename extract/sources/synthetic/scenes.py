"""The synthetic scenes and the cameras in them, all decided by numbers."""

import numpy as np

from .raycast import Camera
from .rays import Bundle
from .rooms import room
from .shading import Kind, Scene
from .streets import street

KINDS: tuple[Kind, ...] = ("room", "street")
_CLEARANCE: dict[Kind, float] = {"room": 0.5, "street": 1.3}  # metres in front of the lens
_TRIES = 40


def build(kind: Kind, rng: np.random.Generator) -> Scene:
    """Build a room or a street as `rng` decides."""
    return room(rng) if kind == "room" else street(rng)


def place_camera(scene: Scene, height: int, width: int, rng: np.random.Generator) -> Camera:
    """A camera of `height` x `width` pixels: the first of some tries that has nothing right before the lens."""
    camera = _aim(scene, height, width, rng)
    for _ in range(_TRIES):
        if _sees_clearly(camera, scene):
            break
        camera = _aim(scene, height, width, rng)
    return camera


def _aim(scene: Scene, height: int, width: int, rng: np.random.Generator) -> Camera:
    x, y, z = rng.uniform(*scene.standing).tolist()
    if scene.kind == "room":
        target = 0.7 * rng.uniform(*scene.standing)
        yaw = float(np.arctan2(target[1] - y, target[0] - x))
    else:
        yaw = np.pi / 2 + rng.normal(0, 1.2 if rng.random() < 0.25 else 0.3)
    pitch, roll = np.clip(rng.normal((-7, 0), (8, 1.5)), (-25, -4), (10, 4))
    pitch, roll, field = np.deg2rad([pitch, roll, rng.uniform(60, 70)]).tolist()
    return Camera((x, y, z), yaw, pitch, roll, field, height, width)


def _sees_clearly(camera: Camera, scene: Scene) -> bool:
    """Whether a coarse grid of rays meets nothing right before the lens."""
    rows, columns = np.meshgrid(np.linspace(0, camera.height, 9), np.linspace(0, camera.width, 12), indexing="ij")
    rays = camera.rays(rows.ravel().astype(np.float32), columns.ravel().astype(np.float32))
    _, met = Bundle(np.array(camera.position, np.float32), rays).nearest(scene.solids, _CLEARANCE[scene.kind])
    return bool((met < 0).all())
