import numpy as np
import pytest
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import crop_mask


@pytest.mark.parametrize(
    ("name", "size", "rows", "columns"),
    [
        ("none", (7, 9), (0, 7), (0, 9)),
        ("garg", (375, 1242), (153, 371), (44, 1197)),
        ("garg", (352, 1216), (143, 349), (43, 1172)),
        ("kitti_eigen", (375, 1242), (124, 342), (44, 1197)),
        ("nyu_eigen", (480, 640), (45, 471), (41, 601)),
    ],
)
def test_a_crop_keeps_exactly_its_rectangle(name, size, rows, columns):
    expected = np.zeros(size, dtype=bool)
    expected[slice(*rows), slice(*columns)] = True
    mask = crop_mask(name, *size)
    assert mask.dtype == np.bool_
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize(
    ("name", "size", "pixels"),
    [("nyu_eigen", (480, 640), 238_560), ("garg", (375, 1242), 251_354), ("garg", (352, 1216), 232_574)],
)
def test_the_published_areas_hold(name, size, pixels):
    assert crop_mask(name, *size).sum() == pixels


@pytest.mark.parametrize(
    ("name", "hint"),
    [("grag", "did you mean garg?"), ("kitti-eigen", "did you mean kitti_eigen?"), ("xyz", "choose one of these")],
)
def test_an_unknown_crop_is_refused_with_the_known_ones_and_the_nearest(name, hint):
    with pytest.raises(SpaceClipError) as refusal:
        crop_mask(name, 480, 640)
    expected = f"crop {name!r} is unknown, expected one of none, garg, kitti_eigen, nyu_eigen: {hint}"
    assert str(refusal.value) == expected


def test_the_nyu_crop_is_refused_at_another_size():
    with pytest.raises(SpaceClipError, match="ground truth of 240 x 320, expected 480 x 640"):
        crop_mask("nyu_eigen", 240, 320)
