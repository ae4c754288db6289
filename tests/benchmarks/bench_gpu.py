"""Extraction on a CUDA card, in six minutes at most and without a network: checks first, then how busy the card is.

With `--toy` the same is done on a processor with a tiny encoder, in seconds.
"""

import argparse
import json
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `spaceclip extract` does, before PyTorch is loaded

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bench_cluster import steady_rate
from bench_extract import most_memory, tiny_backbone_config
from gpu_checks import CHECKS, Setup, check
from gpu_training import CHECKS as TRAINING_CHECKS
from gpu_training import TARGETS, measure_training
from pictures import NAME, bare_decoding, bare_decoding_and_writing, machine, make_pictures
from spaceclip.cache import StoreWriter, connections
from spaceclip.cache.cluster import choose_environment, local_cluster
from spaceclip.cache.malloc import keep_freed_memory
from spaceclip.extract import Backbone, BackboneSettings, ExtractSettings, FolderData, extract
from spaceclip.extract.cluster import Cluster, environment_here
from spaceclip.extract.computed import settled
from spaceclip.extract.engine import Engine, device_of
from spaceclip.extract.engine.receipt import ENCODE
from spaceclip.extract.remaining import Work
from spaceclip.extract.settings import store_spec
from spaceclip.extract.towers import fastest_tower
from standin import Passing, object_sizes

SECONDS = 330
"""After which nothing more is begun."""

BATCHES = (32, 64, 128, 256, 512)


def card_rate(setup: Setup, encode: Callable[[torch.Tensor], Any], batch: int, seconds: float) -> float:
    """Images a second of the encoder alone on images in the device's memory, all views of each."""
    side = setup.backbone().input_size
    images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=setup.device)
    views, done = len(setup.settings.views), 0
    encode(images)
    synchronise(setup)
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(4 * views):
            encode(images)
        done += 4 * batch
        synchronise(setup)
    return done / (time.perf_counter() - start)


def synchronise(setup: Setup) -> None:
    if setup.device.type == "cuda":
        torch.cuda.synchronize(setup.device)


def engine_run(setup: Setup, precision: str, seconds: float) -> dict[str, Any]:
    """One extraction of all pictures against the ceiling: the slower of the bare card, and decoding with writing."""
    backbone, source, settings = setup.backbone(precision), setup.source, setup.settings
    pictures, count, threads = setup.pictures, len(source.entries), settings.threads_here()
    with tempfile.TemporaryDirectory(dir=setup.place) as folder:
        store = Path(folder) / "a.zarr"
        spec = settled(store_spec(source, backbone, settings), store, backbone, settings)
        batch, sizes, lines = spec.computed["batch"], object_sizes(spec), []
        writers = connections(store)
        before = bare_decoding_and_writing(pictures, Path(folder), sizes, threads, writers).rate
        tower = fastest_tower(backbone, settings.layers, batch)
        card = card_rate(setup, tower.encode, batch, seconds)
        decoding = bare_decoding(pictures, threads).cpu
        del tower
        sink, device = Passing(StoreWriter(store, spec, {})), device_of(backbone, spec)
        with Engine(source, device, spec, sink, batch=batch, threads=threads, say=lines.append) as engine:
            work = Work.all_of(spec)
            first, rest = work.shards[0], work.shards[1:]
            engine.wait([engine.submit(work, first)])  # the card is ready: its kernels are chosen
            stage = engine.meter.stages[ENCODE]
            start, cpu, busy = time.perf_counter(), time.process_time(), stage.receipt().busy
            engine.wait([engine.submit(work, shard) for shard in rest])
            took, cpu = time.perf_counter() - start, time.process_time() - cpu
            busy = stage.receipt().busy - busy
            receipt = engine.receipt()
    images = count - work.count(first)
    both = (before + bare_decoding_and_writing(pictures, setup.place, sizes, threads, writers).rate) / 2
    ceiling = min(card, both)
    return {
        "precision": precision,
        "batch": batch,
        "images": images,
        "images_per_s": images / took,
        "card_alone": card,
        "decoding_and_writing_alone": both,
        "ratio": images / took / ceiling,
        "card_busy": busy / took,
        "host_cpu_ms_beyond_decoding": 1000 * (cpu / images - decoding),
        "decoding_cpu_ms": 1000 * decoding,
        "encoder": "; ".join(lines),
        "receipt": str(receipt),
    }


