import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from spaceclip.cache import SpaceClipError
from spaceclip.extract.sources.folder import FolderSettings, FolderSource

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


def test_folder_without_images_says_what_it_holds(tmp_path):
    assert "no file at all" in message(folder, tmp_path)
    for name in ("a.heic", "s/b.heic", "notes.txt", "LICENSE"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    text = message(folder, tmp_path)
    assert f"no image in {tmp_path}: looked for **/* ending in .jpg .jpeg .png" in text
    assert (
        "4 files (2 .heic, 1 .txt, 1 without suffix)" in text or "4 files (2 .heic, 1 without suffix, 1 .txt)" in text
    )


def test_names_that_are_not_text_are_refused_at_the_start(tmp_path):
    for name in (b"caf\xe9.png", b"b$x$.png"):
        save(tmp_path / "a.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    text = message(folder, tmp_path)
    assert text == "1 file name not in UTF-8: 'caf\\udce9.png'; no store can hold them, rename"
    (tmp_path / "list.jsonl").write_text('{"image": "b$x$.png", "id": "\\ud800"}')
    assert "1 file name not in UTF-8: '\\ud800'" in message(folder, tmp_path, manifest=tmp_path / "list.jsonl")


def test_larger_pictures_than_are_wanted_are_refused_with_both_numbers(tmp_path):
    save(tmp_path / "a.png")
    text = message(folder(tmp_path, max_pixels=23).check)
    assert "a.png is too large (4 x 6 pixels), expected at most 23 pixels" in text


def test_missing_folders_are_named(tmp_path):
    assert f"the images folder {tmp_path / 'no'} does not exist" in message(folder, tmp_path / "no")
    save(tmp_path / "a.png")
    assert "the images folder" in message(folder, tmp_path / "a.png")
    assert "the depth folder" in message(folder, tmp_path, depth=tmp_path / "no")


def test_listed_files_that_are_absent_are_counted(tree):
    listed = tree / "list.txt"
    listed.write_text("".join(f"attic/f{number}.png hall/f{number}.png\n" for number in range(1, 7)), encoding="utf-8")
    text = message(folder, tree / "rgb", depth=tree / "depth", manifest=listed)
    assert text.startswith(f"4 images of 6 not found: {tree / 'rgb/attic/f3.png'}, ")
    assert "and 1 more; check the list and `images`" in text
    listed.write_text("attic/f1.png hall/f1.png\nattic/f2.png attic/f9.png\n", encoding="utf-8")
    text = message(folder, tree / "rgb", depth=tree / "depth", manifest=listed)
    assert text.startswith(f"1 depth file of 2 not found: {tree / 'depth/attic/f9.png'}; ")


def test_listed_files_that_are_none_are_called_what_they_are(tree):
    listed, pipe, link = tree / "list.txt", tree / "rgb/pipe.png", tree / "rgb/link.png"
    listed.write_text("pipe.png\nlink.png\nattic\n", encoding="utf-8")
    os.mkfifo(pipe)
    link.symlink_to("nowhere.png")
    assert message(folder, tree / "rgb", manifest=listed).startswith(
        f"3 images of 3 not found: {pipe} (is no file but a pipe or a device, expected a file), {link} (is a broken "
        f"link to nowhere.png), {tree / 'rgb/attic'} (is a folder, expected a file); check the list"
    )
    assert message(folder, tree / "rgb", manifest=pipe).startswith(f"the list {pipe} is no file but a pipe or a device")


def test_images_without_their_depth_are_counted(tree):
    for name in ("attic/f1.png", "attic/f2.png", "attic/f10.png", "hall/f1.png"):
        (tree / "depth" / name).unlink()
    text = message(folder, tree / "rgb", depth=tree / "depth")
    assert "4 images of 4 without a depth file" in text
    assert "attic/f1.png, attic/f2.png, attic/f10.png and 1 more" in text
    assert "None for no depth" in text


def test_images_whose_name_holds_no_number_lack_their_depth(tmp_path):
    save(tmp_path / "room9/front.png")
    assert "1 image of 1 without a depth file" in message(folder, tmp_path, depth_pattern="d{number}.png")


def test_two_depth_files_for_one_image_are_refused(tree):
    save(tree / "depth/hall/f1.npy", COUNTS)
    text = message(folder, tree / "rgb", depth=tree / "depth")
    assert "1 image with more than one depth file" in text
    assert "hall/f1.png" in text


def test_images_that_differ_only_by_suffix_are_refused_by_both_names(tmp_path):
    for suffix in (".png", ".bmp"):
        save(tmp_path / f"s/a{suffix}")
    assert "1 id given to more than one sample: 's/a' (s/a.bmp and s/a.png)" in message(folder, tmp_path)


def test_doubled_ids_of_a_list_are_counted(tree):
    rows = [("attic/f1.png", "a"), ("attic/f2.png", "a"), ("attic/f10.png", "a"), ("hall/f1.png", "hall/f1")]
    text = "image,id\n" + "".join(f"{image},{name}\n" for image, name in [*rows, rows[3]])
    (tree / "list.csv").write_text(text, encoding="utf-8")
    text = message(folder, tree / "rgb", manifest=tree / "list.csv")
    assert "2 ids given to more than one sample: 'a' (attic/f1.png and attic/f2.png), 'hall/f1'" in text


def test_list_and_pattern_cannot_both_name_depth(tree):
    (tree / "list.txt").write_text("hall/f1.png hall/f1.png\n", encoding="utf-8")
    assert "keep one of them" in message(
        folder, tree / "rgb", manifest=tree / "list.txt", depth_pattern="{stem}.png", depth=tree / "depth"
    )


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"depth_pattern": "{folder}/x.png"}, "{parent}, {stem}, {name}, {number}"),
        ({"depth_pattern": "depth.png"}, "expected a path made with"),
        ({"depth_pattern": "{number:05d}.png"}, "expected a path made with"),
        ({"depth_pattern": "{stem.png"}, "depth_pattern"),
        ({"scene": "(room"}, "not a regular expression"),
        ({"scene": "room"}, "expected a group in parentheses"),
        ({"depth_scale": 0}, "greater than 0"),
        ({"lst": "a.txt"}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused(bad, words):
    with pytest.raises(ValidationError) as caught:
        FolderSettings(images=Path("images"), **bad)
    assert words in str(caught.value)


def test_check_counts_files_that_cannot_be_opened(tree):
    for name in ("attic/f1.png", "attic/f2.png"):
        (tree / "rgb" / name).write_bytes(b"")
    (tree / "depth/hall/f1.png").write_text("no image")
    source = folder(tree / "rgb", depth=tree / "depth", depth_scale=1000)
    text = message(source.check)
    assert text.startswith(f"2 images of 4 cannot be used: {tree / 'rgb/attic/f1.png'}, ")
    assert text.endswith("f1.png is empty (0 bytes): copy or download it again")
    for name in ("attic/f1.png", "attic/f2.png"):
        save(tree / "rgb" / name)
    assert "not a readable depth map" in message(source.check)


def test_check_counts_pairs_that_differ_in_size(tree):
    for name in ("attic/f1.png", "attic/f2.png", "attic/f10.png", "hall/f1.png"):
        save(tree / "depth" / name, COUNTS[:3])
    source = folder(tree / "rgb", depth=tree / "depth", depth_scale=1000)
    text = message(source.check)
    assert text.startswith("4 images of 4 and depth maps differ in size (height x width): ")
    assert f"{tree / 'rgb/attic/f1.png'} 4 x 6 against 3 x 6" in text
    assert "and 1 more" in text
    assert "is 3 x 6 but its image 4 x 6" in message(source.load, 0)


def test_depth_of_a_photo_that_was_turned_upright_names_exif(tree):
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tree / "rgb/hall/f1.png", exif=turned)
    save(tree / "depth/hall/f1.png", COUNTS.T)
    source = folder(tree / "rgb", depth=tree / "depth", depth_scale=1000)
    for text in (message(source.check), message(source.load, 3)):
        assert "(EXIF turn) 4 x 6" in text
        assert "as stored: turn the image as EXIF asks and remove the tag, or turn the depth" in text


