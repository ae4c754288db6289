import io
import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from spaceclip.extract import KittiData, NyuData
from spaceclip.extract.sources.datasets.check import check_dataset


@pytest.fixture
def kitti(made_up, tmp_path):
    return made_up.kitti(tmp_path / "kitti")


@pytest.fixture
def nyu(made_up, tmp_path):
    return made_up.nyu(tmp_path / "nyu")


def test_a_whole_data_set_has_no_problems(kitti):
    calls = []
    report = check_dataset(KittiData(root=kitti), lambda done, total: calls.append((done, total)))
    assert report.problems == ()
    train, test = report.parts
    assert (train.name, train.frames, train.without_depth, train.official, train.scenes) == (
        "train",
        4,
        0,
        (23158, 0),
        2,
    )
    assert (test.name, test.frames, test.without_depth, test.official, test.scenes) == ("test", 2, 1, (697, 45), 1)
    assert (train.images, train.depths, test.images, test.depths) == (4, 4, 2, 1)
    assert train.image_sizes == {"375 x 1242": 2, "370 x 1226": 2}
    assert test.depth_formats == {"16-bit png": 1}
    assert train.released is False
    assert sorted(calls) == [(done, 12) for done in range(1, 13)]  # 6 frames' headers, then the frames


def test_the_depth_range_is_that_of_the_maps(kitti):
    train = check_dataset(KittiData(root=kitti)).parts[0]
    maps = [np.array(Image.open(file)) / 256 for file in (kitti / "train").rglob("*.png")]
    maps += [np.array(Image.open(file)) / 256 for file in (kitti / "val").rglob("*0009_sync/**/*.png")]
    measured = [depth[depth > 0] for depth in maps]
    assert train.depth is not None
    assert train.probed == 4
    assert train.depth.lowest == pytest.approx(min(depth.min() for depth in measured))
    assert train.depth.highest == pytest.approx(max(depth.max() for depth in measured))
    assert train.depth.median == pytest.approx(np.median([np.median(depth) for depth in measured]))


def test_missing_files_are_reported_and_not_raised(nyu):
    for image in (nyu / "sync").glob("kitchen*/rgb*.jpg"):
        image.unlink()
    (nyu / "sync/den_0004a/sync_depth_00001.png").unlink()
    report = check_dataset(NyuData(root=nyu))
    train, test = report.parts
    assert (train.frames, train.images, train.depths) == (12, 8, 11)
    assert train.missing_images[:2] == ("kitchen_0001a/rgb_00000.jpg", "kitchen_0001a/rgb_00001.jpg")
    assert train.missing_depths == ("den_0004a/sync_depth_00001.png",)
    assert train.image_sizes == {"48 x 64": 8}
    assert train.probed == 7
    assert test.missing_images == ()
    assert len(report.problems) == 1
    assert report.problems[0].startswith("train: 4 images of 12 that ")


def test_an_image_that_is_cut_short_is_a_problem(nyu):
    image = nyu / "sync/office_0002/rgb_00001.jpg"
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2 + 200])
    (problem,) = check_dataset(NyuData(root=nyu)).problems
    assert problem.startswith(f"train: {image} cannot be read")


def test_full_decodes_every_sample(nyu, monkeypatch):
    monkeypatch.setattr("spaceclip.extract.sources.datasets.check._PROBED", 2)
    Image.fromarray(np.zeros((48, 64), np.uint16)).save(nyu / "sync/kitchen_0001a/sync_depth_00001.png")
    calls = []
    settings = NyuData(root=nyu)
    report = check_dataset(settings, lambda done, total: calls.append((done, total)))
    assert (report.problems, report.probed, len(calls), calls[0][1]) == ((), (4, 14), 18, 18)
    calls.clear()
    report = check_dataset(settings, lambda done, total: calls.append((done, total)), full=True)
    assert "kitchen_0001a/sync_depth_00001.png holds no measured depth" in report.problems[0]
    assert (len(report.problems), len(calls), calls[0][1]) == (1, 28, 28)


def test_the_other_data_sets_root_is_a_line_a_part(kitti):
    for part in ("train", "test"):
        (kitti / f"kitti_eigen_{part}_files_with_gt.txt").rename(kitti / f"{part}_files_with_gt.txt")
    problems = check_dataset(NyuData(root=kitti)).problems
    assert [problem.split(f"{kitti}/")[0] for problem in problems] == ["train: ", "test: "]
    assert all("is no NYU Depth V2 list: expected images such as kitchen_0028b/rgb_00045.jpg" in p for p in problems)


def test_lists_whose_images_are_elsewhere_are_not_compared(nyu, tmp_path):
    test = nyu / "nyudepthv2_test_files_with_gt.txt"
    train = tmp_path / "train.txt"
    train.write_text(test.read_text())
    (nyu / "test").rename(tmp_path / "away")
    problems = check_dataset(NyuData(root=nyu, train_list=train)).problems
    assert [problem.split(":")[0] for problem in problems] == ["train", "test"]


