"""A project that DVC runs: this checkout's code, and what a test puts beside it."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml
from warm import Forked

ROOT = Path(__file__).parents[2]
ROOMS = ("cache", "extract", "train", "evaluate", "pipeline")


class Project:
    """A git and DVC checkout with one experiment, and the two commands a user gives in it."""

    def __init__(self, folder: Path, commands: Path) -> None:
        self.folder, self.config = folder, folder / "configs" / "tiny.yaml"
        names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.c"}
        names |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in names.items()}
        self.environment = {**os.environ, **names, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}

    def lay_out(self) -> None:
        """Puts this checkout's code beside what lies in the folder, and commits both."""
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
