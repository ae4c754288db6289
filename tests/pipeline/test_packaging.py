"""What is installed: every package folder, every import declared, and nothing needed that an extra brings."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from spaceclip.pipeline.cli import EXTRAS

ROOT = Path(__file__).parents[2]
ROOMS = ("cache", "extract", "train", "evaluate", "pipeline")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml"}


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[><=]", requirement)[0] for requirement in requirements}


NEEDED = names(PROJECT["project"]["dependencies"])
NEEDED_THERE = {"triton"}
"""What PyTorch brings where it is of use, on CUDA alone."""
OPTIONAL = {extra: names(found) for extra, found in PROJECT["project"]["optional-dependencies"].items()}


def test_every_folder_of_code_is_a_package_that_is_installed():
    files = [ROOT / "__init__.py", *(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))]
    folders = {file.parent.relative_to(ROOT) for file in files}
    assert {".".join(("spaceclip", *folder.parts)) for folder in folders} == set(
        PROJECT["tool"]["setuptools"]["packages"]
    )
    assert all((ROOT / folder / "__init__.py").is_file() for folder in folders)
    assert (ROOT / "py.typed").is_file()


def test_every_file_that_is_no_code_is_installed():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    for room in ROOMS:
        for file in (ROOT / room).rglob("*"):
            if file.is_file() and file.suffix not in (".py", ".pyc"):
                assert any(file.match(pattern) for pattern in patterns), file


def test_every_import_is_declared_and_what_an_extra_brings_is_not_imported_at_the_top():
    optional = set().union(*OPTIONAL.values())
    for file in [ROOT / "__init__.py", *(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))]:
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules = [name.name for name in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            else:
                continue
            for module in (
                {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - {"pydantic_core"}
            ):
                name = DISTRIBUTIONS.get(module, module.replace("_", "-"))
                lazy = node not in tree.body or file.parent.name == "cluster"
                assert name in NEEDED | NEEDED_THERE or (name in optional and lazy), f"{file}: {module}"


def test_the_command_knows_each_extra():
    assert {extra: {name for name in EXTRAS if EXTRAS[name] == extra} for extra in set(EXTRAS.values())} == {
        extra: OPTIONAL[extra] for extra in ("app", "cluster", "curves", "datasets", "export", "video")
    }
    assert "spaceclip[cluster,datasets,dvc,export,video]" in PROJECT["project"]["optional-dependencies"]["dev"]


def without(modules: list[str], code: str, folder: Path) -> str:
    """Run code where some modules cannot be imported."""
    blocked = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in modules)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", blocked + code], capture_output=True, text=True, check=True, cwd=folder
    )
    return done.stdout


BARE = ["dvc", "distributed", "h5py", "scipy", "pooch", "requests", "matplotlib", "jinja2", "click", "rich"]


def test_features_and_checkpoints_are_read_without_any_extra(project, spaceclip):
    spaceclip("extract", "--config", "configs/tiny.yaml")
    spaceclip("train", "--config", "configs/tiny.yaml")
    code = """
from spaceclip.cache import FeatureCache
from spaceclip.train import load_checkpoint
import torch
cache = FeatureCache.open("features/tiny/test.json")
decoder = load_checkpoint("results/tiny").decoder
states = {layer: torch.from_numpy(state).float() for layer, state in cache.states([0]).items()}
print(tuple(decoder(states, torch.from_numpy(cache.pooled([0])), (24, 32)).depth.shape))
"""
    assert without(BARE, code, project) == "(1, 1, 24, 32)\n"


def test_an_extra_that_is_missing_is_one_line_that_names_it(tmp_path):
    code = """
from click.testing import CliRunner
from spaceclip.pipeline.cli import main
print(CliRunner().invoke(main, ["data", "fetch", "nyu", "--root", "nyu", "--only", "lists", "--yes"]).output)
"""
    told = without(["requests", "pooch"], code, tmp_path)
    assert re.search(
        "\nError: (pooch|requests) is not installed, which this needs: pip install 'spaceclip\\[datasets]'\n", told
    )


@pytest.fixture
def make(tmp_path):
    """Runs `make .venv/ready` with a Python of a version, and a pip that ends with a status."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)

    def run(version: str, status: int) -> tuple[int, str]:
        python = tmp_path / "python"
        python.write_text(
            f"""#!/bin/sh
[ "$1" = -c ] && exec {sys.executable} -c "import sys; sys.version_info = {version}; exec(sys.argv[1])" "$2"
mkdir -p .venv/bin
printf '#!/bin/sh\\necho Collecting a; echo "  Using b"; echo Downloading b; exit {status}' >.venv/bin/pip
chmod +x .venv/bin/pip
"""
        )
        python.chmod(0o755)
        done = subprocess.run(
            ["make", "-s", ".venv/ready", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, check=False
        )
        assert (tmp_path / ".venv/ready").exists() == (done.returncode == 0)
        return done.returncode, (done.stdout + done.stderr).decode()

    return run


def test_an_old_python_is_one_line(make):
    status, told = make("(3, 10, 4)", 0)
    assert status
    assert "SpaceCLIP needs Python 3.11 or newer" in told
    assert "is 3.10; name another: make PYTHON=python3.12" in told
    assert "Traceback" not in told


def test_installing_shows_where_it_is_and_a_failed_one_fails(make):
    assert make("(3, 11, 0)", 1)[0]
    status, told = make("(3, 11, 0)", 0)
    assert status == 0
    assert re.search(r"^installing spaceclip\[dev\] into \.venv.*\n\rCollecting a +\rDownloading b +\n$", told)
