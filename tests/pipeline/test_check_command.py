import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

USAGE = "Error: give DATASET and --root, or --config alone"


def words(text):
    return " ".join(text.split())


@pytest.fixture
def frames(tmp_path):
    """Thirty rooms of one frame each, of which two are for testing, in NYU's layout."""
    root, lists = tmp_path / "frames", {"train": "", "test": ""}
    for number in range(30):
        part, folder = ("test", "test") if number < 2 else ("train", "sync")
        names = f"room_{number:04}/rgb_00000.jpg", f"room_{number:04}/sync_depth_00000.png"
        for name, array in zip(
            names, (np.zeros((48, 64, 3), np.uint8), np.linspace(500, 6000, 48 * 64).reshape(48, 64)), strict=True
        ):
            file = root / folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array if array.ndim == 3 else array.astype(np.uint16)).save(file)
        lists[part] += f"{' '.join(names)} 518.8579\n"
    for part, lines in lists.items():
        (root / f"nyudepthv2_{part}_files_with_gt.txt").write_text(lines)
    return root


def test_check_says_what_is_there_and_what_is_missing(frames, spaceclip):
    told = words(spaceclip("data", "check", "nyu", "--root", frames).output)
    assert "28 there, 0 missing" in told
    (frames / "sync" / "room_0005" / "rgb_00000.jpg").unlink()
    told = spaceclip("data", "check", "nyu", "--root", frames, fails=True)
    assert "27 there, 1 missing" in words(told.output)
    assert told.output.splitlines()[-1].startswith(f"Error: {frames}: 1 problem, named above")
    told = spaceclip("data", "check", "nyu", "--root", frames, "--json", fails=True).output
    found = json.loads(told[: told.rindex("}") + 1])
    assert found["parts"]["train"]["missing_images"] == ["room_0005/rgb_00000.jpg"]


def test_split_writes_whole_scenes(frames, tmp_path, spaceclip):
    told = spaceclip("data", "split", "nyu", "--root", frames, "--out", tmp_path / "lists").output
    parts = {name: (tmp_path / "lists" / f"{name}.txt").read_bytes() for name in ("train", "val")}
    listed = (frames / "nyudepthv2_train_files_with_gt.txt").read_text().splitlines()
    assert sorted(listed) == sorted(b"".join(parts.values()).decode().splitlines())
    for name, content in parts.items():
        found = sha256(content).hexdigest()
        assert f"{tmp_path / 'lists' / name}.txt: {content.count(b'rgb')} frames, SHA-256 {found}" in told


def test_split_overwrites_no_list_but_may_be_repeated(frames, tmp_path, spaceclip):
    split = ("data", "split", "nyu", "--root", frames, "--out", tmp_path / "lists")
    first = spaceclip(*split).output
    assert spaceclip(*split).output == first
    source = tmp_path / "lists" / "train.txt"
    content = source.read_bytes()
    told = spaceclip(*split, "--train-list", source, fails=True).output
    assert told == f"Error: {source} exists and holds something else: give another folder for the lists\n"
    assert source.read_bytes() == content
    assert sorted(path.name for path in source.parent.iterdir()) == ["train.txt", "val.txt"]
    other = tmp_path / "other"
    (other / "val.txt").mkdir(parents=True)
    assert "val.txt exists and" in spaceclip(*split[:-1], other, fails=True).output
    assert [path.name for path in other.iterdir()] == ["val.txt"]


def test_check_says_how_much_was_decoded_and_full_decodes_all(frames, monkeypatch, spaceclip):
    monkeypatch.setattr("spaceclip.extract.sources.datasets.check._PROBED", 4)
    Image.fromarray(np.zeros((48, 64), np.uint16)).save(frames / "sync" / "room_0003" / "sync_depth_00000.png")
    check = ("data", "check", "nyu", "--root", frames)
    told = spaceclip(*check).output
    assert told.splitlines()[-1] == "all fit; decoded 6 of 30 depth maps and their images; --full decodes all"
    told = spaceclip(*check, "--full", fails=True).output
    assert "room_0003/sync_depth_00000.png holds no measured depth" in told
    assert "all fit" not in told
    Image.fromarray(np.full((48, 64), 2500, np.uint16)).save(frames / "sync" / "room_0003" / "sync_depth_00000.png")
    assert spaceclip(*check, "--full").output.splitlines()[-1] == (
        "all fit; decoded 30 of 30 depth maps and their images"
    )


def test_a_missing_test_list_is_said(frames, spaceclip):
    (frames / "nyudepthv2_test_files_with_gt.txt").unlink()
    check = ("data", "check", "nyu", "--root", frames)
    told = [line for line in spaceclip(*check).output.splitlines() if line.startswith("- no test list")]
    assert [line.split(": ")[1] for line in told] == ["there will be no test split"]
    assert [f"- {note}" for note in json.loads(spaceclip(*check, "--json").output)["notes"]] == told


def test_check_reads_what_an_experiment_will_read(tmp_path, spaceclip, made_up):
    kitti, config = made_up.kitti(tmp_path / "kitti"), tmp_path / "kitti.yaml"
    image = next((kitti / "2011_09_26/2011_09_26_drive_0001_sync").rglob("0000000000.png"))
    depth = next((kitti / "train").rglob("0000000000.png"))
    Image.open(image).resize((1000, 300)).save(image)
    Image.fromarray(np.full((300, 1000), 2560, np.uint16)).save(depth)
    config.write_text(f"data: {{kind: kitti, root: '{kitti}', kb_crop: true}}\n")
    spaceclip("data", "check", "kitti", "--root", kitti)
    told = spaceclip("data", "check", "--config", config, fails=True).output
    assert "1 image smaller than the crop of 352 x 1216" in told
    assert told.splitlines()[-1].startswith(f"Error: {kitti}: 1 problem")

    made_up.labelled(tmp_path / "nyu")
    config.write_text(f"data: {{kind: nyu, root: '{tmp_path / 'nyu'}', train: labelled, test: labelled, depth: raw}}\n")
    assert spaceclip("data", "check", "--config", config).output.splitlines()[-1] == (
        "all fit; decoded 10 of 10 depth maps and their images"
    )
    config.write_text("data: {kind: synthetic}\n")
    assert spaceclip("data", "check", "--config", config, fails=True).output == (
        f"Error: {config}: data of kind synthetic is checked by `extract`: expected kitti or nyu\n"
    )


@pytest.mark.parametrize(
    "given",
    ["", "nyu", "--root .", "nyu --config c.yaml", "--root . --config c.yaml", "--config c.yaml --train-list c.yaml"],
)
def test_check_takes_a_data_set_or_an_experiment(given, spaceclip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").touch()
    assert spaceclip("data", "check", *given.split(), fails=True).output.splitlines()[-1] == USAGE
