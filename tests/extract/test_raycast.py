import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spaceclip.extract.sources.synthetic.camera import Camera
from spaceclip.extract.sources.synthetic.materials import paint, pulse, stripes
from spaceclip.extract.sources.synthetic.raycast import render
from spaceclip.extract.sources.synthetic.rays import Bundle
from spaceclip.extract.sources.synthetic.shading import Lamp, Scene, radiance
from spaceclip.extract.sources.synthetic.site import Site

HEIGHT, WIDTH = 40, 56
FIELD = math.radians(64)
GREY = paint((0.5, 0.5, 0.5))
EYE = (0.3, -0.2, 1.5)


def camera(yaw=0.0, pitch=0.0, roll=0.0, position=EYE):
    return Camera(position, yaw, pitch, roll, FIELD, HEIGHT, WIDTH)


def directions(view):
    """Rays with a forward part of 1, [H, W, 3], in float64 by turning about one axis after another."""
    focal = WIDTH / 2 / math.tan(FIELD / 2)
    right, down = np.meshgrid(
        (np.arange(WIDTH) + 0.5 - WIDTH / 2) / focal, (np.arange(HEIGHT) + 0.5 - HEIGHT / 2) / focal
    )
    cos, sin = math.cos(view.roll), math.sin(view.roll)
    right, down = cos * right - sin * down, sin * right + cos * down
    cos, sin = math.cos(view.pitch), math.sin(view.pitch)
    ahead, up = cos + sin * down, sin - cos * down
    cos, sin = math.cos(view.yaw), math.sin(view.yaw)
    return np.stack([cos * ahead + sin * right, sin * ahead - cos * right, up], axis=2)


def depth_of(site, view, max_depth=1000.0):
    lamp = Lamp((0.0, 0.0, 50.0), (900.0, 900.0, 900.0))
    scene = Scene(
        "room", (EYE, EYE), site.solids, (), (lamp,), (0.5, 0.5, 0.5), (0.3, 0.3, 0.3), horizon=(1.0, 1.0, 1.0)
    )
    return render(scene, view, max_depth, np.random.default_rng(0))[1]


def floor():
    site = Site()
    site.box((0, 0, -1), (4000, 4000, 1), GREY)
    return site


@given(
    yaw=st.floats(-3, 3),
    pitch=st.floats(-0.6, 0.3),
    roll=st.floats(-0.2, 0.2),
    height=st.floats(0.6, 2.2),
)
@settings(max_examples=25, deadline=None)
def test_depth_of_the_floor_is_its_plane(yaw, pitch, roll, height):
    view = camera(yaw, pitch, roll, (0.0, 0.0, height))
    climb = directions(view)[..., 2]
    expected = np.where(climb < 0, -height / np.where(climb < 0, climb, -1), 0)
    clear = (np.abs(climb) > 1e-4) & (np.abs(expected - 40) > 1e-2)
    expected[expected > 40] = 0
    np.testing.assert_allclose(depth_of(floor(), view, 40.0)[clear], expected[clear], rtol=2e-4)


def test_depth_is_along_the_optical_axis_not_along_the_ray():
    wall = Site()
    wall.box((7, 0, -50), (2, 100, 100), GREY)
    np.testing.assert_allclose(depth_of(wall, camera()), 6 - EYE[0], rtol=1e-5)


@pytest.mark.parametrize("pitch", [-0.4, 0.0, 0.1])
def test_depth_of_a_sphere(pitch):
    view, centre, radius = camera(0.2, pitch), np.array([4.0, 0.7, 1.2]), 0.9
    ball = Site()
    ball.ball((4.0, 0.7, 1.2), (radius, radius, radius), GREY)
    rays, offset = directions(view), np.array(EYE) - centre
    a, b, c = (rays**2).sum(-1), rays @ offset, offset @ offset - radius**2
    inside = b * b - a * c
    expected = np.where(inside > 0, (-b - np.sqrt(np.maximum(inside, 0))) / a, 0)
    clear = np.abs(inside) > 1e-3
    assert (expected > 0).sum() > 100
    np.testing.assert_allclose(depth_of(ball, view)[clear], expected[clear], rtol=1e-4)


@pytest.mark.parametrize("turn", [0.0, 0.6])
def test_depth_of_a_box_and_of_a_room_from_inside(turn):
    view, centre, half = camera(0.1, -0.15), np.array([3.0, 0.2, 1.0]), np.array([0.5, 0.8, 0.6])
    cos, sin = math.cos(turn), math.sin(turn)
    axes = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    start, heading = axes @ (np.array(EYE) - centre), directions(view) @ axes.T
    first, second = (-half - start) / heading, (half - start) / heading
    near, far = np.minimum(first, second).max(-1), np.maximum(first, second).min(-1)
    expected = np.where(near < far, near, 0)
    box = Site()
    box.at(3.0, 0.2, 0.4, turn).box((0, 0, 0), (1.0, 1.6, 1.2), GREY)
    clear = np.abs(far - near) > 1e-3
    assert (expected > 0).sum() > 100
    np.testing.assert_allclose(depth_of(box, view)[clear], expected[clear], rtol=1e-4)

    room = Site()
    room.box((0, 0, 0), (4.0, 6.0, 2.5), GREY)
    heading, start = directions(view), np.array(EYE) - [0, 0, 1.25]
    walls = ((np.sign(heading) * [2.0, 3.0, 1.25] - start) / heading).min(-1)
    np.testing.assert_allclose(depth_of(room, view), walls, rtol=1e-4)


