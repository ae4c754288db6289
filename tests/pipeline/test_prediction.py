"""From an image to metres with one class, against the cached path and independent geometry."""

import io
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colormaps
from PIL import Image, ImageShow
from spaceclip.cache import FeatureCache, SpaceClipError
from spaceclip.evaluate import decode, predict
from spaceclip.pipeline.prediction import DepthMap, Intrinsics, SpaceClip, first_row, hub
from spaceclip.pipeline.prediction import model as model_module
from spaceclip.pipeline.prediction.files import FORMATS, encoded, said_of_kinds
from torch.nn.functional import interpolate

EXIF_ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def folder(trained_once):
    return trained_once / "results/tiny"


@pytest.fixture(scope="module")
def model(folder, tiny):
    return SpaceClip.from_pretrained(folder, backbone=tiny, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def test_split(trained_once):
    return FeatureCache.open(trained_once / "features/tiny/test.json")


@pytest.fixture
def photo():
    return np.random.default_rng(3).integers(0, 256, (30, 20, 3), dtype=np.uint8)


def depth_map(depth, high=10.0, image=None):
    image = np.zeros((*depth.shape, 3), np.uint8) if image is None else image
    return DepthMap(depth.astype(np.float32), image, (0.001, high), facts={"Checkpoint": "abc"})


@pytest.mark.parametrize("flip_average", [False, True])
def test_depth_is_that_of_the_cached_path_up_to_the_rounding_of_float16(model, test_split, pictures, flip_average):
    files = [pictures / "rgb" / f"{sample}.png" for sample in test_split.sample_ids]
    found = model.predict(files, flip_average=flip_average)
    cached = predict(model.decoder, test_split, flip_average=flip_average, precision="float32")
    for one, row in zip(found, cached, strict=True):
        assert one.depth.shape == (24, 32)
        assert one.depth.dtype == np.float32
        depth = row.depths["averaged" if flip_average else "plain"][None, None]
        expected = interpolate(depth, (24, 32), mode="bilinear", align_corners=False)[0, 0].numpy()
        np.testing.assert_allclose(one.depth, expected, rtol=1e-3)


def test_what_the_encoder_sees_and_says_is_what_the_store_holds(model, test_split, pictures):
    files = [pictures / "rgb" / f"{sample}.png" for sample in test_split.sample_ids]
    prepared = torch.from_numpy(np.stack([model.prepare(Image.open(file)) for file in files])).permute(0, 3, 1, 2)
    found = model.backbone.encode(prepared, model.decoder.settings.layers)
    states = {layer: state.half() for layer, state in found.states.items()}
    depth = decode(model.decoder, states, found.pooled, "float32")[:, 0]
    cached = torch.stack(
        [row.depths["plain"] for row in predict(model.decoder, test_split, flip_average=False, precision="float32")]
    )
    np.testing.assert_allclose(depth.numpy(), cached.numpy(), rtol=1e-5)


def test_files_pictures_and_arrays_give_one_depth(model, photo, tmp_path):
    file = tmp_path / "a.png"
    Image.fromarray(photo).save(file)
    alpha = np.dstack([photo, np.full(photo.shape[:2], 7, np.uint8)])
    expected = model.predict(file).depth
    given = [str(file), Image.fromarray(photo), photo, alpha, photo.astype(np.uint16) * 256 + 99, Image.open(file)]
    for one in model.predict(given):
        np.testing.assert_allclose(one.depth, expected, rtol=1e-5)
        np.testing.assert_array_equal(one.image, photo)
    assert model.predict([]) == []
    assert [one.depth.shape for one in model.predict(iter([photo, str(file)]))] == [(30, 20)] * 2


@pytest.mark.parametrize("mode", ["L", "LA", "P", "CMYK", "I;16", "1"])
def test_other_kinds_of_pictures_are_read_as_extraction_reads_them(model, photo, tmp_path, mode):
    grey16 = photo[..., 0].astype(np.uint16) * 200
    picture = Image.fromarray(grey16) if mode == "I;16" else Image.fromarray(photo).convert(mode)
    file = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    picture.save(file)
    from_file, from_memory = model.predict([file, picture])
    np.testing.assert_array_equal(from_file.image, from_memory.image)
    assert from_file.depth.shape == (30, 20)


def test_a_photograph_is_turned_as_its_exif_data_asks(model, photo, tmp_path):
    file, exif = tmp_path / "a.jpg", Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    Image.fromarray(photo).save(file, exif=exif, quality=95)
    turned = np.rot90(np.asarray(Image.open(file)), -1)
    for one in model.predict([file, Image.open(file)]):
        np.testing.assert_array_equal(one.image, turned)
        np.testing.assert_allclose(one.depth, model.predict(np.ascontiguousarray(turned)).depth, rtol=1e-5)


def test_one_pixel_has_a_depth(model):
    assert model.predict(np.zeros((1, 1, 3), np.uint8)).depth.shape == (1, 1)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((4, 4, 3)), r"float64 \[4, 4, 3\]: expected uint8 or uint16 .*floats of 0 to 1 times 255"),
        (np.zeros((4, 4, 2), np.uint8), r"uint8 \[4, 4, 2\]: expected"),
        (np.zeros((0, 4), np.uint8), r"uint8 \[0, 4\]: expected"),
        (Image.new("F", (4, 4)), "holds floats: expected an image of 8 or 16 bits"),
        ("nowhere.jpg", "nowhere.jpg does not exist"),
        ([None], "an image is of type NoneType: expected a path"),
        (None, "an image is of type NoneType: expected a path"),
        (7, "an image is of type int: expected a path"),
        (torch.zeros(4, 4, 3), "an image is of type Tensor: expected a path"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"uint8 \[2, 4, 4, 3\]: expected .* several images as a list"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(model, image, said):
    with pytest.raises(SpaceClipError, match=said) as refused:
        model.predict(image)
    assert "\n" not in str(refused.value)


def test_a_picture_in_memory_that_is_cut_short_is_refused(model, photo):
    content = io.BytesIO()
    Image.fromarray(photo).save(content, "png")
    with pytest.raises(SpaceClipError, match="cannot be decoded"):
        model.predict(Image.open(io.BytesIO(content.getvalue()[:-900])))


def test_the_encoder_is_loaded_at_the_first_image(folder, tiny, photo, monkeypatch):
    loads = []
    load = model_module.load_recorded_backbone
    monkeypatch.setattr(model_module, "load_recorded_backbone", lambda *a, **k: loads.append(a) or load(*a, **k))
    model = SpaceClip.from_pretrained(folder, backbone=tiny, device="cpu")
    assert repr(model).count("\n") == 1
    assert "trained on a folder of images with depth, 0.001 to 10 m, epoch" in repr(model)
    assert not loads
    model.predict([photo, photo])
    assert len(loads) == 1


def test_an_encoder_in_a_folder_that_is_not_recorded_is_asked_for(folder, photo):
    with pytest.raises(SpaceClipError, match=r"was read from a folder that is not recorded: say where it is"):
        SpaceClip.from_pretrained(folder, device="cpu").predict(photo)


def test_an_encoder_of_other_weights_is_refused(folder, photo):
    model = SpaceClip.from_pretrained(folder, backbone="embedded:clip-tiny", device="cpu")
    with pytest.raises(SpaceClipError, match="embedded:clip-tiny has other weights than the one recorded"):
        model.predict(photo)


@pytest.mark.parametrize("size", [[1], [0, 5], ["a", "b"], [10**9, 10**9], {"height": 5}])
def test_a_record_of_impossible_sizes_is_refused(folder, tiny, photo, size):
    model = SpaceClip.from_pretrained(folder, backbone=tiny, device="cpu")
    preprocessing = {**model.info.preprocessing, "target_size": size}
    model.info = model.info.model_copy(update={"preprocessing": preprocessing})
    with pytest.raises(SpaceClipError, match=r"target_size of .*, expected \[height, width\] in pixels"):
        model.predict(photo)


def test_weights_whose_depth_is_no_number_are_refused(folder, tiny, photo):
    model = SpaceClip.from_pretrained(folder, backbone=tiny, device="cpu")
    for weight in model.decoder.parameters():
        weight.data.fill_(3e38)
    with pytest.raises(SpaceClipError, match=r"tiny: gives no number as depth; take another checkpoint"):
        model.predict(photo)


def test_an_encoder_s_name_that_is_no_utf_8_is_spelled_out(folder, tiny, photo, tmp_path):
    model = SpaceClip.from_pretrained(folder, backbone=tiny, device="cpu")
    model.info = model.info.model_copy(update={"backbone": {**model.info.backbone, "name": "caf\udce9"}})
    model._source = tiny
    model.depth_map(photo, torch.ones(8, 8)).save(tmp_path / "depth.png")
    with Image.open(tmp_path / "depth.png") as picture:
        assert picture.info["Encoder"] == r"caf\udce9, random weights, seed 0"
    model.save_pretrained(tmp_path / "saved")
    assert r"caf\udce9" in (tmp_path / "saved/README.md").read_text()


def test_a_record_without_an_encoder_is_refused(folder, photo):
    model = SpaceClip.from_pretrained(folder, device="cpu")
    model.info = model.info.model_copy(update={"backbone": {"name": "embedded:clip-tiny"}})
    with pytest.raises(SpaceClipError, match="the record of the encoder lacks its revision, weights, precision"):
        model.predict(photo)


@pytest.mark.parametrize("name", ["./a", "../b", "~/a/b", "/a/b", "a/b/c", "depth", "results/a", Path("b/a")])
def test_a_path_that_is_nowhere_is_one_line_without_the_hub(tmp_path, monkeypatch, no_network, name):
    (tmp_path / "here/results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(SpaceClipError, match=f"^{name}: no such folder; give the folder of a checkpoint") as refused:
        SpaceClip.from_pretrained(name)
    assert "\n" not in str(refused.value)
    assert no_network == []


def test_a_mistyped_path_says_which_checkpoints_lie_beside_it(trained_once, no_network, monkeypatch):
    monkeypatch.chdir(trained_once)
    with pytest.raises(SpaceClipError, match=r"^results/tinny: no such folder \(results has checkpoints tiny\);"):
        SpaceClip.from_pretrained("results/tinny")
    assert no_network == []


def test_what_can_be_a_path_or_an_id_asks_the_hub_once_and_says_both(tmp_path, monkeypatch, no_network):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpaceClipError, match=r"^a/depth: no such folder, and no checkpoint.*the hub cannot be reached"):
        SpaceClip.from_pretrained("a/depth")
    Path("a").mkdir()
    with pytest.raises(SpaceClipError, match="the hub cannot be reached"):
        SpaceClip.from_pretrained("a/depth", revision="main")
    assert len(no_network) <= 4  # of two attempts


def test_a_home_folder_is_found_where_no_shell_has_done_so(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert SpaceClip.from_pretrained("~/tiny", device="cpu").info.epoch


def test_a_checkpoint_of_the_hub_is_fetched(folder, tiny, photo, monkeypatch):
    asked = []

    def fetch(name, file, revision):
        asked.append((name, file, revision))
        return folder / file

    monkeypatch.setattr(hub, "hub_file", fetch)
    model = SpaceClip.from_pretrained("somebody/depth", revision="v1", backbone=tiny, device="cpu")
    assert model.predict(photo).depth.shape == (30, 20)
    assert asked == [("somebody/depth", name, "v1") for name in ("checkpoint.json", "checkpoint.safetensors")]


def test_valid_is_the_range_of_the_training():
    found = depth_map(np.array([[0, 0.5, 9.9, 10, 12]]))
    assert found.valid.tolist() == [[False, True, True, False, False]]
    assert repr(found).count("\n") == 1
    assert "40% valid" in repr(found)


cameras = st.tuples(st.floats(5, 500), st.floats(5, 500), st.floats(0, 19), st.floats(0, 11))


@pytest.mark.filterwarnings("ignore:.*(far from the middle|field of view):UserWarning")
@settings(max_examples=20)
@given(cameras, st.integers(0, 2**32 - 1))
def test_points_project_onto_their_own_pixels(camera, seed):
    depth = np.random.default_rng(seed).uniform(0.1, 9, (12, 20))
    depth[3, 4] = 0
    found = depth_map(depth)
    fx, fy, cx, cy = camera
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    for intrinsics in (camera, matrix):
        points = found.points(intrinsics)
        projected = points @ matrix.T
        rows, columns = np.nonzero(found.valid)
        assert len(points) == 12 * 20 - 1
        np.testing.assert_allclose(projected[:, 0] / projected[:, 2], columns, atol=0.01)
        np.testing.assert_allclose(projected[:, 1] / projected[:, 2], rows, atol=0.01)
        np.testing.assert_array_equal(points[:, 2], found.depth[found.valid])


def test_a_point_cloud_file_holds_points_and_colours(photo):
    depth = np.random.default_rng(0).uniform(1, 9, (30, 20))
    found = depth_map(depth, image=photo)
    header, _, body = encoded(found, "ply").partition(b"end_header\n")
    lines = header.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert any("60.0 degrees across, guessed" in line for line in lines)
    assert "element vertex 600" in lines
    vertices = np.frombuffer(body, "<f4,<f4,<f4,u1,u1,u1")
    assert len(vertices) == 600
    np.testing.assert_array_equal(np.stack([vertices[f"f{axis}"] for axis in range(3)], 1), found.points())
    np.testing.assert_array_equal(np.stack([vertices[f"f{axis}"] for axis in (3, 4, 5)], 1), photo.reshape(-1, 3))


@settings(max_examples=10)
@given(cameras, st.integers(0, 2**32 - 1))
def test_the_points_of_a_gltf_file_project_onto_their_own_pixels(camera, seed):
    draw = np.random.default_rng(seed)
    image, depth = draw.integers(0, 256, (12, 20, 3), dtype=np.uint8), draw.uniform(0.1, 9, (12, 20))
    depth[3, 4] = 0
    found = replace(depth_map(depth, image=image), intrinsics=Intrinsics.of((12, 20), camera))
    content = encoded(found, "glb")
    assert struct.unpack("<4sII", content[:12]) == (b"glTF", 2, len(content))
    (length,) = struct.unpack("<I", content[12:16])
    described, body = json.loads(content[20 : 20 + length]), content[20 + length :]
    assert struct.unpack("<I4s", body[:8]) == (len(body) - 8, b"BIN\0")
    position, colour = described["accessors"]
    view = described["bufferViews"][0]
    rows = np.frombuffer(body[8:], np.uint8).reshape(-1, view["byteStride"])
    assert len(rows) == position["count"] == colour["count"] == 12 * 20 - 1
    points = rows[:, :12].copy().view("<f4") * [1, -1, -1]  # its y is up, and it looks along -z
    np.testing.assert_array_equal(
        [position["min"], position["max"]], [(points * [1, -1, -1]).min(0), (points * [1, -1, -1]).max(0)]
    )
    fx, fy, cx, cy = camera
    rows_of, columns_of = np.nonzero(found.valid)
    np.testing.assert_allclose(fx * points[:, 0] / points[:, 2] + cx, columns_of, atol=0.01)
    np.testing.assert_allclose(fy * points[:, 1] / points[:, 2] + cy, rows_of, atol=0.01)
    linear = rows[:, 12:18].copy().view("<u2") / 65535
    back = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(255 * back, image[found.valid], atol=0.1)


def test_large_maps_give_point_clouds_of_a_million_points_at_most():
    found = depth_map(np.full((1500, 1500), 2.0))
    header = encoded(found, "ply").partition(b"end_header\n")[0].decode()
    assert "element vertex 562500" in header
    assert "comment Every: 2 pixels" in header


@settings(max_examples=20)
@given(st.floats(1, 80), st.integers(0, 2**32 - 1))
def test_16_bit_files_read_back_within_half_a_unit(high, seed):
    depth = np.random.default_rng(seed).uniform(0.01, high, (8, 9))
    depth[0, 0], depth[0, 1] = 0, 2 * high
    found = depth_map(depth, high)
    picture = Image.open(io.BytesIO(encoded(found, "png16")))
    counts = 1000 if high <= 65.535 else 256
    assert picture.info["Depth-Scale"] == str(counts)
    assert picture.info["Unit"] == ("millimetre" if counts == 1000 else "1/256 metre")
    stored = np.asarray(picture)
    assert stored.dtype == np.uint16
    assert (np.abs(stored / counts - found.depth)[found.valid] <= 0.500001 / counts).all()
    assert (stored[~found.valid] == 0).all()


def test_depth_beyond_16_bits_is_zero_and_said():
    depth = np.array([[0.5, 255.996, 255.999, 256.5, 299, 301]])
    picture = Image.open(io.BytesIO(encoded(depth_map(depth, 300), "png16")))
    assert np.asarray(picture).tolist() == [[128, 65535, 0, 0, 0, 0]]
    assert picture.info["Zero"] == "not valid (0 beyond 255.996 m)"
    assert said_of_kinds(["npy", "png16"], 80, 300) == "npy, png16 in 1/256 m (0 beyond 255.996 m)"
    assert said_of_kinds(["png16"], 80, 80) == "png16 in 1/256 m"
    assert said_of_kinds(["png16"], 10, 70) == "png16 in millimetres (0 beyond 65.535 m)"


@pytest.mark.parametrize(("taught", "factor", "counts"), [(10, 8, 1000), (80, 0.5, 256)])
def test_the_unit_of_16_bit_files_is_one_for_all_lenses(taught, factor, counts):
    found = replace(depth_map(np.array([[20.0]]), taught * factor), factor=factor)
    picture = Image.open(io.BytesIO(encoded(found, "png16")))
    assert picture.info["Depth-Scale"] == str(counts)
    assert np.asarray(picture).tolist() == [[20 * counts]]


@pytest.mark.parametrize("kind", ["png", "npy", "png16", "ply", "glb", "side"])
def test_a_file_is_of_the_kind_that_predict_gives_its_ending(kind, tmp_path):
    found, file = depth_map(np.full((4, 5), 2.0)), tmp_path / f"a{FORMATS[kind].suffix}"
    found.save(file)
    assert file.read_bytes() == encoded(found, kind)


def test_npy_files_hold_metres(tmp_path):
    found = depth_map(np.random.default_rng(0).uniform(0, 20, (8, 9)))
    found.save(tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), found.depth)


def test_the_coloured_picture_has_a_pixel_for_a_pixel_and_a_scale_beside(tmp_path):
    depth = np.linspace(1, 8, 200)[:, None].repeat(300, 1)
    found = depth_map(depth)
    found.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.info["Checkpoint"] == "abc"
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[0] == 200
    assert 300 < pixels.shape[1] < 400
    assert (pixels[:, :300] == pixels[:, :1]).all()
    # In turbo_r what is near is red, what is far is blue.
    near, far = pixels[5, 0].astype(int), pixels[195, 0].astype(int)
    assert near[0] > near[2] + 50
    assert far[2] > far[0]
    assert Image.open(io.BytesIO(encoded(found, "side"))).width > 600


def test_colours_are_those_of_the_colour_map_at_240_steps_grey_where_depth_is_not_valid():
    depth = np.random.default_rng(0).uniform(1, 9, (70, 90)).astype(np.float32)
    depth[:5], depth[5:8] = np.nan, 11
    found = replace(depth_map(depth), colours=(2.0, 7.0))
    content = encoded(found, "png")
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.mode == "P"
        pixels = np.asarray(picture.convert("RGB"))[first_row(70) :][:70, :90]
    shares = np.log(np.clip(depth[8:].astype(np.float64), 2, 7) / 2) / np.log(7 / 2)
    wanted = np.round(shares * 239) / 239
    expected = colormaps["turbo_r"](wanted, bytes=True)[..., :3]
    # Float32 puts a pixel that lies between two steps to either.
    assert (pixels[8:] == expected).all(-1).mean() > 0.999
    assert (pixels[:8] == 209).all()


def test_show_opens_image_and_depth_side_by_side_and_a_notebook_shows_the_same(photo, monkeypatch):
    opened = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(ImageShow, "show", lambda picture: opened.append(picture) or True)
    found = depth_map(np.random.default_rng(0).uniform(1, 9, (30, 20)), image=photo)
    found.show()
    in_notebook = Image.open(io.BytesIO(found._repr_jpeg_()))
    assert in_notebook.size == opened[0].size
    assert np.abs(np.asarray(in_notebook, int) - np.asarray(opened[0], int)).mean() < 10
    top = (in_notebook.height - 30) // 2
    np.testing.assert_array_equal(np.asarray(opened[0])[top : top + 30, :20], photo)


def test_without_a_display_show_says_what_to_do(monkeypatch):
    found = depth_map(np.ones((3, 4)))
    monkeypatch.setattr(ImageShow, "show", lambda _picture: False)
    for display in ("", ":0"):  # none, and one without a viewer
        monkeypatch.setenv("DISPLAY", display)
        with pytest.raises(SpaceClipError, match=r"no display to show it on: save it to a \.png"):
            found.show()


def test_a_map_without_a_valid_pixel_is_drawn_all_the_same():
    found = depth_map(np.zeros((3, 4)))
    assert Image.open(io.BytesIO(encoded(found, "png"))).height == 160
    assert len(encoded(found, "ply").partition(b"end_header\n")[2]) == 0
    assert b"accessors" not in encoded(found, "glb")


def test_unknown_endings_and_impossible_cameras_are_refused(tmp_path):
    found = depth_map(np.ones((12, 20)))
    for ending in ("a.exr", "a"):
        with pytest.raises(SpaceClipError, match=r"expected \.depth\.png, \.npy, \.depth16\.png, \.ply, \.glb, "):
            found.save(tmp_path / ending)
    for camera, said in (
        ((0, 1, 1, 1), "fx is 0"),
        ((1, float("inf"), 1, 1), "fy is inf"),
        ((1, 1, 20, 1), "cx is 20, outside the image of 20 pixels"),
        ((1, 1, 1), r"shape \[3\]"),
        (Intrinsics.guessed((20, 12)), "20 x 12, this one is 12 x 20"),
    ):
        with pytest.raises(SpaceClipError, match=said):
            found.points(camera)
    with pytest.raises(SpaceClipError, match="between 0 and 180"):
        Intrinsics.from_fov((12, 20), 180)
    assert Intrinsics.from_fov((12, 20), 90).fx == pytest.approx(10)
