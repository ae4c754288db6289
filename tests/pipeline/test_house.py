"""The rules of the house, read off the code itself."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BELOW = {
    "cache": set(),
    "extract": {"cache"},
    "train": {"cache"},
    "evaluate": {"cache", "train"},
    "pipeline": {"cache", "extract", "train", "evaluate"},
}


def _rooms_imported(file: Path, room: str) -> set[str]:
    depth = len(file.relative_to(ROOT / room).parts)
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth + 1:
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("spaceclip"):
            found.add(node.module.removeprefix("spaceclip.").split(".")[0])
        elif isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("spaceclip.")}
    return found


@pytest.mark.parametrize("room", BELOW)
def test_arrows_run_only_downwards(room):
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        assert _rooms_imported(file, room) <= BELOW[room], file


@pytest.mark.parametrize("room", BELOW)
def test_nobody_reaches_past_the_door_of_another_room(room):
    for file in (ROOT / room).rglob("*.py"):
        package = file.parent.relative_to(ROOT).parts
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                path = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
                if path[0] != room:
                    assert not (ROOT / "/".join(path)).with_suffix(".py").exists(), f"{file}: {ast.unparse(node)}"


@pytest.mark.parametrize("name", ["evaluate", "compare"])
def test_a_command_of_results_neither_opens_nor_scores_nor_writes(name):
    tree = ast.parse((ROOT / "pipeline" / "commands" / f"{name}.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert not imported & {"FeatureCache", "load_checkpoint", "evaluate_checkpoint", "open_scored", "write_atomically"}


def test_no_drawer_for_odds_and_ends():
    names = {path.stem for room in BELOW for path in (ROOT / room).rglob("*")}
    assert not names & {"utils", "util", "common", "helpers", "core", "misc"}


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_cache_needs_neither_torch_nor_transformers():
    code = "import sys, spaceclip.cache; print({'torch', 'transformers', 'PIL'} & set(sys.modules))"
    assert _run(code) == "set()\n"


def test_the_package_has_its_version_and_its_names_without_importing_what_is_not_used():
    code = """
import sys
import spaceclip
assert spaceclip.__version__ == __import__("importlib.metadata").metadata.version("spaceclip")
assert not {"numpy", "torch", "click"} & set(sys.modules)
from spaceclip import *
print(all(getattr(spaceclip, name) == globals()[name] for name in spaceclip.__all__), SpaceClip.__name__)
print(hasattr(spaceclip, "nothing"))
"""
    assert _run(code) == "True SpaceClip\nFalse\n"


def test_training_and_scoring_need_no_transformers():
    code = "import sys, spaceclip.train, spaceclip.evaluate; print({'transformers', 'PIL'} & set(sys.modules))"
    assert _run(code) == "set()\n"


def test_help_answers_at_once():
    code = "import sys; sys.argv = ['spaceclip', '--help']\nfrom spaceclip.pipeline.cli import main\nmain()"
    times = []
    for _ in range(3):
        start = time.perf_counter()
        assert "Metric depth" in _run(code)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


def test_a_place_knows_nothing_of_formats_and_neither_knows_who_uses_them():
    below = {"places": {"errors", "places"}, "format": {"errors", "places", "format"}}
    for folder, allowed in below.items():
        for file in (ROOT / "cache" / folder).glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom) and node.level:
                    found = folder if node.level == 1 else (node.module or "").split(".")[0]
                    assert found in allowed, f"{file}: {ast.unparse(node)}"
