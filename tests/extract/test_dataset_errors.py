"""What goes wrong with data sets: one clear line each."""

import hashlib
import os
import random
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spaceclip.cache import SpaceClipError
from spaceclip.extract import Entry, KittiData, NyuData, open_splits
from spaceclip.extract.sources.datasets import lists
from spaceclip.extract.sources.datasets.lists import (
    CONTROLLED,
    RELEASED,
    ReleasedList,
    check_controlled,
    write_split_lists,
)

REAL = Path("data")
TRAIN, TEST = "nyudepthv2_train_files_with_gt.txt", "nyudepthv2_test_files_with_gt.txt"


@pytest.fixture
def kitti(made_up, tmp_path):
    return made_up.kitti(tmp_path / "sets/kitti")


@pytest.fixture
def nyu(made_up, tmp_path):
    return made_up.nyu(tmp_path / "sets/nyu")


def open_and_check(settings) -> None:
    for source in open_splits(settings).values():
        source.check()


def message(settings) -> str:
    with pytest.raises(SpaceClipError) as caught:
        open_and_check(settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def release(monkeypatch, path, kind, part, lines=12):
    found = ReleasedList(kind, part, hashlib.sha256(path.read_bytes()).hexdigest(), lines)
    kept = tuple(other for other in RELEASED if (other.kind, other.part) != (kind, part))
    monkeypatch.setattr(lists, "RELEASED", (found, *kept))


@pytest.mark.parametrize("wrong", ["..", "../..", "sync", "sync/office_0002"])
def test_a_root_at_another_level_names_the_right_one(nyu, wrong):
    root = (nyu / wrong).resolve()
    text = message(NyuData(root=root))
    assert text == (
        f"NYU Depth V2 root {root} holds no list {TRAIN} or train_files_with_gt.txt; this level looks right: {nyu}"
    )
    text = message(NyuData(root=root, train_list=nyu / TRAIN))
    assert text.endswith(f"holds none of the images that {nyu / TRAIN} lists; this level looks right: {nyu}")


@pytest.mark.parametrize("wrong", ["..", "../..", "2011_09_26", "train"])
def test_a_kitti_root_at_another_level_names_the_right_one(kitti, nyu, wrong):
    assert message(KittiData(root=(kitti / wrong).resolve())).endswith(f"this level looks right: {kitti}")
    assert message(KittiData(root=kitti / "../nyu" / ".." / "kitti" / wrong)).endswith(f"looks right: {kitti}")


def test_listed_files_that_are_a_pipe_or_a_broken_link_are_called_so(nyu):
    files = sorted((nyu / "sync").rglob("*.jpg"))[:2]
    for file in files:
        file.unlink()
    os.mkfifo(files[0])
    files[1].symlink_to("nowhere.jpg")
    text = message(NyuData(root=nyu))
    first, second = (file.relative_to(nyu / "sync") for file in files)
    assert f"not found: {first} (is no file but a pipe or a device, expected a file), " in text
    assert f", {second} (is a broken link to nowhere.jpg); looked in" in text


def test_a_root_that_is_nowhere_near_says_what_was_looked_for(nyu, tmp_path):
    text = message(NyuData(root=tmp_path / "no/such/place/at/all"))
    assert text.endswith("is no folder; check `root`, or give the list as train_list")
    (nyu / "sync").rename(tmp_path / "elsewhere")
    text = message(NyuData(root=nyu))
    assert f"looked for kitchen_0001a/rgb_00000.jpg in {nyu / 'sync'}; check `root`, or fetch the train images" in text


def test_missing_files_are_counted_and_named(kitti, nyu):
    for image in sorted((nyu / "sync").glob("kitchen*/*.jpg")):
        image.unlink()
    text = message(NyuData(root=nyu))
    assert f"4 images of 12 that {nyu / TRAIN} lists not found: kitchen_0001a/rgb_00000.jpg, " in text
    assert "and 1 more; looked in" in text
    next(kitti.glob("val/*0009_sync/**/0000000001.png")).unlink()
    text = message(KittiData(root=kitti))
    assert "1 depth file of 4 that" in text
    assert f"looked in {kitti / 'train'}, {kitti / 'val'}, {kitti / 'data_depth_annotated/train'}" in text


def test_swapped_nyu_lists_are_told_by_where_their_images_lie(nyu):
    text = message(NyuData(root=nyu, train_list=nyu / TEST, test_list=nyu / TRAIN))
    assert "but they are where the test images lie: the train and test lists look swapped" in text


def test_swapped_kitti_lists_are_told_by_their_lengths(kitti):
    train, test = (kitti / f"kitti_eigen_{part}_files_with_gt.txt" for part in ("train", "test"))
    train.rename(kitti / "aside")
    test.rename(train)
    (kitti / "aside").rename(test)
    text = message(KittiData(root=kitti))
    assert f"{train} names 2 frames and the test list {test} 4: they look swapped; exchange them, or give them" in text


def test_few_training_frames_are_no_swapped_lists(kitti, monkeypatch):
    train, test = (kitti / f"kitti_eigen_{part}_files_with_gt.txt" for part in ("train", "test"))
    few = kitti / "few.txt"
    few.write_text(train.read_text().splitlines(keepends=True)[0])
    assert len(open_splits(KittiData(root=kitti, train_list=few))["test"].entries) == 2
    few.rename(train)
    assert "look swapped" in message(KittiData(root=kitti))
    assert len(open_splits(KittiData(root=kitti, test_list=test))["test"].entries) == 2
    release(monkeypatch, test, "kitti", "test")
    assert len(open_splits(KittiData(root=kitti))["test"].entries) == 2


def test_released_lists_are_told_by_their_sum(nyu, kitti, monkeypatch):
    release(monkeypatch, nyu / TEST, "nyu", "test")
    text = message(NyuData(root=nyu, train_list=nyu / TEST))
    assert (
        "is given as the nyu train list but is the released nyu test list: are the train and test lists swapped?"
        in (text)
    )
    text = message(KittiData(root=kitti, train_list=nyu / TEST))
    assert "is given as the kitti train list but is the released nyu test list: are the data sets mixed up?" in text
    (nyu / TEST).write_bytes((nyu / TEST).read_bytes().replace(b"\n", b"\r\n"))
    assert "is the released nyu test list" in message(NyuData(root=nyu, train_list=nyu / TEST))


def test_a_list_of_the_other_data_set_is_refused(kitti, nyu):
    assert f"{nyu / TRAIN} is no KITTI list: expected images such as" in message(
        KittiData(root=kitti, train_list=nyu / TRAIN)
    )


def test_test_frames_in_the_training_list_are_counted(kitti):
    train, test = (kitti / f"kitti_eigen_{part}_files_with_gt.txt" for part in ("train", "test"))
    train.write_text(train.read_text() + test.read_text())
    text = message(KittiData(root=kitti))
    assert text.startswith("2 test frames of 2 in the training list too: 2011_09_26/2011_09_26_drive_0002_sync/")
    train.write_text("".join(train.read_text().splitlines(keepends=True)[:-1]))
    assert message(KittiData(root=kitti)).startswith("1 test frame of 2 in the training list too")


def test_a_scene_in_training_and_test_is_refused(kitti):
    train, test = (kitti / f"kitti_eigen_{part}_files_with_gt.txt" for part in ("train", "test"))
    first, *rest = train.read_text().splitlines(keepends=True)
    train.write_text("".join(rest))
    test.write_text(first)
    assert "1 scene in more than one split: 2011_09_26_drive_0001_sync (in train and test)" in message(
        KittiData(root=kitti)
    )


def test_ground_truth_of_another_size_is_refused(nyu):
    file = nyu / "sync/office_0002/sync_depth_00001.png"
    Image.fromarray(np.full((24, 32), 2000, np.uint16)).save(file)
    text = message(NyuData(root=nyu))
    assert "1 image of 12 and depth maps differ in size (height x width): " in text
    assert "48 x 64 against 24 x 32" in text


def test_ground_truth_that_is_all_zero_is_refused(nyu):
    Image.fromarray(np.zeros((48, 64), np.uint16)).save(nyu / "sync/kitchen_0001a/sync_depth_00000.png")
    assert "sync_depth_00000.png holds no measured depth, every value is 0" in message(NyuData(root=nyu))


def test_depth_in_the_other_data_sets_unit_is_refused(made_up, tmp_path):
    nyu, kitti = made_up.nyu(tmp_path / "nyu", scale=256), made_up.kitti(tmp_path / "kitti", scale=1000)
    for settings in (NyuData(root=nyu), KittiData(root=kitti)):
        text = message(settings)
        assert re.search(r"found (median|farthest) depth [0-9.]+ m over \d+ probed maps, expected [0-9.]+ to", text)
        assert "written in another unit? (KITTI counts are 1/256 m, NYU's 1/1000 m)" in text
        open_and_check(settings.model_copy(update={"allow_odd_depth": True}))


@pytest.mark.parametrize(("wrong", "refused"), [(1, False), (3, False), (5, True)])
def test_some_maps_in_another_unit_are_refused(nyu, wrong, refused):
    files = sorted((nyu / "sync").rglob("sync_depth_*.png"))
    for file in files[:wrong]:  # of 12, so that the medians over the maps look right
        counts = np.array(Image.open(file)).astype(np.float64)
        Image.fromarray((counts * 256 / 1000).astype(np.uint16)).save(file)
    if not refused:
        open_and_check(NyuData(root=nyu))
        return
    text = message(NyuData(root=nyu))
    assert f"{wrong} of 12 probed maps with another depth than median 1.2 to 5.5 m and farthest 2 to 12 m: " in text
    assert re.search(r"bath_0003a/rgb_00000 \(median 0\.\d\d m, farthest [01]\.\d\d m\)", text)
    assert "some written in another unit? (KITTI counts" in text
    open_and_check(NyuData(root=nyu, allow_odd_depth=True))


@pytest.mark.skipif(not (REAL / "kitti").is_dir(), reason="no real frames here")
@pytest.mark.parametrize(("kind", "factor"), [("kitti", 1000 / 256), ("nyu", 256 / 1000)])
@pytest.mark.parametrize("part", ["train", "test"])
def test_real_depth_passes_and_in_the_others_unit_does_not(tmp_path, kind, factor, part):
    root = tmp_path / kind
    listed = (REAL / kind / f"{part}_files_with_gt.txt").read_text().splitlines()[:8]
    for line in listed:
        image, depth, _ = line.replace(" /", " ").removeprefix("/").split()
        for name, folders in ((image, (".", "sync", "test")), (depth, ("train", "val", "sync", "test"))):
            found = next((f for folder in folders if (f := REAL / kind / folder / name).is_file()), None)
            if found is None:
                continue
            copy = root / found.relative_to(REAL / kind)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if name == depth:
                counts = np.array(Image.open(found)).astype(np.float64)
                Image.fromarray((counts * factor).round().clip(0, 65535).astype(np.uint16)).save(copy)
            else:
                copy.symlink_to(found.resolve())
    if kind == "nyu" and part == "test":
        (root / "test").rename(root / "sync")
    (root / "train_files_with_gt.txt").write_text("\n".join(listed))
    settings = {"kitti": KittiData, "nyu": NyuData}[kind](root=root)
    assert "written in another unit?" in message(settings)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "my kitchen_1a/rgb 1.jpg my kitchen_1a/d.png 518.8",
            "has 6 fields: expected `image [depth [focal]]`; paths that",
        ),
        ("kitchen_1a/rgb 1.jpg kitchen_1a/d.png", "is the path before it one that holds a space?"),
        ("kitchen_1a\\rgb_1.jpg kitchen_1a\\d.png 518.8", "holds a backslash: expected forward slashes, replace every"),
        ("kitchen_1a/rgb_1.jpg kitchen_1a/d.png wide", "focal is 'wide': expected a focal length in pixels"),
        ("kitchen_1a/rgb_1.jpg", "names no depth on 1 line (line 2) but does on the others"),
    ],
)
def test_lines_that_are_not_understood_are_named(nyu, line, words):
    first = (nyu / TRAIN).read_text().splitlines()[0]
    (nyu / TRAIN).write_text(f"{first}\n{line}\n")
    text = message(NyuData(root=nyu))
    assert words in text
    assert f"{nyu / TRAIN}" in text


