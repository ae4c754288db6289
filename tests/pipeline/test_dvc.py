"""The pipeline as DVC runs it, on a copy of this checkout with a tiny experiment."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from dvcproject import ROOT, Project
from spaceclip.evaluate.batch_metrics import batch_metrics
from spaceclip.evaluate.inference import decode
from spaceclip.evaluate.metrics import depth_metrics
from spaceclip.evaluate.validation import validate
from spaceclip.pipeline.training import train_decoder
from spaceclip.pipeline.validation import ValidationScores
from warm import command_folder


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    with command_folder(tmp_path_factory.mktemp("bin")) as folder:
        yield folder


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory, tiny, commands):
    """A project whose pipeline has run."""
    config = {
        "data": {
            "kind": "synthetic",
            "scenes": 8,
            "views_per_scene": 1,
            "height": 24,
            "width": 32,
            "split": {"by": "scene", "val": 0.125, "test": 0.25},
        },
        "backbone": {"name": tiny, "seed": 0, "precision": "float32"},
        "extract": {"layers": [0, 1, 2, 3]},
        "decoder": {
            "channels": [8, 8, 8, 4],
            "film": True,
            "film_hidden": 8,
            "semantic_layers": [3, 2, 1, 0],
            "structural_layers": [2, 1, 0],
        },
        "train": {"figures": 0, "epochs": 1, "batch_size": 4, "learning_rate": 0.003},
    }
    # `evaluate`, like any section but `data`, takes its defaults.
    project = Project(tmp_path_factory.mktemp("project"), commands)
    (project.folder / "params.yaml").write_text("experiment: tiny\n")
    project.config.parent.mkdir()
    project.config.write_text(yaml.safe_dump(config))
    project.lay_out()
    assert project.repro() == {"settings", "extract", "train", "evaluate"}
    project.commit()
    return project.folder


@pytest.fixture
def project(reproduced, commands, tmp_path):
    """A copy of it."""
    return Project(shutil.copytree(reproduced, tmp_path / "project"), commands)


def test_a_second_run_does_nothing(project):
    assert project.changed() == set()
    assert project.repro() == set()


def test_metrics_and_plots_are_there_to_show(project):
    assert "abs_rel" in project.dvc("metrics", "show")
    page = project.folder / "dvc_plots" / "index.html"
    project.dvc("plots", "show")
    assert "Training loss" in page.read_text()


def test_training_and_scoring_anew_leaves_what_dvc_has_of_it_as_it_was(project):
    receipt = project.folder / "results/tiny/train_receipt.json"
    before = receipt.read_bytes()
    assert project.repro("--force") == {"settings", "extract", "train", "evaluate"}
    assert receipt.read_bytes() != before
    assert project.git("status", "--short") == ""
    assert project.changed() == set()


def test_two_ablations_in_a_row_start_from_the_committed_settings_and_share_the_stores(project):
    def stores() -> dict[Path, int]:
        return {store: store.stat().st_ino for store in (project.folder / "features/tiny").glob("*.zarr/zarr.json")}

    before, names = stores(), {"no-film": "film", "no-structure": "structural"}
    for name, setting in names.items():
        setting = f"configs/tiny.yaml:++decoder.{setting}=false"
        found = project.dvc("exp", "run", "--temp", "--name", name, "--set-param", setting, "train")
        assert found.count("(0 computed now)") == 3
    decoders = [project.checkpoint(name)["decoder"] for name in names]
    assert [(found["film"], found["structural"]) for found in decoders] == [(False, True), (True, False)]
    committed, *those = (project.lock(at) for at in ("HEAD", *names))
    assert all(lock["extract"]["outs"] == committed["extract"]["outs"] for lock in those)
    assert stores() == before
    columns = project.dvc("exp", "show", "--only-changed", "--drop", ".*/", "--csv").splitlines()[0].split(",")
    assert (
        {"decoder.film", "decoder.structural"}
        <= {*columns}
        <= {*("decoder.film", "decoder.structural", "Experiment", "rev", "typ", "Created", "parent")}
    )  # no hashes of what stages depend on
    assert project.git("status", "--short") == ""
    assert project.changed() == set()


def test_going_back_to_old_settings_goes_back_to_the_old_store(project):
    first = project.pointer()
    project.change("backbone", seed=1)
    assert project.changed() == {"settings"}
    assert project.repro("extract") == {"settings", "extract"}
    assert project.pointer()["store"] != first["store"]
    assert project.changed() == {"train", "evaluate"}
    project.change("backbone", seed=0)
    assert project.repro("extract") == {"extract"}
    assert project.pointer() == first
    assert project.changed() == set()


def test_a_deleted_store_is_never_taken_for_one_that_is_up_to_date(project):
    store = project.folder / "features/tiny" / project.pointer()["store"]
    shutil.rmtree(store)
    project.change("train", learning_rate=0.002)
    found = project.dvc("repro", fails=True)
    assert "no feature store is there; run `spaceclip extract --config configs/tiny.yaml` to make it" in found
    (project.folder / "features/tiny/train.json").unlink()
    assert project.repro("train") == {"extract", "train"}
    assert project.changed() == {"evaluate"}
    assert store.exists()


def test_a_study_is_a_stage_that_runs_when_it_is_asked_for_alone(project):
    folder = project.folder / "configs/studies"
    folder.mkdir()
    stage = (ROOT / "configs/studies/dvc.yaml").read_text()
    stage = stage.replace("study: components", "study: mine").replace("experiment: demo", "experiment: tiny")
    (folder / "dvc.yaml").write_text(stage)
    file = folder / "mine.yaml"
    file.write_text("base: configs/tiny.yaml\narms: { both: {}, film: { decoder.structural: false } }\nseeds: [1]\n")
    project.config.write_text(project.config.read_text() + "evaluate: { crop: none }\n")
    study = "configs/studies/dvc.yaml:study"
    assert project.repro(study) == {"settings", study}
    assert project.repro(study) == set()
    shown = json.loads((project.folder / "results/mine/metrics.json").read_text())
    assert list(shown["abs_rel"]) == ["both", "film"]
    assert "abs_rel.film" in project.dvc("metrics", "show", "results/mine/metrics.json")
    file.write_text(file.read_text().replace("[1]", "[1, 2]"))
    assert not project.repro() & {study}
    assert project.repro(study) == {study}
    assert (project.folder / "results/mine/film/seed2/checkpoint.json").exists()
    project.commit()
    arm = "configs/studies/mine.yaml:+arms.plain={decoder.film:false,decoder.structural:false}"
    project.dvc("exp", "run", "--name", "arm", "--set-param", arm, study)
    shown = json.loads((project.folder / "results/mine/metrics.json").read_text())
    assert list(shown["abs_rel"]) == ["both", "film", "plain"]
    assert "abs_rel.plain" in project.dvc("exp", "show", "--csv").splitlines()[0]


def test_training_runs_again_for_what_chooses_its_weights():
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["train"]
    for work in (train_decoder, ValidationScores, validate, decode, depth_metrics, batch_metrics):
        assert f"{work.__module__.removeprefix('spaceclip.').replace('.', '/')}.py" in stage["deps"]
