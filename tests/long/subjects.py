"""What is mutated, and the command that reads it."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from click.testing import CliRunner, Result
from madeup import MadeUp
from PIL import Image
from spaceclip.pipeline.cli import main
from spaceclip.train import DecoderSettings, DepthDecoder, load_release_checkpoint
from spaceclip.train.release import release_name

VISION = {
    "model_type": "clip_vision_model",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
CONFIG = """
data:
  kind: folder
  images: pictures/rgb
  depth: pictures/depth
  depth_scale: 1000
  split: { by: scene, val: 0.2, test: 0.25 }
backbone: { name: "random:tiny/config.json", precision: float32 }
extract: { layers: [0, 1, 2, 3], batch_size: 4, shard: 8 }
decoder:
  hidden_size: 16
  channels: [16, 12, 8, 8]
  film_hidden: 16
  semantic_layers: [3, 2, 1, 0]
  structural_layers: [2, 1, 0]
train: { epochs: 2, batch_size: 4, learning_rate: 0.003, max_depth: 10 }
evaluate: { crop: none, figures: 1 }
"""
NYU = """
data: { kind: nyu, root: nyu, train: labelled, test: labelled }
backbone: { name: "random:tiny/config.json", precision: float32 }
extract: { layers: [1], shard: 4 }
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def prepare(scenes: int = 12) -> None:
    """Lays out in the working directory what is mutated, or killed."""
    draw = np.random.default_rng(0)
    for scene in range(scenes):
        for number in range(2):
            far = draw.uniform(1, 8)
            image = np.full((24, 32, 3), far * 25) + draw.normal(0, 5, (24, 32, 3))
            depth = far * np.linspace(1.2, 0.8, 24)[:, None] * np.ones((1, 32))
            arrays = {"rgb": image.clip(0, 255).astype(np.uint8), "depth": (depth * 1000).astype(np.uint16)}
            for kind, array in arrays.items():
                file = Path(f"pictures/{kind}/scene{scene:02d}/{number}.png")
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(file)
    Path("tiny").mkdir()
    Path("tiny/config.json").write_text(json.dumps(VISION))
    Path("configs").mkdir()
    Path("configs/tiny.yaml").write_text(CONFIG)


def prepare_subjects() -> None:
    """And the rest of what is mutated."""
    from transformers.models.clip import CLIPVisionConfig, CLIPVisionModel

    prepare()
    for command in ("extract", "train"):
        done = run(command, "--config", "configs/tiny.yaml")
        assert done.exit_code == 0, done.output
    draw = np.random.default_rng(1)
    for kind in ("png", "jpg", "tiff", "bmp"):
        file = Path(f"few/rgb/{kind}/0.{kind}")
        file.parent.mkdir(parents=True)
        Image.fromarray(draw.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(file)
        metres = draw.uniform(1, 8, (24, 32)).astype(np.float32)
        for folder in ("depth", "metres"):
            Path(f"few/{folder}/{kind}").mkdir(parents=True)
        Image.fromarray((metres * 1000).astype(np.uint16)).save(f"few/depth/{kind}/0.png")
        np.save(f"few/metres/{kind}/0.npy", metres)
    pairs = [(f"{kind}/0.{kind}", f"{kind}/0.png") for kind in ("png", "jpg", "tiff", "bmp")]
    rows = [f"{image},{depth},train,s{at}\n" for at, (image, depth) in enumerate(pairs)]
    Path("list.csv").write_text("image,depth,split,scene\n" + "".join(rows))
    Path("list.jsonl").write_text("".join(json.dumps({"image": i, "depth": d}) + "\n" for i, d in pairs))
    Path("list.txt").write_text("".join(f"{image} {depth} 518.8\n" for image, depth in pairs))
    CLIPVisionModel(CLIPVisionConfig(**{k: v for k, v in VISION.items() if k != "model_type"})).save_pretrained("clip")
    MadeUp.nyu(Path("nyu"))
    MadeUp.labelled(Path("nyu"))
    Path("configs/nyu.yaml").write_text(NYU)
    weights = DepthDecoder(RELEASED).state_dict()
    torch.save({"model": {release_name(name): value for name, value in weights.items()}}, "release.pth")


RELEASED = DecoderSettings(hidden_size=16, channels=(8, 8, 8, 4), film_hidden=8)


@contextmanager
def fresh(*folders: str) -> Iterator[None]:
    yield
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def on_few(*more: object) -> Result:
    with fresh("out"):
        images = ("extract", "--images", "few/rgb", "--out", "out", "--layers", "1")
        return run(*images, *(() if "--backbone" in more else ("--backbone", "random:tiny/config.json")), *more)


def with_depth(*more: object) -> Result:
    return on_few("--depth", "few/depth", "--depth-scale", 1000, *more)


def evaluate() -> Result:
    with fresh("scores"):
        return run("evaluate", "--checkpoint", "results/tiny", "--features", "features/tiny", "--out", "scores")


class Subject(NamedTuple):
    """Files by a pattern, whether they are texts, and what reads them."""

    pattern: str
    text: bool
    read: Callable[[], object]


SUBJECTS = {
    "image": Subject("few/rgb/*/*", False, on_few),
    "depth file": Subject("few/depth/*/*", False, with_depth),
    "depth array": Subject("few/metres/*/*", False, partial(on_few, "--depth", "few/metres")),
    "manifest": Subject("list.csv", True, partial(with_depth, "--manifest", "list.csv")),
    "manifest (jsonl)": Subject("list.jsonl", True, partial(with_depth, "--manifest", "list.jsonl")),
    "list": Subject("list.txt", True, partial(with_depth, "--manifest", "list.txt")),
    "released list": Subject("nyu/*.txt", True, partial(run, "data", "check", "nyu", "--root", "nyu")),
    "YAML": Subject("configs/tiny.yaml", True, partial(run, "extract", "--config", "configs/tiny.yaml", "--dry-run")),
    "pointer": Subject("features/tiny/*.json", True, partial(run, "cache", "verify", "features/tiny/train.json")),
    "store": Subject(
        "features/tiny/train-*/*.json*", True, partial(run, "cache", "verify", "features/tiny/train.json")
    ),
    "checkpoint.json": Subject("results/tiny/checkpoint.json", True, evaluate),
    "checkpoint.safetensors": Subject("results/tiny/checkpoint.safetensors", False, evaluate),
    "release checkpoint": Subject("release.pth", False, lambda: load_release_checkpoint("release.pth", RELEASED)),
    "encoder folder": Subject("clip/*", False, partial(on_few, "--backbone", "clip")),
    "splits.mat": Subject("nyu/*.mat", False, partial(run, "extract", "--config", "configs/nyu.yaml", "--dry-run")),
}