def test_check_asks_for_the_scale_of_integers(tree):
    source = folder(tree / "rgb", depth=tree / "depth")
    assert "--depth-scale" in message(source.check)
    with pytest.raises(SpaceClipError, match="--depth-scale"):
        _ = source.depth_unit


def test_check_decodes_a_few_spread_samples(tmp_path):
    for number in range(50):
        save(tmp_path / f"rgb/f{number}.png")
        save(tmp_path / f"depth/f{number}.npy", COUNTS / 1000)
    source = folder(tmp_path / "rgb", depth=tmp_path / "depth")
    source.check()
    save(tmp_path / "depth/f49.npy", COUNTS / 1000 * np.nan)
    assert "NaN" in message(source.check)
    save(tmp_path / "depth/f0.npy", COUNTS * 0.0)
    text = message(source.check)
    assert text.startswith("2 probed samples of 8 cannot be used: f0, f49; the first: ")
    assert "every value is 0" in text


def test_reading_flags_reach_the_reader(tmp_path):
    save(tmp_path / "rgb/a.png")
    values = COUNTS.astype(np.float32)
    values[0, 0] = np.nan
    save(tmp_path / "depth/a.npy", values)
    assert "NaN" in message(folder(tmp_path / "rgb", depth=tmp_path / "depth").load, 0)
    assert "is the unit right" in message(
        folder(tmp_path / "rgb", depth=tmp_path / "depth", nan_is_invalid=True).load, 0
    )
    depth = folder(tmp_path / "rgb", depth=tmp_path / "depth", nan_is_invalid=True, allow_far=True).load(0).depth
    assert depth is not None
    np.testing.assert_array_equal(depth, np.nan_to_num(values))
