"""Going on with a store of 10,000 shards: how long until the encoder sees the first image that is left."""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from bench_extract import tiny_backbone
from spaceclip.cache import Counts, StoreWriter
from spaceclip.cache.format.ledger import record_key
from spaceclip.extract import Backbone, Entry, ExtractSettings, Sample, Source, extract, store_spec
from spaceclip.extract.computed import settled

SETTINGS = ExtractSettings(layers=(0, 1), shard=64)


class Begun(Exception):  # noqa: N818 - it is what is waited for
    """The first image of the long work is asked for."""


class Frames:
    """Made-up frames that cost nothing, and tell when the long work asks for one."""

    depth_unit = camera = None
    depth_counts: Counts = "uint32"

    def __init__(self, count: int) -> None:
        self.entries = [Entry(f"scene{index // 100}/{index}", f"scene{index // 100}", "1") for index in range(count)]
        self.probed = False

    def depth_sizes(self) -> list[None]:
        return [None] * len(self.entries)

    def check(self) -> tuple[str, ...]:
        return ()

    def load(self, index: int) -> Sample:
        if self.probed:
            raise Begun
        return Sample(self.entries[index].id, np.zeros((240, 320, 3), np.uint8), None, None)


def almost_whole(folder: Path, source: Source, backbone: Backbone, shards: int) -> None:
    """A store of which the last shard is missing, by its ledger alone."""
    spec = settled(store_spec(source, backbone, SETTINGS), folder / "new.zarr", backbone, SETTINGS)
    writer = StoreWriter(folder / f"train-{spec.fingerprint}.zarr", spec, {})
    tokens = np.zeros((64, 2, spec.patches, spec.channels), np.float16)
    block = {
        "layers/0": tokens,
        "layers/1": tokens,
        "pooled": np.zeros((64, 2, spec.channels), np.float32),
        "image": np.zeros((64, *spec.image_size, 3), np.uint8),
    }
    first = writer.write(0, block)
    for shard in range(1, shards - 1):
        start, stop = spec.rows(shard)
        (folder / f"train-{spec.fingerprint}.zarr" / record_key(shard)).write_bytes(
            replace(first, shard=shard, start=start, stop=stop).to_json()
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        backbone, folder = tiny_backbone(Path(place)), Path(place) / "features"
        source = Frames(64 * given.shards)
        almost_whole(folder, source, backbone, given.shards)
        times = []
        for _ in range(given.repeats):
            source = Frames(64 * given.shards)
            start = time.perf_counter()

            def begin(_prediction: object, source: Frames = source) -> None:
                source.probed = True

            try:
                extract(source, backbone, SETTINGS, folder, "train", {}, predicted=begin)
            except Begun:
                times.append(time.perf_counter() - start)
        print(
            f"resuming {given.shards:,} shards of {64 * given.shards:,} images: new work after "
            f"{statistics.median(times):.1f} s (most {max(times):.1f}), the list of images and the encoder at hand"
        )


if __name__ == "__main__":
    main()
