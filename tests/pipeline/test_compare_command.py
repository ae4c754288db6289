import csv

import pytest
from spaceclip.evaluate import METRICS, CheckpointFacts, EvaluateSettings, Results, Row, SavedMapsFacts


@pytest.fixture
def leave(tmp_path, monkeypatch):
    """Leaves a result as an evaluation does."""
    monkeypatch.chdir(tmp_path)

    def write(folder, data="nyu", saved=False):
        name = "standard" if data in ("kitti", "nyu") else "controlled"
        protocol = EvaluateSettings().protocol(name, {"data": data, "split_by": "scene"}, 0.001, 10.0)
        row = Row(
            protocol=protocol, split="test", images=654, pixels=1, skipped=(), metrics=dict.fromkeys(METRICS, 0.25),
            regions={}, scenes={}, baselines={}, variation={},
        )  # fmt: skip
        checkpoint = CheckpointFacts(
            path=f"{folder}/best", sha256="a" * 64, epoch=1, weights="raw", chosen="last", storage="float16"
        )
        model = SavedMapsFacts(path="maps", name="theirs", depth_scale=None) if saved else checkpoint
        path = tmp_path / folder / "results.json"
        path.parent.mkdir(parents=True)
        path.write_text(Results(data=data, model=model, backbone=None, rows=(row,)).model_dump_json())

    return write


def test_it_prints_our_rows_beside_the_published_ones(spaceclip, leave):
    leave("results/mine")
    leave("results/rooms", data="synthetic")
    shown = spaceclip("compare", "results/mine", "results/rooms/results.json").output
    assert "Monocular depth on NYU Depth V2" in shown
    assert "Monocular depth on synthetic" in shown
    assert "KITTI" not in shown
    assert "▸ mine" in shown
    assert "▸ rooms" in shown
    assert "CaBins" in shown


def test_it_writes_the_three_files_and_nothing_else(spaceclip, leave, tmp_path):
    leave("results/mine")
    spaceclip("compare", "results/mine", "--out", "tables/new")
    names = sorted(path.name for path in (tmp_path / "tables" / "new").iterdir())
    assert names == ["comparison.csv", "comparison.md", "comparison.tex"]
    with (tmp_path / "tables" / "new" / "comparison.csv").open(newline="") as file:
        assert [line["method"] for line in csv.DictReader(file)][-1] == "mine"


def test_folders_of_one_name_are_told_apart_and_one_given_twice_counts_once(spaceclip, leave, tmp_path):
    for folder in ("a/run", "b/run", "c/other"):
        leave(folder)
    spaceclip("compare", "a/run", "b/run/results.json", "c/other", "a/run/results.json", "a/../a/run", "--out", "t")
    with (tmp_path / "t" / "comparison.csv").open(newline="") as file:
        ours = [line["method"] for line in csv.DictReader(file) if line["ours"] == "True"]
    assert ours == ["a/run", "b/run", "other"]


def test_one_data_set_alone(spaceclip, leave):
    leave("mine")
    leave("street", data="kitti")
    assert "NYU" not in spaceclip("compare", "mine", "street", "--data", "kitti").output
    failed = spaceclip("compare", "mine", "--data", "kitti", fails=True).output
    assert "--data kitti: the results are of nyu" in failed


def test_saved_maps_take_a_label(spaceclip, leave):
    leave("mine")
    leave("theirs", saved=True)
    shown = spaceclip("compare", "mine", "theirs", "--constraint", "theirs=TC-BU").output
    assert next(line for line in shown.splitlines() if "▸ theirs" in line).split()[2] == "TC-BU"
    for wrong in ("mine=TC-BU", "theirs=TCBU", "TC-BU"):
        failed = spaceclip("compare", "mine", "theirs", "--constraint", wrong, fails=True).output
        assert f"--constraint {wrong}: expected NAME=LABEL with the name of saved maps (theirs)" in failed


def test_no_result_or_a_damaged_one_is_one_line(spaceclip, leave, tmp_path):
    leave("mine")
    assert "Path 'nowhere' does not exist" in spaceclip("compare", "mine", "nowhere", fails=True).output
    (tmp_path / "mine" / "results.json").write_text('{"data": "nyu"')
    failed = spaceclip("compare", "mine", fails=True).output
    assert "mine/results.json is no valid result" in failed
    assert failed.count("\n") == 1
    assert spaceclip("compare", fails=True).exit_code == 2
