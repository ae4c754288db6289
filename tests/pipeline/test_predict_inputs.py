"""What `spaceclip predict` takes as its inputs, and what it says of those that it cannot use."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


def names():
    return sorted(file.relative_to("depth").as_posix() for file in Path("depth").rglob("*.npy"))


def test_of_a_data_set_s_list_with_depth_and_focal_length_the_images_are_taken(photos, predict):
    Path("list.txt").write_text("photos/a.jpg depth/a.png 518.8579\nphotos/trip/b.png None 518.8579\n")
    assert "2 of 2 images written" in predict("list.txt", "--save", "npy")
    assert {path.as_posix() for path in Path("depth").rglob("*.npy")} == {
        "depth/photos/a.npy",
        "depth/photos/trip/b.npy",
    }


def test_a_list_names_files_from_its_own_folder_on(photos, predict):
    shutil.copy("photos/a.jpg", "other.jpg")
    Path("photos/list.txt").write_bytes(
        f"a.jpg\r\n\n trip/day 2/c.webp\n../other.jpg\n{Path.cwd()}/other.jpg\n".encode()
    )
    assert "3 of 3 images written" in predict("photos/list.txt", "--save", "npy")
    assert names() == ["a.npy", "other.npy", "trip/day 2/c.npy"]


def test_a_list_keeps_files_of_one_name_apart(photos, predict):
    shutil.copytree("photos", "more")
    Path("list.txt").write_text(f"photos/a.jpg\nmore/a.jpg\n{Path.cwd()}/more/trip/b.png\n")
    predict("list.txt", "--save", "npy")
    absolute = f"{Path.cwd()}/more/trip/b.npy".removeprefix("/")
    assert names() == sorted(["photos/a.npy", "more/a.npy", absolute])


def test_a_list_that_names_no_file_is_one_line_with_its_place(photos, refused):
    Path("list.txt").write_text("photos/a.jpg\n\nphotos/nowhere.jpg 518.8\n")
    assert "list.txt, line 3: photos/nowhere.jpg 518.8 does not exist" in refused("list.txt")
    Path("list.txt").write_text("\n")
    assert "no image in list.txt" in refused("list.txt")
    assert not Path("depth").exists()


def test_a_picture_keeps_the_name_of_its_outputs_whatever_comes_beside_it_or_goes(photos, predict):
    predict("photos/*.jpg", "--save", "npy")
    shutil.copy("photos/trip/b.png", "photos/a.png")
    assert "1 of 2 images written (npy), 1 were there" in predict("photos/a.*", "--save", "npy")
    assert names() == ["a.npy", "a.png.npy"]
    Path("photos/a.jpg").unlink()
    assert "0 of 1 image written (npy), 1 were there" in predict("photos/a.*", "--save", "npy")
    Path("photos").rename("moved")
    shutil.copy("moved/a.png", "moved/a.jpeg")
    assert "1 of 2 images written (npy), 1 were there" in predict("moved/a.*", "--save", "npy")
    assert names() == ["a.jpeg.npy", "a.npy", "a.png.npy"]


def test_a_name_that_is_another_s_with_its_suffix_keeps_its_own(photos, predict):
    for name in ("a.png", "a.jpg.png"):
        Image.new("RGB", (9, 8)).save(f"photos/{name}")
    predict("photos/a*", "--save", "npy")
    assert names() == ["a.jpg.npy", "a.jpg.png.npy", "a.png.npy"]


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "renamed.jpg"])
def test_of_heic_a_line_says_how_to_convert_it(photos, predict, name):
    Path("photos", name).write_bytes(HEIC)
    told = predict(f"photos/{name}", "photos/a.jpg", "--save", "npy", code=3)
    assert f"photos/{name} is not a readable image" in told
    assert "convert to JPEG (heif-convert IN OUT.jpg" in told
    assert "1 of 2 images written (npy), 1 could not be used; the first: depth/a.npy" in told


def test_heic_in_folders_and_patterns_is_passed_over_aloud(photos, predict):
    for name in ("IMG_1.HEIC", "trip/IMG_2.heic"):
        Path("photos", name).write_bytes(HEIC)
    for given in ("photos", "photos/**/*"):
        told = predict(given, "--save", "npy")
        assert told.startswith("2 files passed over: photos/IMG_1.HEIC, photos/trip/IMG_2.heic; HEIC and AVIF are not")
        assert "of 3 images written" in told


def test_a_name_that_begins_with_a_tilde_is_a_name(photos, predict):
    shutil.copy("photos/a.jpg", "~me.jpg")
    predict("~me.jpg", "--save", "npy")
    assert names() == ["~me.npy"]
    Path("list.txt").write_text("~me.jpg\n")
    assert "1 were there" in predict("list.txt", "--save", "npy")


def test_a_pattern_begins_at_the_users_home(photos, predict, monkeypatch):
    monkeypatch.setenv("HOME", str(Path.cwd()))
    predict("~/photos/*.jpg", "--save", "npy")
    assert names() == ["a.npy"]


def test_a_name_too_long_for_its_outputs_is_a_line_and_the_others_are_done(photos, predict):
    shutil.copy("photos/a.jpg", f"photos/{'n' * 246}.jpg")
    shutil.copy("photos/a.jpg", f"photos/{'n' * 225}.jpg")
    Path(f"photos/{'n' * 240}.mp4").touch()
    told = predict("photos", f"photos/{'n' * 240}.mp4", "--save", "npy,png,png16,ply,glb,side", code=3)
    assert "nnn.jpg: its name has 246 bytes" in told
    assert "nnn.mp4: its name has 240 bytes" in told
    assert "rename it to at most 225\n" in told
    assert "4 of 5 images written" in told
    assert told.count("\n") == 5


def test_the_first_that_is_named_is_there(photos, predict):
    Path("photos/a.jpg").write_bytes(b"none")
    assert "the first: depth/trip/b.npy\n" in predict("photos", "--save", "npy", code=3)
    shutil.rmtree("photos/trip")
    assert "depth: 0 of 1 image written (npy), 1 could not be used\n" in predict("photos", "--save", "npy", code=3)


def test_a_folder_that_may_not_be_read_is_one_line(photos, refused, monkeypatch):
    scandir = os.scandir

    def denied(path):
        if str(path) == "photos/trip":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    assert "photos/trip: Permission denied; mend that" in refused("photos")
