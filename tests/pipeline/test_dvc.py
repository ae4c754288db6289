"""The pipeline as DVC runs it, on a copy of this checkout with a tiny experiment."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROOMS = ("cache", "extract", "train", "evaluate", "pipeline")


class Project:
    """A git and DVC checkout with one experiment, and the two commands a user gives in it."""

    def __init__(self, folder: Path, config: str) -> None:
        self.folder = folder
        for name in (*ROOMS, ".dvc"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "tmp", "cache"))
        # `cache` is a room here as well as a folder of DVC's own.
        shutil.copytree(
            ROOT / "cache", folder / "cache", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )
        for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, folder / name)
        (folder / "params.yaml").write_text("experiment: tiny\n")
        (folder / "configs").mkdir()
        self.config = folder / "configs" / "tiny.yaml"
        self.config.write_text(config)
        bin_folder = str(Path(sys.executable).parent)
        self.environment = {
            **os.environ,
            "PATH": bin_folder + os.pathsep + os.environ["PATH"],
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@b.c",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@b.c",
            "OMP_NUM_THREADS": "1",
        }
        self.run("git", "init", "--quiet")
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "start")

    def run(self, *command: str, fails: bool = False) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def repro(self, *arguments: str, **options: bool) -> set[str]:
        """Run the pipeline; returns the stages that ran."""
        told = self.run("dvc", "repro", *arguments, **options)
        return {line.split("'")[1] for line in told.splitlines() if line.startswith("Running stage")}

    def change(self, section: str, **settings: object) -> None:
        content = yaml.safe_load(self.config.read_text())
        content[section].update(settings)
        self.config.write_text(yaml.safe_dump(content))

    def pointer(self) -> dict[str, str]:
        return json.loads((self.folder / "features/tiny/train.json").read_bytes())


EXTRACT = {"extract@train", "extract@val", "extract@test"}


@pytest.fixture(scope="module")
def dvc_project(tmp_path_factory, tiny):
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
            "hidden_size": 16,
            "channels": [8, 8, 8, 4],
            "film": True,
            "film_hidden": 8,
            "semantic_layers": [3, 2, 1, 0],
            "structural_layers": [2, 1, 0],
        },
        "train": {"epochs": 1, "batch_size": 4, "learning_rate": 0.003},
        "evaluate": {"crop": "none", "min_depth": None, "max_depth": None, "figures": 1},
    }
    project = Project(tmp_path_factory.mktemp("project"), yaml.safe_dump(config))
    assert project.repro() == {*EXTRACT, "train", "evaluate"}
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "done")
    return project


def test_a_second_run_does_nothing(dvc_project):
    assert dvc_project.repro() == set()


def test_metrics_and_plots_are_there_to_show(dvc_project):
    assert "abs_rel" in dvc_project.run("dvc", "metrics", "show")
    page = dvc_project.folder / "dvc_plots" / "index.html"
    dvc_project.run("dvc", "plots", "show")
    assert "Training loss" in page.read_text()


def test_an_ablation_trains_and_scores_and_never_extracts(dvc_project):
    told = dvc_project.run(
        "dvc", "exp", "run", "--name", "no-film", "--set-param", "configs/tiny.yaml:decoder.film=false"
    )
    ran = {line.split("'")[1] for line in told.splitlines() if line.startswith("Running stage")}
    assert ran == {"train", "evaluate"}
    checkpoint = json.loads((dvc_project.folder / "results/tiny/checkpoint.json").read_bytes())
    assert checkpoint["decoder"]["film"] is False
    assert "no-film" in dvc_project.run("dvc", "exp", "show", "--csv")
    dvc_project.run("git", "checkout", "--quiet", "--", "configs", "dvc.lock")
    assert dvc_project.repro() == set()


def test_going_back_to_old_settings_goes_back_to_the_old_store(dvc_project):
    first = dvc_project.pointer()
    dvc_project.change("backbone", seed=1)
    assert dvc_project.repro() == {*EXTRACT, "train", "evaluate"}
    assert dvc_project.pointer()["store"] != first["store"]
    dvc_project.change("backbone", seed=0)
    assert dvc_project.repro() >= EXTRACT
    assert dvc_project.pointer() == first


def test_a_deleted_store_is_never_taken_for_one_that_is_up_to_date(dvc_project):
    store = dvc_project.folder / "features/tiny" / dvc_project.pointer()["store"]
    shutil.rmtree(store)
    dvc_project.change("train", learning_rate=0.002)
    told = dvc_project.run("dvc", "repro", fails=True)
    assert "no feature store is there; run `spaceclip extract` to make it" in told
    (dvc_project.folder / "features/tiny/train.json").unlink()
    assert dvc_project.repro() == {"extract@train", "train", "evaluate"}
    assert store.exists()
