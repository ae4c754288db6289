"""Training from the store against training without one, on real frames, batch by batch in turn.

Without: each picture is decoded, brought to the encoder's size, encoded in float32, and learned from by a plain step.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from bench_step import RATE, MadeUp, Plain, fresh
from pictures import NAME
from PIL import Image
from spaceclip.cache import Batches, FeatureCache
from spaceclip.extract import ExtractSettings, NyuData, Source, extract, load_backbone, open_splits, prepare_depth
from spaceclip.extract.towers.clip import ClipBackbone
from spaceclip.train import TrainSettings, allocator, feed
from spaceclip.train.step import TrainingStep

CPU = torch.device("cpu")
SIZE = (480, 640)
SETTINGS = TrainSettings(max_depth=10.0)


def encoded(source: Source, rows: np.ndarray, backbone: ClipBackbone, layers: tuple[int, ...]) -> MadeUp:
    """A batch of photographs as the decoder sees them."""
    pixels, depths, side = [], [], backbone.input_size
    for row in rows:
        sample = source.load(int(row))
        assert isinstance(sample.image, Image.Image)
        assert sample.depth is not None
        small = sample.image.resize((side, side), Image.Resampling.BICUBIC)
        pixels.append(torch.from_numpy(np.array(small)).permute(2, 0, 1))
        depths.append(torch.from_numpy(prepare_depth(sample.depth, SIZE))[None])
    with torch.inference_mode():
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (backbone.mean, backbone.std))
        normalised = (torch.stack(pixels).float() / 255 - mean) / std
        found = backbone.model(pixel_values=normalised, output_hidden_states=True)
    # Tensors of inference mode cannot be learned from.
    states = {layer: found.hidden_states[layer][:, 1:].clone() for layer in layers}
    target = torch.stack(depths)
    valid = (target > SETTINGS.min_depth) & (target < SETTINGS.max_depth)
    return MadeUp(states, found.pooler_output.clone(), target, valid)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, default=Path("data/nyu"), help="NYU frames, as configs/nyu_sample.yaml")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    given, _ = parser.parse_known_args()
    if not given.root.exists():
        print(f"training without a store: {given.root} has no NYU frames, so it was not measured")
        return
    source = open_splits(NyuData(kind="nyu", root=given.root))["train"]
    backbone = load_backbone(NAME, precision="float32")
    assert isinstance(backbone, ClipBackbone)
    plain, ours = Plain(fresh(CPU, dropout=0.1)), TrainingStep(fresh(CPU, dropout=0.1), SETTINGS)
    layers = ours.decoder.settings.layers
    with tempfile.TemporaryDirectory() as place:
        made = extract(source, load_backbone(NAME), ExtractSettings(target_size=SIZE), Path(place), "train", {})
        batches = Batches(FeatureCache.open(made.pointer), given.batch, layers, seed=1, allocate=allocator(CPU))
        rows, _ = batches.order(0)

        def without() -> None:
            plain(encoded(source, rows[0], backbone, layers))

        def from_store(epoch: int) -> None:
            for one in feed(batches.epoch(epoch), CPU):
                valid = (one.depth > SETTINGS.min_depth) & (one.depth < SETTINGS.max_depth)
                ours(one.states, one.pooled, one.depth, valid, RATE).total.item()

        without()
        from_store(0)
        pairs = []
        for number in range(given.repeats):
            start = time.perf_counter()
            without()
            middle = time.perf_counter()
            from_store(number)
            end = time.perf_counter()
            pairs.append(((middle - start) / given.batch, (end - middle) / len(batches) / given.batch))
    ratio = statistics.median(slow / fast for slow, fast in pairs)
    slow, fast = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"an image of an epoch, without a store / from the store: {ratio:.2f} ({slow:.3f} against {fast:.3f} s, batch "
        f"{given.batch}, {SIZE[0]} x {SIZE[1]}; pairs: {' '.join(f'{s / f:.2f}' for s, f in pairs)}); load "
        f"{os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
