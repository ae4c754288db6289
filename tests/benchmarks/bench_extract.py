"""Extraction against its limit: the bare encoder on pixels already in memory, same batch, precision and threads."""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from spaceclip.extract import Backbone, ExtractSettings, FolderSettings, FolderSource, extract, load_backbone

NAME = "random:openai/clip-vit-base-patch16"


def make_pictures(folder: Path, count: int) -> None:
    """Write photograph-like JPEGs of 480 x 640 (smooth colour, some noise), linked to fill up the number."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for index in range(count):
        file = folder / f"{index:05d}.jpg"
        if index < 32:
            smooth = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((640, 480))
            noisy = np.asarray(smooth).astype(int) + draw.integers(-12, 13, (480, 640, 3))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, quality=92)
        else:
            file.symlink_to(folder / f"{index % 32:05d}.jpg")


def bare_rate(backbone: Backbone, batch: int, batches: int) -> float:
    """Images a second of the encoder alone, two views an image, on normalised pixels in memory."""
    pixels = torch.randn(batch, 3, 224, 224, device=backbone.device, dtype=backbone.dtype)
    synchronise(backbone.device)
    start = time.perf_counter()
    with torch.inference_mode():
        for _ in range(2 * batches):
            backbone.model(pixel_values=pixels, output_hidden_states=True)
    synchronise(backbone.device)
    return batch * batches / (time.perf_counter() - start)


def our_rate(backbone: Backbone, pictures: Path, batch: int, threads: int) -> float:
    """Images a second of the whole extraction: decode, both views, write, commit."""
    source = FolderSource(FolderSettings(images=pictures))
    settings = ExtractSettings(batch_size=batch, threads=threads)
    with tempfile.TemporaryDirectory(dir=pictures.parent) as out:
        start = time.perf_counter()
        done = extract(source, backbone, settings, Path(out), "all", {})
        return done.computed / (time.perf_counter() - start)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(pictures: Path, batch: int, device: str) -> int:
    """Most memory in MB that a process extracting a folder ever held."""
    command = [sys.executable, __file__, "--measure-memory", str(pictures), "--batch", str(batch), "--device", device]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--measure-memory", type=Path)
    given = parser.parse_args()
    backbone = load_backbone(NAME, device=given.device, precision=given.precision)
    if given.measure_memory:
        our_rate(backbone, given.measure_memory, given.batch, given.threads)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return
    with tempfile.TemporaryDirectory() as place:
        pictures = Path(place) / "pictures"
        make_pictures(pictures, given.images)
        bare_rate(backbone, given.batch, 2)
        rates = []
        for _ in range(given.repeats):
            bare = bare_rate(backbone, given.batch, max(given.images // given.batch // 2, 2))
            ours = our_rate(backbone, pictures, given.batch, given.threads)
            rates.append((ours / bare, ours, bare))
        ratio, ours, bare = (statistics.median(column) for column in zip(*rates, strict=True))
        print(
            f"extraction / bare encoder: {ratio:.2f} ({ours:.1f} against {bare:.1f} images/s of two views; "
            f"{backbone.identity['precision']}, {given.device}, batch {given.batch}, {torch.get_num_threads()} threads)"
        )
        make_pictures(Path(place) / "few", given.images)
        make_pictures(Path(place) / "many", 10 * given.images)
        few, many = (peak_memory(Path(place) / name, given.batch, given.device) for name in ("few", "many"))
        print(f"memory of 10 x {given.images} images / {given.images}: {many / few:.2f} ({many} against {few} MB)")


if __name__ == "__main__":
    main()