def worker_run(setup: Setup, repeats: int) -> dict[str, Any]:
    """One Dask worker against the plain run, both into a store, between two commits of each."""
    settings, source = setup.settings, setup.source
    precision: Any = setup.precisions[-1]
    named = BackboneSettings(name=setup.name, precision=precision)
    data, backbone = FolderData(images=setup.pictures), setup.backbone(precision)
    kind = setup.device.type

    def rate(how: dict[str, Any]) -> float:
        with tempfile.TemporaryDirectory(dir=setup.place) as out:
            done = extract(source, backbone, settings, Path(out), "train", {}, **how)
            return steady_rate(Path(str(done.store)), settings.shard)

    with local_cluster(1, gpus=kind == "cuda") as client:
        cluster = Cluster(
            client, data, named, kind, choose_environment(client, partial(environment_here, kind, precision)), settings
        )
        on_worker = {"settle": cluster.settle, "fill": cluster.fill("train")}
        pairs = [(rate(on_worker), rate({})) for _ in range(repeats)]
    worker, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"worker": worker, "plain": plain, "ratio": worker / plain, "precision": precision, "pairs": pairs}


def batch_rates(setup: Setup, seconds: float) -> list[dict[str, Any]]:
    """Images a second of the bare encoder by precision and batch, called plainly and the fastest way."""
    sizes, layers = BATCHES if setup.device.type == "cuda" else (4, 8), setup.settings.layers
    return [
        _batch_rate(setup, setup.backbone(precision), layers, batch, seconds)
        for precision in setup.precisions
        for batch in sizes
    ]


def _batch_rate(setup: Setup, backbone: Backbone, layers: Sequence[int], batch: int, seconds: float) -> dict[str, Any]:
    tower = fastest_tower(backbone, layers, batch)
    return {
        "precision": backbone.identity["precision"],
        "batch": batch,
        "eager": card_rate(setup, lambda images: backbone.encode(images, layers), batch, seconds),
        "chosen": card_rate(setup, tower.encode, batch, seconds),
        "says": tower.says,
    }


def measure(setup: Setup, deadline: float, *, toy: bool) -> dict[str, Any]:
    """All measurements that there is time for; each is printed when it is there."""
    seconds = 0.05 if toy else 1.0
    found: dict[str, Any] = {}
    steps: dict[str, Callable[[], Any]] = {
        **{f"extraction {name}": lambda name=name: engine_run(setup, name, seconds) for name in setup.precisions},
        "training": lambda: measure_training(setup, 4 * seconds),
        "worker": lambda: worker_run(setup, 1 if toy else 2),
        "batches": lambda: batch_rates(setup, seconds),
    }
    for name, step in steps.items():
        if time.monotonic() > deadline:
            print(f"{name}: left out, there is no time left", flush=True)
            continue
        found[name] = step()
        for row in found[name] if isinstance(found[name], list) else [found[name]]:
            print(f"{name}: {', '.join(f'{key} {_short(value)}' for key, value in row.items())}", flush=True)
    if "training" in found:
        _show_targets(found["training"])
    return found


def _show_targets(training: dict[str, Any]) -> None:
    """The training half's figures in a table, with what is to be reached."""
    for name, value in training.items():
        wanted = f"at least {TARGETS[name]:g}: {'yes' if value >= TARGETS[name] else 'NO'}" if name in TARGETS else ""
        print(f"  {name:28} {_short(value):>14}  {wanted}".rstrip(), flush=True)


def _short(value: Any) -> str:
    return f"{value:,.{0 if value >= 100 else 2}f}" if isinstance(value, float) else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toy", action="store_true", help="on a processor, with a tiny encoder")
    parser.add_argument("--images", type=int, help="for each extraction, 4.2 MB each")
    parser.add_argument("--place", type=Path, default=Path("/dev/shm"), help="where stores go meanwhile")
    parser.add_argument("--json", type=Path, default=Path("results/bench_gpu.json"), help="what was found")
    given = parser.parse_args()
    if not given.toy and not torch.cuda.is_available():
        sys.exit("no CUDA card is here; --toy tries the script itself on a processor")
    deadline = time.monotonic() + SECONDS
    keep_freed_memory()
    images = given.images or (96 if given.toy else 3072)
    # A container's has often few megabytes.
    roomy = given.place.exists() and shutil.disk_usage(given.place).free > 2 * 4_200_000 * images
    with tempfile.TemporaryDirectory(dir=given.place if roomy else None) as folder:
        place = Path(folder)
        make_pictures(place / "pictures", images, *([4, (120, 160)] if given.toy else []))
        if given.toy:
            name, precisions = f"random:{tiny_backbone_config(place)}", ("float32", "bfloat16")
            settings, device = ExtractSettings(layers=(0, 1), shard=8), torch.device("cpu")
        else:
            name, precisions = NAME, ("bfloat16", "float16")
            settings, device = ExtractSettings(), torch.device("cuda", 0)
        setup = Setup(place, place / "pictures", name, device, settings, precisions)
        about = machine() + ("" if given.toy else f"; {torch.cuda.get_device_name(device)}, torch {torch.__version__}")
        print(f"{about}; in {place.parent}", flush=True)
        checks = check(setup, CHECKS | TRAINING_CHECKS)
        found = {"machine": about, "checks": checks, **measure(setup, deadline, toy=given.toy)}
    found["memory_MB"] = most_memory()
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if all(passed for passed, _ in checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