def test_depth_of_an_upright_cylinder():
    view, radius = camera(0.0, -0.3), 0.4
    post = Site()
    post.cylinder((2.5, 0.0, 0.0), radius, 1.2, GREY)
    rays, start = directions(view), np.array(EYE) - [2.5, 0.0, 0.0]
    a, b = (rays[..., :2] ** 2).sum(-1), rays[..., :2] @ start[:2]
    inside = b * b - a * (start[:2] @ start[:2] - radius**2)
    root = np.sqrt(np.maximum(inside, 0))
    side, cap = (-b - root) / a, (1.2 - start[2]) / rays[..., 2]
    on_side = (inside > 0) & (start[2] + side * rays[..., 2] < 1.2) & (start[2] + side * rays[..., 2] > 0)
    on_cap = (np.hypot(start[0] + cap * rays[..., 0], start[1] + cap * rays[..., 1]) < radius) & (cap > 0)
    expected = np.where(on_cap, cap, np.where(on_side, side, 0))
    found = depth_of(post, view)
    assert on_cap.sum() > 20
    assert on_side.sum() > 100
    assert np.mean(np.abs(found - expected) < 1e-3) > 0.98  # the rest are silhouettes, decided by rounding


def reference(view, centre, axes, meet):
    """Depth [H, W], `meet` giving the first crossing for a start [3] and headings [..., 3] in a solid's own axes."""
    return meet(axes @ (np.array(EYE) - centre), directions(view) @ axes.T)


def turned(angle):
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])


def test_depth_of_a_turned_ellipsoid_of_three_radii():
    view, radii = camera(0.1, -0.1), np.array([0.9, 0.5, 0.3])
    site = Site()
    site.at(3.0, 0.2, 1.1, 0.7).ball((0, 0, 0), (0.9, 0.5, 0.3), GREY)

    def meet(start, heading):
        start, heading = start / radii, heading / radii
        a, b, c = (heading**2).sum(-1), heading @ start, start @ start - 1
        return np.where(b * b > a * c, (-b - np.sqrt(np.maximum(b * b - a * c, 0))) / a, 0)

    expected, found = reference(view, [3.0, 0.2, 1.1], turned(0.7), meet), depth_of(site, view)
    assert (expected > 0).sum() > 100
    assert np.mean(np.abs(found - expected) < 1e-3) > 0.995  # the rest are silhouettes, decided by rounding


def test_depth_of_a_lying_cylinder():
    view, radius, half = camera(0.0, -0.2), 0.6, 0.35
    site = Site()
    site.at(2.5, 0.1, 0.9, 0.5).wheel((0, 0, 0), radius, 2 * half, GREY)

    def meet(start, heading):
        a, b = (heading[..., 1:] ** 2).sum(-1), heading[..., 1:] @ start[1:]
        inside = b * b - a * (start[1:] @ start[1:] - radius**2)
        reach = np.sqrt(np.maximum(inside, 0))
        first, second = ((side * half - start[0]) / heading[..., 0] for side in (-1, 1))
        near = np.maximum((-b - reach) / a, np.minimum(first, second))
        far = np.minimum((-b + reach) / a, np.maximum(first, second))
        return np.where((inside > 0) & (near < far), near, 0)

    expected, found = reference(view, [2.5, 0.1, 0.9], turned(0.5), meet), depth_of(site, view)
    assert (expected > 0).sum() > 100
    assert np.mean(np.abs(found - expected) < 1e-3) > 0.995


@pytest.mark.parametrize("taper", [(0.5, 0.2), (1.0, 0.0), (0.0, 0.9)])
def test_depth_of_a_tapered_box(taper):
    view, size = camera(0.1, -0.2), np.array([1.4, 1.0, 0.9])
    site = Site()
    site.at(3.0, 0.1, 0.5, 0.6).box((0, 0, 0), (1.4, 1.0, 0.9), GREY, taper=taper)

    def meet(start, heading):
        near, far = np.zeros(heading.shape[:2]), np.full(heading.shape[:2], np.inf)
        for axis in (0, 1):
            lean = size[axis] * taper[axis] / 2 / size[2]  # each side leans in by so many metres a metre of height
            for side in (-1, 1):
                normal = np.array([0.0, 0.0, lean])
                normal[axis] = side
                near, far = clipped(near, far, size[axis] / 2 - normal @ start, heading @ normal)
        near, far = clipped(near, far, size[2] - start[2], heading[..., 2])
        near, far = clipped(near, far, start[2], -heading[..., 2])
        return np.where(near < far, near, 0)

    def clipped(near, far, room, speed):
        time = room / speed
        return np.where(speed < 0, np.maximum(near, time), near), np.where(speed > 0, np.minimum(far, time), far)

    expected, found = reference(view, [3.0, 0.1, 0.5], turned(0.6), meet), depth_of(site, view)
    assert (expected > 0).sum() > 100
    assert np.mean(np.abs(found - expected) < 1e-3) > 0.995


