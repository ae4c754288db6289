"""A small split to extract on workers: its images, what a worker is told of it, and what one machine makes of it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from spaceclip.cache import StoreWriter
from spaceclip.cache.cluster import Chosen, cores_here
from spaceclip.extract import (
    BackboneSettings,
    ExtractSettings,
    FolderData,
    extract,
    load_backbone,
    open_splits,
    store_spec,
)
from spaceclip.extract.cluster import environment_here
from spaceclip.extract.cluster.driver import extract_on_cluster
from spaceclip.extract.cluster.job import Job
from spaceclip.extract.computed import settled
from spaceclip.extract.remaining import Work

IMAGES = 24
SETTINGS = ExtractSettings(layers=(0, 2), batch_size=4, shard=2, threads=2)


class Split(NamedTuple):
    """A job whose store is laid out, its shards, and the store of a single machine to compare with."""

    job: Job
    pending: list[int]
    alone: Path


def save_pictures(root: Path) -> Path:
    draw = np.random.default_rng(0)
    for number in range(IMAGES):
        Image.fromarray(draw.integers(0, 256, (24, 36, 3), dtype=np.uint8)).save(root / f"{number:03d}.png")
    return root


def lay_out(
    config: Path, images: Path, folder: Path, name: str = "together.zarr", settings: ExtractSettings = SETTINGS
) -> Split:
    data = FolderData(images=images)
    source = open_splits(data)["train"]
    named = BackboneSettings(name=f"random:{config}", precision="float32")
    backbone = load_backbone(named.name, precision="float32")
    alone = extract(source, backbone, settings, folder / "alone", "train", {}).store
    assert isinstance(alone, Path)
    spec = settled(store_spec(source, backbone, settings), folder / name, backbone, settings)
    chosen = Chosen(environment_here("cpu", "float32"), (), {cores_here(): 1})
    job = Job(data, "train", named, "cpu", chosen, settings, spec, folder / name)
    return Split(job, StoreWriter(job.store, spec, {}).pending, alone)


def computed(client, job, pending, watch, **more):
    """Images that extraction on a cluster says it computed."""
    found = extract_on_cluster(client, job, Work(job.spec, list(pending)), watch, **more)
    return found.images if found else 0


def ignore(_done, _total, _workers):
    pass


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.suffix != ".rate"
    }
