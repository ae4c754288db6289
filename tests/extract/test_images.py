import errno
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from spaceclip.cache import SpaceClipError
from spaceclip.extract.sources.folder.depth_maps import depth_header, read_depth
from spaceclip.extract.sources.folder.images import ImageHeader, image_header, read_image
from spaceclip.extract.sources.folder.raster import allow_pixels

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (6, 9), dtype=np.uint16)
METRES = RNG.uniform(0.5, 80, (6, 9)).astype(np.float32)


def write_png16(path: Path, pixels: np.ndarray, size: tuple[int, int] | None = None) -> Path:
    """A 16-bit RGB png, which Pillow cannot write, by the letter of the format; `size` lies about height and width."""
    height, width = size or pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def message(read, *arguments, **options) -> str:
    with pytest.raises(SpaceClipError) as caught:
        read(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff"])
def test_lossless_rgb_comes_back_as_it_was(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", RGB)
    np.testing.assert_array_equal(read_image(path), RGB)
    assert image_header(path).size == (6, 9)


def test_webp_lossless_comes_back_as_it_was(tmp_path):
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.webp", RGB, lossless=True)), RGB)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg_comes_back_nearly(tmp_path, suffix):
    flat = np.full((16, 24, 3), (200, 30, 90), np.uint8)
    read = np.asarray(read_image(save(tmp_path / f"a{suffix}", flat, quality=95)))
    assert read.shape == flat.shape
    assert read.dtype == np.uint8
    np.testing.assert_allclose(read.astype(int), flat, atol=4)


def test_grey_is_repeated(tmp_path):
    read = read_image(save(tmp_path / "a.png", GREY))
    np.testing.assert_array_equal(read, np.stack([GREY] * 3, axis=-1))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_grey_keeps_its_upper_byte(tmp_path, suffix):
    read = read_image(save(tmp_path / f"a{suffix}", GREY16))
    np.testing.assert_array_equal(read, np.stack([GREY16 // 256] * 3, axis=-1))


def test_big_endian_16_bit_grey_keeps_its_upper_byte(tmp_path):
    read = read_image(save(tmp_path / "a.tiff", GREY16.astype(">u2")))
    np.testing.assert_array_equal(np.asarray(read)[..., 1], GREY16 // 256)


def test_16_bit_rgb_keeps_its_upper_byte(tmp_path):
    pixels = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)
    np.testing.assert_array_equal(read_image(write_png16(tmp_path / "a.png", pixels)), pixels // 256)


def test_transparency_is_dropped(tmp_path):
    rgba = np.concatenate([RGB, GREY[..., None]], axis=-1)
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", rgba)), RGB)


@pytest.mark.parametrize("transparency", [None, 0, b"\x00\x80\xff"])
def test_palette_colours_are_looked_up(tmp_path, transparency):
    colours = np.array([(255, 0, 0), (0, 200, 10), (7, 8, 9)], np.uint8)
    indices = RNG.integers(0, 3, (6, 9), dtype=np.uint8)
    picture = Image.fromarray(indices, "L")
    picture.putpalette(colours.tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    picture.save(tmp_path / "a.png", **options)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), colours[indices])


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def test_raster_is_read_as_stored_unless_it_is_wanted_upright(tmp_path):
    path = save(tmp_path / "a.png", RGB, exif=exif(6))
    np.testing.assert_array_equal(read_image(path), RGB)
    assert image_header(path) == ImageHeader((6, 9), turned=True)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_pillow_makes_of_it(tmp_path, suffix, orientation):
    path = save(tmp_path / f"a{suffix}", RGB, exif=exif(orientation), lossless=True)
    with Image.open(path) as picture:
        expected = np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    np.testing.assert_array_equal(read_image(path, upright=True), expected)


@pytest.mark.filterwarnings("ignore:(C|Possibly c)orrupt EXIF data")  # of Pillow, as it opens the file
@pytest.mark.parametrize("data", [b"", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x09", b"Exif\0\0II*\0" + b"\xff" * 40])
def test_broken_exif_turns_nothing(tmp_path, data):
    path = save(tmp_path / "a.jpg", np.full((6, 9, 3), 128, np.uint8), exif=data)
    assert read_image(path, upright=True).size == (9, 6)
    assert not image_header(path).turned


@pytest.mark.parametrize("read", [read_image, image_header, read_depth, depth_header])
@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_missing_and_empty_files_are_named(tmp_path, read, suffix):
    path = tmp_path / f"a{suffix}"
    assert f"{path} does not exist" in message(read, path)
    path.mkdir()
    assert f"{path} is a folder" in message(read, path)
    path.rmdir()
    path.touch()
    assert f"{path} is empty (0 bytes)" in message(read, path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".bmp"])
def test_truncated_images_are_refused(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", RNG.integers(0, 256, (64, 80, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "damaged or cut short" in message(read_image, path)


def test_non_images_are_refused_by_both_readers(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_text("<html>not found</html>")
    assert "not a readable image (.jpg" in message(read_image, path)
    assert "not a readable image" in message(image_header, path)
    assert "not a readable depth map (.png" in message(read_depth, path)


def test_formats_outside_the_list_are_refused_under_any_name(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png", format="GIF")
    assert "not a readable image" in message(read_image, tmp_path / "a.png")


def test_decompression_bombs_are_refused(tmp_path):
    path = write_png16(tmp_path / "a.png", RGB.astype(np.uint16), size=(30000, 30000))
    assert "is too large (900000000 pixels), expected at most 89,478,485 pixels: shrink or remove it" in message(
        read_image, path
    )


def test_what_pillow_only_warns_of_is_refused_too(tmp_path):
    path = write_png16(tmp_path / "a.png", RGB.astype(np.uint16), size=(10_000, 10_000))
    for read in (read_image, image_header):
        assert "expected at most 89,478,485 pixels: shrink or remove it (extraction takes what max_pixels" in message(
            read, path
        )


def test_the_limit_of_pixels_is_a_setting(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    path, depth = save(tmp_path / "a.png", RGB), save(tmp_path / "d.png", GREY16)
    assert "is too large" in message(read_image, path, max_pixels=1000)  # Pillow's own
    allow_pixels(54)
    np.testing.assert_array_equal(read_image(path, max_pixels=54), RGB)
    assert "is too large (6 x 9 pixels), expected at most 53 pixels" in message(read_image, path, max_pixels=53)
    assert "is too large (6 x 9 pixels)" in message(read_depth, depth, 1000, max_pixels=53)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path, depth = save(tmp_path / "a.png", RGB), save(tmp_path / "d.png", GREY16)

    def refuse(*_arguments, **_options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Image, "open", refuse)  # who runs the tests as root may read everything
    for told in (message(read_image, path), message(read_depth, depth, 1000)):
        assert told.endswith("cannot be read (Permission denied): give yourself permission to read it")


def test_float_and_wide_integer_rasters_are_no_images(tmp_path):
    assert "is it a depth map?" in message(read_image, save(tmp_path / "a.tiff", METRES))
    assert "8 or 16 bits" in message(read_image, save(tmp_path / "b.tiff", np.full((4, 5), 70000, np.int32)))
