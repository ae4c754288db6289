from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spaceclip.cache import SpaceClipError
from spaceclip.extract.sources.folder import FolderSettings, FolderSource
from spaceclip.extract.sources.source import Entry, Source

IMAGE = np.random.default_rng(3).integers(0, 256, (4, 6, 3), dtype=np.uint8)
COUNTS = np.random.default_rng(4).integers(1000, 9000, (4, 6), dtype=np.uint16)


def save(path: Path, pixels: np.ndarray = IMAGE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    return path


def folder(root: Path, **settings) -> FolderSource:
    return FolderSource(FolderSettings(images=root, **settings))


def ids(source: FolderSource) -> list[str]:
    return [entry.id for entry in source.entries]


def message(function, *arguments, **options) -> str:
    with pytest.raises(SpaceClipError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def tree(tmp_path) -> Path:
    """Four images in two scenes under `rgb`, their depth in millimetres on the same paths under `depth`."""
    for name in ("attic/f1", "attic/f2", "attic/f10", "hall/f1"):
        save(tmp_path / "rgb" / f"{name}.png")
        save(tmp_path / "depth" / f"{name}.png", COUNTS)
    return tmp_path


def test_images_alone_come_in_natural_order_with_their_folder_as_scene(tmp_path):
    for name in ("b/f10.png", "b/f9.jpg", "a/c/x.webp", "top.bmp", "b/f11.TIFF"):
        save(tmp_path / name)
    source = folder(tmp_path)
    assert ids(source) == ["a/c/x", "b/f9", "b/f10", "b/f11", "top"]
    assert [entry.scene for entry in source.entries] == ["a/c", "b", "b", "b", None]
    assert source.splits == [None] * 5
    assert source.depth_unit is None
    assert source.depth_sizes() == [None] * 5
    source.check()
    sample = source.load(2)
    np.testing.assert_array_equal(sample.image, IMAGE)
    assert (sample.id, sample.scene, sample.depth) == ("b/f10", "b", None)


def test_it_is_a_source(tmp_path):
    save(tmp_path / "a.png")
    source: Source = folder(tmp_path)
    assert isinstance(source.entries[0], Entry)


def test_files_that_are_no_images_are_counted_and_named(tmp_path):
    for name in ("a.png", "b.jpg", ".hidden.heic"):
        save(tmp_path / name) if "heic" not in name else (tmp_path / name).touch()
    assert folder(tmp_path).check() == []
    for name in ("IMG_1.heic", "IMG_2.HEIC", "s/c.gif", "notes"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (note,) = folder(tmp_path).check()
    assert note == (
        "4 files skipped (2 .heic, 1 without ending, 1 .gif): IMG_1.heic, IMG_2.HEIC, notes and 1 more; "
        "images end in .jpg .jpeg .png .webp .tif .tiff .bmp"
    )


def test_depth_files_beside_the_images_are_not_called_skipped(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "a_depth.npy", COUNTS / 1000)
    assert folder(tmp_path, depth_pattern="{parent}/{stem}_depth.npy").check() == []
    assert "1 file skipped (1 .npy)" in folder(tmp_path).check()[0]


@pytest.mark.parametrize(
    "name",
    [
        "a_depth.png",
        "depth/0001.png",
        "s/Depth_0001.png",
        "sync_depth_1.png",
        "depth1.png",
        "disparity/a.png",
        "s/depth.png",
    ],
)
def test_pictures_called_depth_are_suspected(tmp_path, name):
    for image in ("a.png", "indepthview/b.jpg", "deep.png", "display.png"):
        save(tmp_path / image)
    assert folder(tmp_path).check() == []
    save(tmp_path / name)
    (note,) = folder(tmp_path).check()
    assert note.startswith(f"1 of 5 images called depth and read as images: {name}; if they are depth maps, set depth")


def test_photos_are_turned_upright_where_they_have_no_depth_and_named(tree):
    turned = Image.Exif()
    turned[0x0112] = 6
    for name in ("hall/f1", "attic/f2"):
        Image.fromarray(IMAGE).save(tree / f"rgb/{name}.png", exif=turned)
    alone = folder(tree / "rgb")
    assert alone.check() == ["2 images with an EXIF turn turned upright: f2.png, f1.png"]
    np.testing.assert_array_equal(alone.load(3).image, np.rot90(IMAGE, -1))
    paired = folder(tree / "rgb", depth=tree / "depth", depth_scale=1000)
    assert paired.check() == [
        "2 images with an EXIF turn read as stored, since depth is aligned to that: f2.png, f1.png"
    ]
    np.testing.assert_array_equal(paired.load(3).image, IMAGE)


def test_linked_folders_are_followed_and_hidden_files_passed_over(tmp_path):
    save(tmp_path / "elsewhere/a.png")
    for hidden in ("._a.png", ".thumbnails/a.png"):
        save(tmp_path / "images" / hidden)
    (tmp_path / "images/linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert ids(folder(tmp_path / "images")) == ["linked/a"]


def test_image_pattern_chooses_files(tmp_path):
    for name in ("s/rgb_1.png", "s/mask_1.png", "t/rgb_2.png"):
        save(tmp_path / name)
    assert ids(folder(tmp_path, image_pattern="**/rgb_*")) == ["s/rgb_1", "t/rgb_2"]


def test_parallel_tree_pairs_by_path(tree):
    source = folder(tree / "rgb", depth=tree / "depth", depth_scale=1000)
    source.check()
    assert ids(source) == ["attic/f1", "attic/f2", "attic/f10", "hall/f1"]
    assert source.depth_unit == 0.001
    assert source.depth_sizes() == [(4, 6)] * 4
    depth = source.load(3).depth
    assert depth is not None
    np.testing.assert_array_equal(depth, (COUNTS / 1000).astype(np.float32))


def test_depth_folder_inside_the_images_folder_holds_no_images(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "depth/a.png", COUNTS)
    source = folder(tmp_path, depth=tmp_path / "depth", depth_scale=256)
    assert ids(source) == ["a"]
    assert source.depth_unit == 1 / 256


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".npy"])
def test_every_depth_suffix_pairs(tmp_path, suffix):
    save(tmp_path / "rgb/a.b.jpg")
    save(tmp_path / f"depth/a.b{suffix}", COUNTS)
    source = folder(tmp_path / "rgb", depth=tmp_path / "depth", depth_scale=500)
    source.check()
    assert source.depth_unit == 1 / 500


@pytest.mark.parametrize("values", [COUNTS.astype(np.float32), COUNTS.astype(np.int32)])
def test_one_float_or_wide_map_makes_the_unit_a_millimetre(tree, values):
    (tree / "depth/hall/f1.png").unlink()
    save(tree / "depth/hall/f1.npy", values)
    assert folder(tree / "rgb", depth=tree / "depth", depth_scale=256).depth_unit == 0.001


def test_pattern_pairs_in_one_folder(tmp_path):
    for number in ("00007", "00012"):
        save(tmp_path / f"bath_0001/rgb_cam2_{number}.jpg")
        save(tmp_path / f"bath_0001/sync_depth_{number}.png", COUNTS)
    pattern = "{parent}/sync_depth_{number}.png"
    source = folder(tmp_path, image_pattern="**/rgb_*.jpg", depth_pattern=pattern, depth_scale=1000)
    source.check()
    assert ids(source) == ["bath_0001/rgb_cam2_00007", "bath_0001/rgb_cam2_00012"]
    assert source.depth_sizes() == [(4, 6)] * 2


def test_pattern_is_relative_to_the_depth_folder(tmp_path):
    save(tmp_path / "rgb/s/a.jpg")
    save(tmp_path / "z/s/a.jpg.d/a.npy", COUNTS / 1000)
    source = folder(tmp_path / "rgb", depth=tmp_path / "z", depth_pattern="{parent}/{name}.d/{stem}.npy")
    source.check()
    assert source.depth_unit == 0.001


def test_list_gives_order_depth_ids_scenes_and_splits(tree):
    listed = tree / "list.csv"
    listed.write_text(
        "image,depth,scene,id,split\nhall/f1.png,hall/f1.png,,first,val\n/attic/f2.png,,loft,,train\n", encoding="utf-8"
    )
    source = folder(tree / "rgb", depth=tree / "depth", manifest=listed, depth_scale=1000)
    source.check()
    assert [(entry.id, entry.scene) for entry in source.entries] == [("first", "hall"), ("attic/f2", "loft")]
    assert source.splits == ["val", "train"]
    assert source.depth_sizes() == [(4, 6), None]
    assert source.load(1).depth is None


def test_list_without_depth_pairs_as_a_folder_does(tree):
    (tree / "list.txt").write_text("hall/f1.png\n", encoding="utf-8")
    source = folder(tree / "rgb", depth=tree / "depth", manifest=tree / "list.txt", depth_scale=1000)
    assert source.depth_sizes() == [(4, 6)]
    assert folder(tree / "rgb", manifest=tree / "list.txt").depth_sizes() == [None]


def test_list_of_depth_below_the_images_folder(tree):
    (tree / "list.txt").write_text("rgb/hall/f1.png depth/hall/f1.png 518.8\nrgb/attic/f1.png None\n", encoding="utf-8")
    source = folder(tree, manifest=tree / "list.txt", depth_scale=1000)
    source.check()
    assert source.depth_sizes() == [(4, 6), None]


def test_scene_expression_names_scenes(tree):
    assert {entry.scene for entry in folder(tree / "rgb", scene=r"^(\w)").entries} == {"a", "h"}
    text = message(folder, tree / "rgb", scene=r"att(ic)/f\d$")
    assert "does not match 2 ids of 4: attic/f10, hall/f1;" in text


def test_stamps_change_with_files_and_scale(tree):
    def stamps(**settings) -> list[str]:
        return [entry.stamp for entry in folder(tree / "rgb", **settings).entries]

    plain = stamps()
    paired = stamps(depth=tree / "depth", depth_scale=1000)
    assert plain == stamps()
    assert plain[0] == f"{(tree / 'rgb/attic/f1.png').stat().st_size}"
    assert all(one != other for one, other in zip(plain, paired, strict=True))
    assert paired != stamps(depth=tree / "depth", depth_scale=1001)
    save(tree / "depth/hall/f1.png", COUNTS * 0)
    changed = stamps(depth=tree / "depth", depth_scale=1000)
    assert changed[:3] == paired[:3]
    assert changed[3] != paired[3]