def test_no_test_list_is_noted(nyu):
    assert check_dataset(NyuData(root=nyu)).notes == ()
    (nyu / "nyudepthv2_test_files_with_gt.txt").unlink()
    report = check_dataset(NyuData(root=nyu))
    assert report.problems == ()
    (note,) = report.notes
    assert note.startswith(
        "no test list (nyudepthv2_test_files_with_gt.txt or test_files_with_gt.txt, or give test_list)"
    )
    assert note.endswith(": there will be no test split")


def test_every_problem_is_a_line(nyu):
    Image.fromarray(np.full((24, 32), 2000, np.uint16)).save(nyu / "sync/office_0002/sync_depth_00001.png")
    Image.fromarray(np.zeros((48, 64), np.uint16)).save(nyu / "test/kitchen/sync_depth_00000.png")
    lines = (nyu / "nyudepthv2_test_files_with_gt.txt").read_text()
    (nyu / "nyudepthv2_train_files_with_gt.txt").write_text(
        (nyu / "nyudepthv2_train_files_with_gt.txt").read_text() + lines
    )
    for name in ("rgb_00000.jpg", "rgb_00001.jpg", "sync_depth_00000.png", "sync_depth_00001.png"):
        (nyu / "sync/kitchen").mkdir(exist_ok=True)
        (nyu / "sync/kitchen" / name).write_bytes((nyu / "test/kitchen" / name.replace("00000", "00001")).read_bytes())
    problems = check_dataset(NyuData(root=nyu)).problems
    assert len(problems) == 3
    assert problems[0].startswith("2 test frames of 2 in the training list too")
    assert "differ in size" in problems[1]
    assert "no measured depth" in problems[2]
    assert not any("\n" in problem for problem in problems)


def test_a_wrong_unit_is_a_problem_and_the_range_is_shown_all_the_same(made_up, tmp_path):
    settings = NyuData(root=made_up.nyu(tmp_path, scale=256))
    report = check_dataset(settings)
    assert [problem.split(":")[0] for problem in report.problems] == ["train", "test"]
    assert all("written in another unit?" in problem for problem in report.problems)
    assert report.parts[0].depth is not None
    assert report.parts[0].depth.highest < 1.5
    assert check_dataset(settings.model_copy(update={"allow_odd_depth": True})).problems == ()


def test_images_too_small_for_the_crop_are_a_problem(kitti):
    for file in [*kitti.rglob("2011_09_26/**/*.png"), *kitti.glob("train/**/*.png"), *kitti.glob("val/**/*.png")]:
        Image.open(file).crop((0, 0, 1242, 351)).save(file)
    assert check_dataset(KittiData(root=kitti)).problems == ()
    problems = check_dataset(KittiData(root=kitti, kb_crop=True)).problems
    assert problems[0].startswith("train: 4 images smaller than the crop of 352 x 1216")


def test_a_wrong_root_leaves_no_part_and_says_which_level_is_right(nyu):
    report = check_dataset(NyuData(root=nyu / "sync"))
    assert report.parts == ()
    assert report.problems[0].endswith(f"this level looks right: {nyu}")
    report.table()
    report = check_dataset(NyuData(root=nyu / "sync", train_list=nyu / "nyudepthv2_train_files_with_gt.txt"))
    assert report.parts[0].images == report.parts[0].probed == 0
    assert report.problems[0].endswith(f"this level looks right: {nyu}")


def test_the_labelled_file_is_checked_too(made_up, tmp_path):
    made_up.labelled(tmp_path)
    settings = NyuData(root=tmp_path, train="labelled", test="labelled", depth="raw")
    report = check_dataset(settings)
    assert report.problems == ()
    train, test = report.parts
    assert (train.frames, train.official, test.frames, test.official) == (6, (795, 0), 4, (654, 0))
    assert (train.images, train.depths, train.probed, train.image_sizes) == (6, 6, 6, {"12 x 16": 6})
    (tmp_path / "nyu_depth_v2_labeled.mat").write_bytes(b"cut")
    assert [problem.split(":")[0] for problem in check_dataset(settings).problems] == ["train", "test"]


def test_a_report_is_a_table_and_plain_json(kitti):
    report = check_dataset(KittiData(root=kitti))
    console = Console(width=160, file=io.StringIO())
    console.print(report.table())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "4 (official 23,158)" in text
    assert "1 (official 45)" in text
    assert "375 x 1242 (2), 370 x 1226 (2)" in text
    plain = json.loads(json.dumps(report.as_dict()))
    assert plain["parts"]["test"]["without_depth"] == 1
    assert plain["parts"]["train"]["depth"]["highest"] == pytest.approx(report.parts[0].depth.highest)  # type: ignore[union-attr]
    assert plain["problems"] == []
