"""Extraction on this processor against its limits: the bare encoder; with a tiny one, bare decoding and writing."""

import argparse
import json
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `spaceclip extract` does, before PyTorch is loaded

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from pictures import NAME, SIDE, bare_decoding, bare_writing, machine, make_pictures
from spaceclip.cache import connections
from spaceclip.cache.malloc import keep_freed_memory
from spaceclip.extract import Backbone, ExtractSettings, FolderSettings, FolderSource, Receipt, extract, load_backbone
from spaceclip.extract.towers.clip import ClipBackbone

SETTINGS = ExtractSettings()


def tiny_backbone(place: Path) -> Backbone:
    """An encoder of next to no work: input and output bind."""
    return load_backbone(f"random:{tiny_backbone_config(place)}")


def tiny_backbone_config(place: Path) -> Path:
    """Its configuration, written into a folder."""
    file = place / "config.json"
    config = {"hidden_size": 32, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    file.write_text(json.dumps({"model_type": "clip_vision_model", "image_size": SIDE, "patch_size": 32, **config}))
    return file


def bare_rate(backbone: Backbone, batch: int, batches: int) -> float:
    """Images a second of the encoder alone, both views of each image, on normalised pixels in memory."""
    assert isinstance(backbone, ClipBackbone)
    pixels = torch.randn(batch, 3, SIDE, SIDE, dtype=backbone.dtype)
    start = time.perf_counter()
    with torch.inference_mode():
        for _ in range(len(SETTINGS.views) * batches):
            backbone.model(pixel_values=pixels, output_hidden_states=True)
    return batch * batches / (time.perf_counter() - start)


def our_run(backbone: Backbone, pictures: Path, settings: ExtractSettings) -> tuple[Receipt, list[int]]:
    """What the whole extraction did, from the first image decoded to the last shard committed; sizes of its files."""
    source = FolderSource(FolderSettings(images=pictures))
    with tempfile.TemporaryDirectory(dir=pictures.parent) as out:
        receipt = extract(source, backbone, settings, Path(out), "all", {}).receipt
        sizes = [file.stat().st_size for file in Path(out).rglob("*") if file.is_file()]
    assert receipt is not None
    return receipt, sizes


def against_the_encoder(place: Path, precision: str, given: argparse.Namespace) -> None:
    """Print how much of the bare encoder's rate is left, in pairs whose length follows that rate."""
    backbone = load_backbone(NAME, precision=precision)
    settings, batch = SETTINGS.model_copy(update={"batch_size": given.batch}), given.batch
    bare_rate(backbone, batch, 1)
    rate, rows = bare_rate(backbone, batch, 1), []
    batches = max(2, round(given.seconds * rate / batch))
    pictures, images = place / precision, batch * max(3, batches)
    make_pictures(pictures, images)
    before = bare_rate(backbone, batch, batches)
    for _ in range(given.repeats):
        receipt, _ = our_run(backbone, pictures, settings)
        after = bare_rate(backbone, batch, batches)
        ours, bare = receipt.images / receipt.seconds, (before + after) / 2
        rows.append((ours / bare, ours, bare))
        before = after
    ratio, ours, bare = (statistics.median(column) for column in zip(*rows, strict=True))
    print(
        f"{precision}: extraction / bare encoder {ratio:.2f} ({ours:.1f} against {bare:.1f} images/s of two views; "
        f"pairs: {' '.join(f'{row[0]:.2f}' for row in rows)}; {images} images each, batch {batch}); load "
        f"{os.getloadavg()[0]:.1f}",
        flush=True,
    )


def against_input_and_output(place: Path, given: argparse.Namespace) -> None:
    """Print what an encoder of next to no work leaves of the slower of bare decoding and bare writing."""
    backbone, pictures = tiny_backbone(place), place / "thousand"
    make_pictures(pictures, given.images)
    settings = SETTINGS.model_copy(update={"layers": (0, 1), "batch_size": given.batch})
    threads, rows = settings.threads_here(), []
    for _ in range(given.repeats):
        before = bare_decoding(pictures, threads).rate
        receipt, sizes = our_run(backbone, pictures, settings)
        decoding = (before + bare_decoding(pictures, threads).rate) / 2
        writing = bare_writing(place, given.images, sizes, connections(place)).rate
        encoding = bare_rate(backbone, given.batch, max(given.images // given.batch, 2))
        ours = receipt.images / receipt.seconds
        rows.append((ours / min(decoding, writing), ours, decoding, writing, encoding, sum(sizes) / given.images))
    ratio, ours, decoding, writing, encoding, size = (statistics.median(one) for one in zip(*rows, strict=True))
    print(
        f"tiny encoder: extraction / the slower of bare decoding and bare writing {ratio:.2f} ({ours:.0f} images/s of "
        f"{size / 1e6:.2f} MB; alone: decoding {decoding:.0f}, writing {writing:.0f}, that encoder {encoding:.0f}; "
        f"pairs: {' '.join(f'{row[0]:.2f}' for row in rows)}); load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def most_memory() -> int:
    """Most megabytes that this process ever held."""
    # What getrusage says may be that of the process which started this one.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) // 1024


def measure_memory(place: Path, images: int, batch: int) -> None:
    """Print the megabytes that an extraction takes above the encoder at work."""
    backbone = load_backbone(NAME)
    bare_rate(backbone, batch, 1)
    before = most_memory()
    make_pictures(place / "pictures", images)
    our_run(backbone, place / "pictures", SETTINGS.model_copy(update={"batch_size": batch}))
    print(most_memory() - before)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--precisions", nargs="+", help="of the encoder; float32, and what is chosen by itself")
    parser.add_argument("--seconds", type=float, default=8, help="of the bare encoder, and so much of extraction")
    parser.add_argument("--images", type=int, default=640, help="for the tiny encoder")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure-memory", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    keep_freed_memory()  # as `spaceclip extract` does; the bare encoder gains by it too
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if given.measure_memory:
            measure_memory(place, given.images, given.batch)
            return
        print(f"{machine()}; {torch.get_num_threads()} threads compute")
        chosen = str(load_backbone(NAME).identity["precision"])
        for precision in given.precisions or dict.fromkeys((chosen, "float32")):
            against_the_encoder(place, precision, given)
        against_input_and_output(place, given)
        command = [sys.executable, __file__, "--measure-memory", "--images", "128", "--batch", str(given.batch)]
        most = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"memory above the encoder at work, seven states of a ViT-B/16, 128 images: {most} MB ({chosen})")


if __name__ == "__main__":
    main()