def test_a_list_without_depth_is_refused(nyu):
    (nyu / TRAIN).write_text("kitchen_0001a/rgb_00000.jpg\n")
    assert "names no depth files: expected `image depth focal` a line" in message(NyuData(root=nyu))


def test_lists_that_cannot_be_pairs_are_refused(kitti, nyu):
    train, test = (kitti / f"kitti_eigen_{part}_files_with_gt.txt" for part in ("train", "test"))
    lines = [line.split() for line in train.read_text().splitlines()]
    train.write_text("".join(f"{image} None {focal}\n" for image, _, focal in lines))
    assert message(KittiData(root=kitti)) == (
        f"{train} gives `None` for the depth of every image: expected depth to train on"
    )
    train.write_text("".join(f"{image} {lines[0][1]} {focal}\n" for image, _, focal in lines))
    assert message(KittiData(root=kitti)) == (
        f"{train} names the same depth file for every image, {lines[0][1]}: expected each its own"
    )
    train.write_text("".join(f"{' '.join(line)}\n" for line in lines))
    test.write_text(test.read_text().splitlines(keepends=True)[1])  # the one without ground truth
    open_splits(KittiData(root=kitti))


def test_foreign_line_ends_and_leading_slashes_are_tolerated(nyu):
    plain = [entry.id for entry in open_splits(NyuData(root=nyu))["train"].entries]
    (nyu / TRAIN).write_bytes((nyu / TRAIN).read_bytes().replace(b"\n", b"\r\n").replace(b"/kitchen", b"//kitchen"))
    assert [entry.id for entry in open_splits(NyuData(root=nyu))["train"].entries] == plain


