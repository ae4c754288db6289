import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spaceclip.cache import DepthSpec, SpaceClipError
from spaceclip.extract.samples import _counts
from spaceclip.extract.sources.folder.depth_maps import depth_header, read_depth

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
COUNTS = RNG.integers(1, 20000, (6, 9), dtype=np.uint16)
METRES = RNG.uniform(0.5, 80, (6, 9)).astype(np.float32)


def save(path: Path, pixels: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    return path


def message(read, *arguments, **options) -> str:
    with pytest.raises(SpaceClipError) as caught:
        read(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".tif", ".npy"])
@pytest.mark.parametrize("scale", [256, 1000])
def test_16_bit_counts_are_divided_by_the_scale(tmp_path, suffix, scale):
    path = save(tmp_path / f"a{suffix}", COUNTS)
    depth = read_depth(path, scale)
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, (COUNTS.astype(np.float64) / scale).astype(np.float32))
    assert depth_header(path).size == (6, 9)
    assert depth_header(path).dtype.itemsize == 2


@pytest.mark.parametrize("suffix", [".tiff", ".npy"])
def test_float_depth_is_metres_unless_scaled(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", METRES)
    np.testing.assert_array_equal(read_depth(path), METRES)
    np.testing.assert_allclose(read_depth(path, 4), METRES / 4, rtol=1e-7)
    assert depth_header(path).size == (6, 9)
    assert depth_header(path).dtype.kind == "f"


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 1), (1, 6, 9)])
@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32, np.uint16, np.int64])
def test_npy_shapes_and_types(tmp_path, shape, dtype):
    path = save(tmp_path / "a.npy", COUNTS.astype(dtype).reshape(shape))
    expected = COUNTS.astype(dtype).astype(np.float64) / 1000
    np.testing.assert_array_equal(read_depth(path, 1000), expected.astype(np.float32))
    assert depth_header(path).size == (6, 9)


@pytest.mark.parametrize("shape", [(9,), (2, 6, 9), (1, 1, 6, 9)])
def test_npy_of_another_shape_is_refused(tmp_path, shape):
    path = save(tmp_path / "a.npy", np.ones(shape, np.float32))
    assert f"has shape {list(shape)}" in message(read_depth, path)


@pytest.mark.parametrize(
    ("pixels", "words"), [(GREY, "an 8-bit image (mode L)"), (RGB, "a colour image (mode RGB)"), (GREY > 9, "8-bit")]
)
def test_pictures_of_depth_are_no_depth(tmp_path, pixels, words):
    path = save(tmp_path / "a.png", pixels)
    assert words in message(read_depth, path, 1000)
    assert "16-bit integers or of floats" in message(depth_header, path)


@pytest.mark.parametrize("values", [GREY, GREY > 9, METRES.astype(np.complex64), METRES.astype(str)])
def test_npy_of_a_type_that_holds_no_metres_is_refused(tmp_path, values):
    assert "expected floats, or integers of 16 bits" in message(read_depth, save(tmp_path / "a.npy", values), 1000)


def test_pickled_and_damaged_npy_are_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "cannot be read" in message(read_depth, path)
    save(path, METRES)
    path.write_bytes(path.read_bytes()[:-8])
    assert "damaged or cut short" in message(read_depth, path)
    whole = bytearray(save(path, METRES).read_bytes())
    whole[whole.index(b")")] = ord(" ")  # the header's shape is never closed
    path.write_bytes(whole)
    assert "cannot be read" in message(depth_header, path)
    path.write_bytes(b"not numpy's")
    assert "cannot be read" in message(depth_header, path)
    np.savez(tmp_path / "b", METRES)
    (tmp_path / "b.npz").rename(path)
    assert "cannot be read" in message(read_depth, path)


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_integers_without_a_scale_ask_for_it(tmp_path, suffix):
    assert "--depth-scale" in message(read_depth, save(tmp_path / f"a{suffix}", COUNTS))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("suffix", [".tiff", ".npy"])
