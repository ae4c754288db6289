"""`spaceclip predict` on a folder against the bare model on pixels in memory; memory of few and of many images."""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from spaceclip.extract import load_backbone
from spaceclip.pipeline.prediction import SpaceClip, predict_folder
from spaceclip.train import CheckpointInfo, DecoderSettings, DepthDecoder, save_checkpoint


def untrained(folder: Path, name: str) -> None:
    """A checkpoint of the paper's decoder on an encoder, both of random weights."""
    backbone = load_backbone(name)
    settings = DecoderSettings().for_features(backbone.channels)
    normalisation = {"resample": "bicubic", "mean": list(backbone.mean), "std": list(backbone.std)}
    info = CheckpointInfo(
        decoder=settings,
        backbone=backbone.identity,
        preprocessing={"target_size": [480, 640], **normalisation},
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640))
    parser.add_argument("--backbone", default="random:openai/clip-vit-base-patch16")
    parser.add_argument("--save", default="png")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        untrained(folder / "checkpoint", given.backbone)
        draw = np.random.default_rng(0)
        (folder / "photos").mkdir()
        smooth = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        photo = smooth.resize(given.size[::-1], Image.Resampling.BICUBIC)
        for number in range(given.images):
            photo.save(folder / f"photos/{number:06d}.jpg", quality=90)
        model = SpaceClip.from_pretrained(folder / "checkpoint", device="cpu")
        pixels = np.stack([model.prepare(photo)] * model.batch_size)
        model.decode(pixels)
        start = time.perf_counter()
        for _ in range(3):
            model.decode(pixels)
        bare = 3 * len(pixels) / (time.perf_counter() - start)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        predict_folder(
            [str(folder / "photos")], str(folder / "checkpoint"), folder / "out", given.save.split(","), say=print
        )
        rate = given.images / (time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"bare model {bare:.2f} images/s, predict {rate:.2f} images/s with loading: {rate / bare:.2f}")
        print(f"{given.images} images: peak memory {after / 1024:.0f} MB, {(after - before) / 1024:.0f} above bare")
        print(f"{torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