def test_a_frame_listed_twice_is_refused(nyu):
    (nyu / TRAIN).write_text((nyu / TRAIN).read_text() * 2)
    assert "12 ids given to more than one sample: 'kitchen_0001a/rgb_00000'" in message(NyuData(root=nyu))


def made_up_lines() -> list[str]:
    """249 groups of one to three takes and 24,231 frames in a shuffled order, as the released NYU training list."""
    places = ("bathroom", "bedroom", "dining_room", "kitchen", "living_room", "office", "study")
    groups = [f"{place}_{number:04d}" for place, number in product(places, range(36))][:249]
    lines = []
    for place in range(24_231):
        frame, group = divmod(place * 10_007 % 24_231, 249)
        take = f"{groups[group]}{'abc'[frame % (1 + group % 3)]}"
        lines.append(f"/{take}/rgb_{frame:05d}.jpg /{take}/sync_depth_{frame:05d}.png 518.8579")
    return lines


def test_the_controlled_split_of_a_list_of_the_released_shape(tmp_path):
    lines = made_up_lines()
    assert len(set(lines)) == len(lines) == 24_231
    (tmp_path / "list.txt").write_text("\n".join(lines))
    written = write_split_lists(NyuData(root=tmp_path, train_list=tmp_path / "list.txt"), tmp_path / "out")

    groups = sorted({line.split("/")[1].rstrip("abc") for line in lines})
    random.Random(20260926).shuffle(groups)
    held_out = set(groups[:25])
    assert len(groups) - 25 == 224
    for name, wanted in (("train", False), ("val", True)):
        path, count, digest = written[name]
        expected = "".join(f"{line}\n" for line in lines if (line.split("/")[1].rstrip("abc") in held_out) == wanted)
        assert path == tmp_path / "out" / f"{name}.txt"
        assert path.read_text() == expected
        assert count == expected.count("\n")
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {name: (count, digest[:16]) for name, (_, count, digest) in written.items()} == PINNED


