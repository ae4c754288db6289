"""`spaceclip predict` on a folder against the bare model on prepared pixels; memory of few and of many images."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from bench_host import most_memory
from pictures import machine, make_pictures
from PIL import Image
from spaceclip.extract import load_backbone, read_image
from spaceclip.pipeline.prediction import SpaceClip
from spaceclip.pipeline.prediction.images import predict_images
from spaceclip.pipeline.prediction.inputs import find_inputs
from spaceclip.pipeline.prediction.job import Job
from spaceclip.train import CheckpointInfo, DecoderSettings, DepthDecoder, save_checkpoint

TINY = {
    "model_type": "clip_vision_model",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
TINY_DECODER = {
    "channels": [16, 12, 8, 8],
    "film_hidden": 16,
    "semantic_layers": [3, 2, 1, 0],
    "structural_layers": [2, 1, 0],
}


def untrained(folder: Path, backbone_name: str, target_size: tuple[int, int], **decoder: object) -> SpaceClip:
    """A decoder of random weights, by default the paper's, on an encoder."""
    backbone = load_backbone(backbone_name)
    settings = DecoderSettings.model_validate(decoder).for_features(backbone.channels)
    normalisation = {"resample": "bicubic", "mean": list(backbone.mean), "std": list(backbone.std)}
    info = CheckpointInfo(
        decoder=settings,
        backbone=backbone.identity,
        preprocessing={"target_size": list(target_size), **normalisation},
        stores=[],
        min_depth=0.001,
        max_depth=10,
        weights="raw",
        epoch=1,
        metrics={},
        protocol={},
        training={},
    )
    save_checkpoint(folder, DepthDecoder(settings).state_dict(), info)
    return SpaceClip.from_pretrained(folder, backbone=backbone_name)


def photographs(folder: Path, count: int, size: tuple[int, int]) -> Image.Image:
    """Write one picture of (height, width) under many names; returns it."""
    make_pictures(folder / "one", 1, size=size)
    (one,) = (folder / "one").iterdir()
    (folder / "photos").mkdir()
    for number in range(count):
        (folder / f"photos/{number:06d}.jpg").hardlink_to(one)
    return read_image(one)


def predict(model: SpaceClip, photos: Path, out: Path, kinds: list[str]) -> float:
    """Seconds that the prediction of a folder takes."""
    start = time.perf_counter()
    predict_images(Job(model, out, kinds), find_inputs([str(photos)], out, print), lambda _done, _total: None, print)
    return time.perf_counter() - start


def memory(images: int, kinds: str) -> float:
    """Megabytes that a process took at most which predicts so many small pictures."""
    command = [sys.executable, __file__, "--measure-memory", str(images), "--save", kinds]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640))
    parser.add_argument("--backbone", default="random:openai/clip-vit-base-patch16")
    parser.add_argument("--save", default="png")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--most-images", type=int, default=10_000, help="of the memory that must stay the same")
    parser.add_argument("--measure-memory", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    kinds = given.save.split(",")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if given.measure_memory:
            (folder / "config.json").write_text(json.dumps(TINY))
            model = untrained(folder / "checkpoint", f"random:{folder}/config.json", (48, 64), **TINY_DECODER)
            photographs(folder, given.measure_memory, (48, 64))
            predict(model, folder / "photos", folder / "out", kinds)
            print(most_memory())
            return
        print(f"{machine()}; {torch.get_num_threads()} threads compute; {given.backbone}, {given.save} of each image")
        model = untrained(folder / "checkpoint", given.backbone, (480, 640))
        batch = np.stack([model.prepare(photographs(folder, given.images, given.size))] * model.batch_size)
        model.decode(batch)
        pairs = []
        for number in range(given.repeats):
            start = time.perf_counter()
            for first in range(0, given.images, len(batch)):
                model.decode(batch[: given.images - first])
            bare = time.perf_counter() - start
            pairs.append((bare, predict(model, folder / "photos", folder / f"out{number}", kinds)))
        ratios = ", ".join(f"{bare / whole:.2f}" for bare, whole in pairs)
        bare, whole = (given.images / statistics.median(seconds) for seconds in zip(*pairs, strict=True))
        print(f"bare model {bare:.2f} images/s, predict {whole:.2f} images/s; pairs {ratios}")
    few, many = memory(10, given.save), memory(given.most_images, given.save)
    print(f"memory of a tiny encoder: {many:.0f} MB of {given.most_images:,} images, {few:.0f} MB of 10")


if __name__ == "__main__":
    main()
