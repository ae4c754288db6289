"""A tiny encoder, a folder of tiny pictures with depth, and the command to run on them."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from spaceclip.pipeline.cli import main

VISION = {
    "model_type": "clip_vision_model",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


@pytest.fixture
def spaceclip():
    """Runs the command; `fails` for runs that must end in one line of error, `code` for another status than 0."""

    def run(*arguments: object, fails: bool = False, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if fails:
            assert isinstance(result.exception, SystemExit), repr(result.exception)
            assert result.exit_code in (1, 2, 130), result.output
            assert "Traceback" not in result.output
            return result
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def one_line(spaceclip):
    """Runs the command where it must end in one line of error, and returns that."""

    def run(*arguments: object) -> str:
        told = spaceclip(*arguments, fails=True).output
        assert told.startswith("Error: ")
        assert told.count("\n") == 1
        return told

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> str:
    """Name of a tiny encoder of random weights."""
    file = tmp_path_factory.mktemp("tiny") / "config.json"
    file.write_text(json.dumps(VISION))
    return f"random:{file}"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Twelve scenes of two pictures each, with depth in millimetres beside them."""
    root, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for scene in range(12):
        for number in range(2):
            far = draw.uniform(1, 8)
            image = np.full((24, 32, 3), far * 25) + draw.normal(0, 5, (24, 32, 3))
            depth = far * np.linspace(1.2, 0.8, 24)[:, None] * np.ones((1, 32))
            for kind, array in (
                ("rgb", image.clip(0, 255).astype(np.uint8)),
                ("depth", (depth * 1000).astype(np.uint16)),
            ):
                file = root / kind / f"scene{scene:02d}" / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(file)
    return root


CONFIG = """
data:
  kind: folder
  images: {pictures}/rgb
  depth: {pictures}/depth
  depth_scale: 1000
  split: {{ by: scene, val: 0.2, test: 0.25 }}
backbone: {{ name: "{tiny}", precision: float32 }}
extract: {{ layers: [0, 1, 2, 3], batch_size: 4, shard: 8 }}
decoder:
  channels: [16, 12, 8, 8]
  film_hidden: 16
  semantic_layers: [3, 2, 1, 0]
  structural_layers: [2, 1, 0]
train: {{ figures: 0, epochs: 3, batch_size: 4, learning_rate: 0.003, max_depth: 10 }}
evaluate: {{ crop: none, figures: 2 }}
"""


def _invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def _lay_out(folder: Path, pictures: Path, tiny: str) -> Path:
    (folder / "configs").mkdir()
    (folder / "configs" / "tiny.yaml").write_text(CONFIG.format(pictures=pictures, tiny=tiny))
    return folder


@pytest.fixture(scope="session")
def extracted_once(tmp_path_factory, pictures, tiny) -> Path:
    folder = _lay_out(tmp_path_factory.mktemp("extracted"), pictures, tiny)
    with contextlib.chdir(folder):
        _invoke("extract", "--config", "configs/tiny.yaml")
    return folder


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory, extracted_once) -> Path:
    folder = shutil.copytree(extracted_once, tmp_path_factory.mktemp("trained"), dirs_exist_ok=True)
    with contextlib.chdir(folder):
        _invoke("train", "--config", "configs/tiny.yaml")
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch, pictures, tiny) -> Path:
    """A working folder with one experiment, configs/tiny.yaml."""
    monkeypatch.chdir(tmp_path)
    return _lay_out(tmp_path, pictures, tiny)


@pytest.fixture
def extracted(project, extracted_once) -> Path:
    """The same once its features are extracted."""
    return shutil.copytree(extracted_once, project, dirs_exist_ok=True)


@pytest.fixture
def trained(project, trained_once) -> Path:
    """And once it is trained."""
    return shutil.copytree(trained_once, project, dirs_exist_ok=True)


@pytest.fixture
def photos(trained):
    """Three photographs of several sizes in a tree, and the folder to work in."""
    draw = np.random.default_rng(0)
    for name, size in (("a.jpg", (30, 20)), ("trip/b.png", (24, 32)), ("trip/day 2/c.webp", (50, 40))):
        file = trained / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (*size, 3), dtype=np.uint8)).save(file)
    (trained / "photos/.hidden").mkdir()
    shutil.copy(trained / "photos/a.jpg", trained / "photos/.hidden/a.jpg")
    (trained / "photos/notes.txt").write_text("none")
    return trained


@pytest.fixture
def predict(spaceclip, tiny):
    """Runs the command into `depth`."""

    def run(*arguments, **expected):
        common = ("--checkpoint", "results/tiny", "--backbone", tiny, "--device", "cpu")
        return spaceclip(
            "predict", *arguments, *common, *(() if "--out" in arguments else ("--out", "depth")), **expected
        ).output

    return run


@pytest.fixture
def refused(predict):
    """Likewise, where it must end in one line; returns that."""

    def run(*arguments):
        told = predict(*arguments, fails=True)
        assert told.startswith("Error: ")
        assert told.count("\n") == 1
        return told

    return run