PINNED = {"train": (21_802, "f6c4fbdd112abf70"), "val": (2_429, "814de548867c2070")}


def test_the_released_lists_are_those_of_the_paper():
    assert {(found.kind, found.part): (found.lines, found.without_depth) for found in RELEASED} == {
        ("nyu", "train"): (24_231, 0),
        ("nyu", "test"): (654, 0),
        ("kitti", "train"): (23_158, 0),
        ("kitti", "test"): (697, 45),
    }
    assert len({found.sha256 for found in RELEASED} | set(lists.NYU_CONTROLLED_SHA256.values())) == 6


def test_a_division_of_the_released_list_other_than_the_published_is_a_bug():
    entries = {
        "train": [Entry(f"{index}", f"a{index % 224}", "") for index in range(21_974)],
        "val": [Entry(f"{index}", f"b{index % 25}", "") for index in range(2_257)],
    }
    released = RELEASED[0]
    check_controlled(released, CONTROLLED, entries)
    with pytest.raises(SpaceClipError, match=r"into frames .*'val': 2256.* a bug in SpaceCLIP, please report it"):
        check_controlled(released, CONTROLLED, entries | {"val": entries["val"][:-1]})
    with pytest.raises(SpaceClipError, match=r"into groups .*'val': 24"):
        check_controlled(released, CONTROLLED, entries | {"val": entries["val"][:24]})
    check_controlled(None, CONTROLLED, {})


def test_a_released_list_that_divides_otherwise_is_not_opened(nyu, monkeypatch):
    release(monkeypatch, nyu / TRAIN, "nyu", "train")
    open_splits(NyuData(root=nyu))
    with pytest.raises(SpaceClipError, match="into groups"):
        open_splits(NyuData(root=nyu, split=CONTROLLED))


def test_only_plain_lists_are_divided_into_lists(nyu):
    (nyu / "list.csv").write_text("image,depth\nkitchen_0001a/rgb_00000.jpg,kitchen_0001a/sync_depth_00000.png\n")
    with pytest.raises(SpaceClipError, match="only a plain list can be divided"):
        write_split_lists(NyuData(root=nyu, train_list=nyu / "list.csv"), nyu / "out")