def test_gable_slopes_as_steep_as_it_is_tapered():
    roof = Site()
    roof.box((0, 0, 0), (2.0, 2.0, 1.0), GREY, taper=(1.0, 0.0))
    x = np.array([-0.75, -0.5, 0.0, 0.25], np.float32)
    for along in x:
        distance, _ = Bundle(np.array([along, 0.1, 5], np.float32), np.array([[0], [0], [-1]], np.float32)).nearest(
            roof.solids
        )
        assert 5 - distance[0] == pytest.approx(1 - abs(along), abs=1e-5)


def test_nearest_agrees_with_trying_every_solid_on_every_ray():
    rng = np.random.default_rng(3)
    site = Site()
    for _ in range(60):
        x, y, z, size, turn = (float(a) for a in rng.uniform((-9, -9, -4, 0.1, 0), (9, 9, 4, 2, 3)))
        spot = site.at(x, y, z, turn)
        match rng.integers(4):
            case 0:
                spot.box((0, 0, 0), (size, 2 * size, size), GREY)
            case 1:
                spot.ball((0, 0, 0), (size, size / 2, size), GREY)
            case 2:
                spot.wheel((0, 0, 0), size, 0.5 * size, GREY)
            case _:
                spot.box((0, 0, 0), (size, size, size), GREY, taper=(0.5, 0.2))
    origin = np.array([0.5, -0.2, 0.1], np.float32)
    rays = rng.normal(size=(3, 3000)).astype(np.float32)
    rays = rays[:, np.argsort(np.arctan2(rays[1], rays[0]))]
    rays /= np.linalg.norm(rays, axis=0)
    all_met = np.stack([solid.meet(origin, rays) for solid in site.solids])
    distance, index = Bundle(origin, rays).nearest(site.solids)
    np.testing.assert_allclose(distance, all_met.min(axis=0), rtol=1e-4)
    hit = np.isfinite(distance)
    assert 0.2 < hit.mean() < 1
    assert (index[~hit] == -1).all()
    assert np.mean(index[hit] == all_met.argmin(axis=0)[hit]) > 0.999
    reach = rng.uniform(0, 12, 3000).astype(np.float32)
    np.testing.assert_array_equal(Bundle(origin, rays).nearest(site.solids, reach)[1] >= 0, all_met.min(axis=0) < reach)


def test_light_falls_off_with_the_square_and_things_cast_shadows():
    site = floor()
    lamp = Lamp((0.0, 0.0, 2.0), (4.0, 4.0, 4.0))
    straight = np.array([[0], [0], [-1]], np.float32)

    def seen(x):
        scene = Scene("room", (EYE, EYE), site.solids, (), (lamp,), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
        return float(radiance(scene, np.array([x, 0, 5], np.float32), straight, 1.0)[0][0, 0])

    under, aside = seen(0.0), seen(2.0)
    assert under == pytest.approx(0.5**2.2, rel=1e-3)
    assert aside / under == pytest.approx(4 / 8 * math.cos(math.pi / 4), rel=1e-3)
    site.box((0.9, 0, 0.9), (0.2, 1, 0.2), GREY)
    assert seen(2.0) == 0
    assert seen(-2.0) == pytest.approx(aside, rel=1e-3)


@given(x=st.floats(-20, 20), width=st.floats(0.02, 5), duty=st.floats(0.1, 0.9))
def test_pulse_is_the_average_of_the_wave(x, width, duty):
    at = x + width * ((np.arange(20000) + 0.5) / 20000 - 0.5)
    expected = np.mean(at - np.floor(at) < duty)
    assert pulse(np.array([x]), np.array([width]), duty)[0] == pytest.approx(expected, abs=2e-3)


def test_patterns_finer_than_a_pixel_melt_into_their_mean_colour():
    u = np.linspace(0, 3, 50, dtype=np.float32)
    wide = np.full(50, 40.0, np.float32)
    for checked in (True, False):
        pattern = stripes((0.9, 0.9, 0.9), (0.1, 0.1, 0.1), 0.2, checked=checked).pattern
        np.testing.assert_allclose(pattern(u, 0.35 * u, wide, wide), (0.9**2.2 + 0.1**2.2) / 2, rtol=0.02)
        fine = pattern(u, 0.35 * u, 0 * wide, 0 * wide)
        assert fine.max() > 0.7
        assert fine.min() < 0.01


def test_sky_and_what_is_too_far_have_no_depth():
    depth = depth_of(floor(), camera(), 8.0)
    assert depth.dtype == np.float32
    assert (depth[: HEIGHT // 2] == 0).all()
    assert depth.max() <= 8
    assert (depth[-1] > 0).all()