def test_non_finite_depth_is_refused_or_invalid(tmp_path, bad, suffix):
    values = METRES.copy()
    values[2, 3:5] = bad
    path = save(tmp_path / f"a{suffix}", values)
    text = message(read_depth, path)
    assert "2 NaN or infinite values" in text
    assert "--nan-is-invalid" in text
    expected = METRES.copy()
    expected[2, 3:5] = 0
    np.testing.assert_array_equal(read_depth(path, nan_is_invalid=True), expected)


def test_values_beyond_float32_are_not_silently_infinite(tmp_path):
    assert "1 NaN or infinite" in message(read_depth, save(tmp_path / "a.npy", np.array([[1.0, 1e300]])))


def test_negative_depth_is_refused(tmp_path):
    text = message(read_depth, save(tmp_path / "a.npy", np.array([[1.0, -1.0, -2.5]])))
    assert "2 negative values (down to -2.5)" in text


def test_depth_without_a_measurement_is_refused(tmp_path):
    assert "every value is 0" in message(read_depth, save(tmp_path / "a.png", COUNTS * 0), 1000)
    assert "every value is 0" in message(
        read_depth, save(tmp_path / "a.npy", METRES * np.float32(np.nan)), nan_is_invalid=True
    )


def test_implausibly_far_depth_asks_for_its_unit(tmp_path):
    far = np.zeros((4, 5), np.float32)
    far[1:3] = 1530
    path = save(tmp_path / "a.npy", far)
    assert message(read_depth, path).endswith(
        "median depth 1530 m: is the unit right? "
        "with millimetres pass --depth-scale 1000; if these are metres pass --allow-far"
    )
    np.testing.assert_array_equal(read_depth(path, allow_far=True), far)
    assert read_depth(path, 1000).max() == np.float32(1.53)


def test_implausibly_near_depth_asks_for_its_unit(tmp_path):
    path = save(tmp_path / "a.png", np.full((4, 5), 5000, np.uint16))
    assert "median depth 0.005 m: is the unit right?" in message(read_depth, path, 1_000_000)
    assert read_depth(path, 1_000_000, allow_far=True).max() == np.float32(0.005)
    assert read_depth(path, 100_000).max() == np.float32(0.05)


def test_the_far_limit_looks_at_measured_pixels_only(tmp_path):
    sparse = np.zeros((4, 5), np.float32)
    sparse[0, 0] = 300
    assert "median depth 300 m" in message(read_depth, save(tmp_path / "a.npy", sparse))
    sparse[0, 1:3] = 200
    np.testing.assert_array_equal(read_depth(save(tmp_path / "a.npy", sparse)), sparse)


def test_headers_are_parsed_by_one_thread_at_a_time(tmp_path, monkeypatch):
    path, parse, inside, overlaps = save(tmp_path / "a.npy", METRES), np.lib.format.open_memmap, [], []

    def slow(*arguments, **options):
        inside.append(1)
        time.sleep(0.002)
        overlaps.append(len(inside) > 1)
        inside.pop()
        return parse(*arguments, **options)

    monkeypatch.setattr(np.lib.format, "open_memmap", slow)
    with ThreadPoolExecutor(8) as pool:
        assert {header.size for header in pool.map(depth_header, [path] * 16)} == {(6, 9)}
    assert overlaps == [False] * 16


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_map_that_is_read_in_pieces_is_whole(tmp_path, monkeypatch, at):
    monkeypatch.setattr("spaceclip.extract.preprocess._PIXELS", (1, 10, 1000)[at])
    counts = np.arange(1, 36, dtype=np.uint16).reshape(5, 7)
    np.save(tmp_path / "a.npy", counts)
    np.testing.assert_array_equal(read_depth(tmp_path / "a.npy", 10.0), (counts / 10).astype(np.float32))
    spec = DepthSpec(0.1, (5, 7), counts="uint16")
    np.testing.assert_array_equal(_counts("a", (counts / 10).astype(np.float32), spec), counts)
    for wrong in (np.nan, np.inf, -1.0, 7000.0):
        depth = np.ones((5, 7), np.float32)
        depth[4, 3] = wrong
        with pytest.raises(SpaceClipError, match=r"^a: depth from"):
            _counts("a", depth, spec)
