"""Extraction against its limits: the bare encoder; with a tiny one, bare decoding and bare writing; and its memory."""

import argparse
import json
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `spaceclip extract` does, before PyTorch is loaded

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from spaceclip.extract import Backbone, ExtractSettings, FolderSettings, FolderSource, extract, load_backbone
from spaceclip.extract.malloc import keep_freed_memory
from spaceclip.extract.towers.clip import ClipBackbone

NAME = "random:openai/clip-vit-base-patch16"
SIDE = 224


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


def tiny_backbone(place: Path, device: str = "cpu") -> Backbone:
    """An encoder of next to no work: input and output bind."""
    file = place / "config.json"
    config = {"hidden_size": 32, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    file.write_text(json.dumps({"model_type": "clip_vision_model", "image_size": SIDE, "patch_size": 32, **config}))
    return load_backbone(f"random:{file}", device=device)


def bare_rate(backbone: Backbone, batch: int, batches: int) -> float:
    """Images a second of the encoder alone, two views an image, on normalised pixels in memory."""
    assert isinstance(backbone, ClipBackbone)
    pixels = torch.randn(batch, 3, SIDE, SIDE, device=backbone.device, dtype=backbone.dtype)
    synchronise(backbone.device)
    start = time.perf_counter()
    with torch.inference_mode():
        for _ in range(2 * batches):
            backbone.model(pixel_values=pixels, output_hidden_states=True)
    synchronise(backbone.device)
    return batch * batches / (time.perf_counter() - start)


def bare_decoding(pictures: Path, threads: int) -> float:
    """Images a second of Pillow alone: decode, bring to the encoder's size."""
    files = sorted(pictures.iterdir())

    def decode(file: Path) -> None:
        np.asarray(Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(decode, files))
    return len(files) / (time.perf_counter() - start)


def bare_writing(folder: Path, images: int, size: int) -> float:
    """Images a second of writing as many bytes, in files of 16 MB, to the disk and not only to memory."""
    content, total, start = os.urandom(2**24), images * size, time.perf_counter()
    for number in range(-(-total // len(content))):
        with (folder / f"bare{number}").open("wb") as file:
            file.write(content)
            os.fsync(file.fileno())
    rate = images / (time.perf_counter() - start)
    for file in folder.glob("bare*"):
        file.unlink()
    return rate


def our_rate(backbone: Backbone, pictures: Path, settings: ExtractSettings) -> tuple[float, int]:
    """Images a second of the whole extraction: decode, both views, write, commit; and the bytes of an image."""
    source = FolderSource(FolderSettings(images=pictures))
    with tempfile.TemporaryDirectory(dir=pictures.parent) as out:
        start = time.perf_counter()
        done = extract(source, backbone, settings, Path(out), "all", {})
        seconds = time.perf_counter() - start
        size = sum(file.stat().st_size for file in Path(out).rglob("*") if file.is_file())
    return done.computed / seconds, size // done.images


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def most_memory() -> int:
    """Most megabytes that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def memory_of(pictures: Path, given: argparse.Namespace, *, tiny: bool) -> int:
    """Megabytes that extracting a folder takes above the encoder at work, in a process of its own."""
    command = [sys.executable, __file__, "--measure-memory", str(pictures), "--batch", str(given.batch)]
    command += ["--device", given.device, *(["--tiny"] if tiny else [])]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def against_the_encoder(backbone: Backbone, pictures: Path, given: argparse.Namespace) -> None:
    settings, rates = ExtractSettings(batch_size=given.batch, threads=given.threads), []
    bare_rate(backbone, given.batch, 2)
    batches = max(given.images // given.batch // 4, 2)
    for _ in range(given.repeats):
        before = bare_rate(backbone, given.batch, batches)
        ours, _ = our_rate(backbone, pictures, settings)
        bare = (before + bare_rate(backbone, given.batch, batches)) / 2
        rates.append((ours / bare, ours, bare))
    ratio, ours, bare = (statistics.median(column) for column in zip(*rates, strict=True))
    print(
        f"extraction / bare encoder: {ratio:.2f} ({ours:.1f} against {bare:.1f} images/s of two views; {given.images} "
        f"images, {backbone.identity['precision']}, {given.device}, batch {given.batch}, "
        f"{torch.get_num_threads()} threads)"
    )


def against_input_and_output(pictures: Path, given: argparse.Namespace) -> None:
    backbone = tiny_backbone(pictures.parent, given.device)
    settings, rates = ExtractSettings(layers=(0, 1), batch_size=given.batch, threads=given.threads), []
    for _ in range(given.repeats):
        ours, size = our_rate(backbone, pictures, settings)
        decoding, writing = bare_decoding(pictures, given.threads), bare_writing(pictures.parent, given.images, size)
        encoding = bare_rate(backbone, given.batch, max(given.images // given.batch, 2))
        rates.append((ours / min(decoding, writing), ours, decoding, writing, encoding, size))
    ratio, ours, decoding, writing, encoding, size = (statistics.median(one) for one in zip(*rates, strict=True))
    print(
        f"extraction with a tiny encoder / the slower of bare decoding and bare writing: {ratio:.2f} ({ours:.0f} "
        f"images/s of {size / 1e6:.2f} MB; alone: decoding {decoding:.0f}, writing {writing:.0f}, that encoder "
        f"{encoding:.0f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--most-images", type=int, default=10_000, help="of the memory that must stay the same")
    parser.add_argument("--measure-memory", type=Path)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    if given.device == "cpu":
        keep_freed_memory()  # as `spaceclip extract` does; the bare encoder gains by it too
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if given.measure_memory:
            backbone = tiny_backbone(place) if given.tiny else load_backbone(NAME, device=given.device)
            bare_rate(backbone, given.batch, 1)
            before = most_memory()
            settings = ExtractSettings(batch_size=given.batch)
            if given.tiny:
                settings = settings.model_copy(update={"layers": (0, 1)})
            our_rate(backbone, given.measure_memory, settings)
            print(most_memory() - before)
            return
        make_pictures(place / "pictures", given.images)
        against_the_encoder(
            load_backbone(NAME, device=given.device, precision=given.precision), place / "pictures", given
        )
        make_pictures(place / "thousand", 8 * given.images)
        against_input_and_output(place / "thousand", given)
        for name, count in (("few", 100), ("many", given.most_images)):
            make_pictures(place / name, count)
        few, many = (memory_of(place / name, given, tiny=True) for name in ("few", "many"))
        print(f"memory of {given.most_images:,} images / 100: {many / few:.2f} ({many} against {few} MB, two states)")
        whole = memory_of(place / "pictures", given, tiny=False)
        print(f"memory of extraction, seven states of a ViT-B/16, above the encoder at work: {whole} MB")


if __name__ == "__main__":
    main()
