"""70 SIGKILLs over the pipeline at random moments, each followed by the same command: the end is as if undisturbed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

import yaml
from dvcproject import Project
from spaceclip.cache import FeatureCache
from subjects import prepare
from warm import Forked, command_folder

CONFIG = ("--config", "configs/tiny.yaml")
# What a run leaves that says when it ran, or where: no result.
VARYING = ("report.html", "results.json", "history.csv", "train_receipt.json")
# DVC writes this file in place: a kill may leave it empty, and a user takes it away.
TORN = "'./dvc.lock' validation failed"


class Step(NamedTuple):
    """A command, what it leaves, and what has to happen before it (it starts from the end of the step before)."""

    command: tuple[str, ...]
    leaves: tuple[str, ...]
    before: Callable[[], None] = lambda: None


def damage() -> None:
    """A copied store loses an object and another is altered."""
    store = Path(str(FeatureCache.open("copied").path))
    objects = sorted(path for path in store.rglob("c/**/*") if path.is_file())
    objects[0].unlink()
    objects[-1].write_bytes(bytes(len(objects[-1].read_bytes())))


def design() -> None:
    """A study of two arms, whose runs are scored on the test split too."""
    Path("arms.yaml").write_text(
        "base: configs/tiny.yaml\narms: { whole: {}, flat: { decoder.film: false } }\nseeds: [1, 2]\n"
    )


STEPS = {
    "extract": Step(("spaceclip", "extract", *CONFIG), ("features",)),
    "copy": Step(("spaceclip", "cache", "copy", "features/tiny/train.json", "copied"), ("copied",)),
    "repair": Step(("sh", "-c", "spaceclip cache repair copied; test $? -le 1"), ("copied",), damage),
    "train": Step(("spaceclip", "train", *CONFIG), ("results",)),
    "evaluate": Step(("spaceclip", "evaluate", *CONFIG), ("results",)),
    "study": Step(("spaceclip", "study", "arms.yaml"), ("results",), design),
    "dvc": Step((sys.executable, "-m", "dvc", "repro"), ("features", "results", "dvc.lock")),
}


def contents(names: tuple[str, ...]) -> dict[str, bytes]:
    """What commands left, begun files apart."""
    files = (file for name in names for file in [Path(name), *Path(name).rglob("*")] if file.is_file())
    return {
        str(file): file.read_bytes()
        for file in files
        if file.name not in VARYING
        and file.suffix != ".rate"
        and not any(part.startswith(".") or part.endswith(".looks") for part in file.parts)
    }


@contextmanager
def running(command: tuple[str, ...], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A command in a process group of its own, with what it says."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as run:
        yield run


def finished(step: Step, environment: dict[str, str]) -> str | None:
    """Runs the command to its end; returns what it said if that was no success."""
    with running(step.command, environment) as run:
        said = run.communicate(timeout=300)[0]
    if TORN in said and not Path("dvc.lock").read_bytes():
        print("  dvc.lock was left empty and is taken away", flush=True)
        Path("dvc.lock").unlink()
        return finished(step, environment)
    return None if run.returncode == 0 else said


def restore(saved: Path) -> None:
    for file in Path().iterdir():
        shutil.rmtree(file) if file.is_dir() and not file.is_symlink() else file.unlink()
    shutil.copytree(saved, ".", dirs_exist_ok=True, symlinks=True)


def kill_step(step: Step, kills: int, environment: dict[str, str], draw: Random, saved: Path) -> tuple[int, list[str]]:
    """Kills a command so often, each time from the same start; returns how many kills met it, and what went wrong."""
    step.before()
    shutil.rmtree(saved, ignore_errors=True)
    shutil.copytree(".", saved, symlinks=True)
    began = time.monotonic()
    if said := finished(step, environment):
        return 0, [f"undisturbed: {said}"]
    took, wanted, met, wrong = time.monotonic() - began, contents(step.leaves), 0, []
    while met < kills:
        restore(saved)
        moment = draw.uniform(0.02, took)
        with running(step.command, environment) as run:
            try:
                run.wait(moment)
                continue
            except subprocess.TimeoutExpired:
                met += 1
                os.killpg(run.pid, signal.SIGKILL)
        if said := finished(step, environment):
            wrong.append(f"killed after {moment:.2f} s, the same command then says: {said}")
        elif (found := contents(step.leaves)) != wanted:
            names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
            wrong.append(f"killed after {moment:.2f} s, other bytes: {', '.join(names)}")
    return met, wrong


def main() -> int:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=70)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--step", choices=list(STEPS), action="append")
    given = parser.parse_args()
    each, draw, total, failures = -(-given.kills // len(STEPS)), Random(given.seed), 0, 0
    print(f"{each} kills of each of {', '.join(given.step or STEPS)}; seed {given.seed}", flush=True)
    with TemporaryDirectory(prefix="kills-") as folder, TemporaryDirectory() as bin_folder:
        root = Path(folder) / "project"
        root.mkdir()
        os.chdir(root)
        prepare(scenes=20)
        Path("params.yaml").write_text(yaml.safe_dump({"experiment": "tiny"}))
        with command_folder(Path(bin_folder)) as commands:
            project = Project(root, commands)
            project.lay_out()
            Forked("-c", "").communicate()  # else the first command would be timed with the start of the server
            for name, step in STEPS.items():
                if name == "dvc":
                    for left in ("features", "results"):
                        shutil.rmtree(left, ignore_errors=True)
                kills = each if not given.step or name in given.step else 0
                began = time.monotonic()
                met, wrong = kill_step(step, kills, project.environment, draw, Path(folder) / "saved")
                total, failures = total + met, failures + len(wrong)
                print(f"{name}: {met} kills, {len(wrong)} failures, {time.monotonic() - began:.0f} s", flush=True)
                for one in wrong:
                    print(f"  {one}", flush=True)
        os.chdir("/")
    print(f"{total} kills, {failures} failures")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
