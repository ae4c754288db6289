"""The pipeline as DVC runs it, on a copy of this checkout with a tiny experiment."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from warm import Forked, command_folder

ROOT = Path(__file__).parents[2]
ROOMS = ("cache", "extract", "train", "evaluate", "pipeline")


class Project:
    """A git and DVC checkout with one experiment, and the two commands a user gives in it."""

    def __init__(self, folder: Path, commands: Path) -> None:
        self.folder, self.config = folder, folder / "configs" / "tiny.yaml"
        names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.c"}
        names |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in names.items()}
        self.environment = {**os.environ, **names, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}

    def lay_out(self, config: str) -> None:
        for name in (*ROOMS, ".dvc"):
            shutil.copytree(
                ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__", "tmp", "cache")
            )
        # `cache` is a room here as well as a folder of DVC's own.
        shutil.copytree(
            ROOT / "cache", self.folder / "cache", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )
        for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, self.folder / name)
        (self.folder / "params.yaml").write_text("experiment: tiny\n")
        self.config.parent.mkdir()
        self.config.write_text(config)
        self.git("init", "--quiet")
        self.commit()

    def git(self, *arguments: str) -> str:
        run = subprocess.run(
            ("git", *arguments), cwd=self.folder, env=self.environment, check=True, capture_output=True, text=True
        )
        return run.stdout

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "done")

    def dvc(self, *arguments: str, fails: bool = False) -> str:
        run = Forked("-m", "dvc", *arguments, cwd=self.folder, env=self.environment)
        out, err = run.communicate()
        assert (run.poll() != 0) == fails, out + err
        return out + err

    def repro(self, *arguments: str) -> set[str]:
        """Run the pipeline; returns the stages that ran."""
        return ran(self.dvc("repro", *arguments))

    def changed(self) -> set[str]:
        """The stages that `dvc repro` would run for what is known by now."""
        run = Forked("-m", "dvc", "status", "--json", cwd=self.folder, env=self.environment)
        return set(json.loads(run.communicate()[0]))

    def change(self, section: str, **settings: object) -> None:
        content = yaml.safe_load(self.config.read_text())
        content[section].update(settings)
        self.config.write_text(yaml.safe_dump(content))

    def lock(self, at: str) -> dict[str, Any]:
        """The stages that the dvc.lock of a commit or an experiment holds."""
        refs = self.git("for-each-ref", "--format=%(refname)", f"refs/exps/**/{at}").split()
        return yaml.safe_load(self.git("show", f"{refs[0] if refs else at}:dvc.lock"))["stages"]

    def checkpoint(self, experiment: str) -> dict[str, Any]:
        """The checkpoint.json of an experiment, from DVC's cache."""
        outs = {Path(out["path"]).name: out["md5"] for out in self.lock(experiment)["train"]["outs"]}
        md5 = outs["checkpoint.json"]
        return json.loads((self.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).read_bytes())

    def pointer(self) -> dict[str, str]:
        return json.loads((self.folder / "features/tiny/train.json").read_bytes())


def ran(output: str) -> set[str]:
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


EXTRACT = {"extract@train", "extract@val", "extract@test"}


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
        "train": {"epochs": 1, "batch_size": 4, "learning_rate": 0.003},
    }
    # `evaluate`, like any section but `data`, takes its defaults.
    project = Project(tmp_path_factory.mktemp("project"), commands)
    project.lay_out(yaml.safe_dump(config))
    assert project.repro() == {"settings", *EXTRACT, "train", "evaluate"}
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


def test_two_ablations_in_a_row_start_from_the_committed_settings_and_share_the_stores(project):
    def stores() -> dict[Path, int]:
        return {store: store.stat().st_ino for store in (project.folder / "features/tiny").glob("*.zarr/zarr.json")}

    before, names = stores(), {"no-film": "film", "no-structure": "structural"}
    for name, setting in names.items():
        setting = f"configs/tiny.yaml:++decoder.{setting}=false"
        found = project.dvc("exp", "run", "--temp", "--name", name, "--set-param", setting, "train")
        assert found.count("(0 computed now)") == 2
    decoders = [project.checkpoint(name)["decoder"] for name in names]
    assert [(found["film"], found["structural"]) for found in decoders] == [(False, True), (True, False)]
    committed, *those = (project.lock(at) for at in ("HEAD", *names))
    for split in ("train", "val"):
        assert all(lock[f"extract@{split}"]["outs"] == committed[f"extract@{split}"]["outs"] for lock in those)
    assert stores() == before
    assert project.git("status", "--short") == ""
    assert project.changed() == set()


def test_going_back_to_old_settings_goes_back_to_the_old_store(project):
    first = project.pointer()
    project.change("backbone", seed=1)
    assert project.changed() == {"settings"}
    assert project.repro("extract@train") == {"settings", "extract@train"}
    assert project.pointer()["store"] != first["store"]
    assert project.changed() == {"extract@val", "extract@test", "train", "evaluate"}
    project.change("backbone", seed=0)
    assert project.repro("extract@train") == {"extract@train"}
    assert project.pointer() == first
    assert project.changed() == set()


def test_a_deleted_store_is_never_taken_for_one_that_is_up_to_date(project):
    store = project.folder / "features/tiny" / project.pointer()["store"]
    shutil.rmtree(store)
    project.change("train", learning_rate=0.002)
    found = project.dvc("repro", fails=True)
    assert "no feature store is there; run `spaceclip extract` to make it" in found
    (project.folder / "features/tiny/train.json").unlink()
    assert project.repro("train") == {"extract@train", "train"}
    assert project.changed() == {"evaluate"}
    assert store.exists()
