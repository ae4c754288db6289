"""Whether extraction on a card is right: its features, its bytes, and what it does where memory runs out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spaceclip.cache import FeatureCache, StoreWriter, feature_bytes, verify
from spaceclip.extract import Backbone, ExtractSettings, FolderSettings, FolderSource, extract, load_backbone
from spaceclip.extract.computed import settled
from spaceclip.extract.engine import Engine, HostDevice, StoreSink, device_of
from spaceclip.extract.remaining import Work
from spaceclip.extract.samples import prepare_sample
from spaceclip.extract.settings import store_spec
from spaceclip.extract.towers import fastest_tower

TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""Most |a - b| / |a| of a hidden state or the global vector; TF32 would be beyond that of float32."""


class WrongError(Exception):
    """A check failed; says how."""


@dataclass(frozen=True)
class Setup:
    """What is checked and measured.

    Attributes:
        place: An empty folder.
        pictures: A folder of pictures.
        name: Of the encoder.
        device: A card, or `cpu` at toy size.
        settings: What to keep.
        precisions: To measure in, the first to check with.
    """

    place: Path
    pictures: Path
    name: str
    device: torch.device
    settings: ExtractSettings
    precisions: tuple[str, ...]

    def backbone(self, precision: str = "", device: str | None = None) -> Backbone:
        """The encoder."""
        return load_backbone(self.name, precision=precision or self.precisions[0], device=device or self.device)

    @property
    def source(self) -> FolderSource:
        """All pictures."""
        return FolderSource(FolderSettings(images=self.pictures))

    def head(self, images: int) -> FolderSource:
        """The first pictures alone."""
        folder = self.place / f"first{images}"
        if not folder.exists():
            folder.mkdir()
            for file in sorted(self.pictures.iterdir())[:images]:
                (folder / file.name).symlink_to(file.resolve())
        return FolderSource(FolderSettings(images=folder))


def features_agree(setup: Setup) -> str:
    """The card's features are the processor's in float32, but for what a precision rounds."""
    reference, layers = setup.backbone("float32", "cpu"), setup.settings.layers
    spec = store_spec(setup.source, reference, setup.settings)
    pictures = np.stack([prepare_sample(setup.source, spec, row)["image"] for row in range(4)])
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
    expected, said = reference.encode(images, layers), []
    for precision, tolerance in TOLERANCES.items():
        found = setup.backbone(precision).encode(images, layers)
        pairs = [(found.pooled, expected.pooled), *((found.states[at], expected.states[at]) for at in layers)]
        error = max(float((a.cpu().float() - b.float()).norm() / b.float().norm()) for a, b in pairs)
        said.append(f"{precision} {error:.1e} of {tolerance:.0e}")
        if not error <= tolerance:
            raise WrongError(f"relative error {', '.join(said)}")
    return f"relative error {', '.join(said)}"


def bytes_are_the_same(setup: Setup) -> str:
    """The same pictures give the same bytes twice, and when the run was interrupted in between."""
    backbone, source = setup.backbone(), setup.head(5 * setup.settings.shard)
    # A batch is no whole number of shards, as chance would have it.
    settings = setup.settings.model_copy(update={"batch_size": 3 * setup.settings.shard // 4})

    def run(folder: str, progress: Callable[[int, int], None] = lambda _done, _total: None) -> dict[str, bytes]:
        done = extract(source, backbone, settings, setup.place / folder, "all", {}, progress)
        files = sorted(file for file in Path(str(done.store)).rglob("*") if file.is_file())
        return {str(file.relative_to(str(done.store))): file.read_bytes() for file in files}

    def interrupt(done: int, _total: int) -> None:
        if done >= 2 * settings.shard:
            raise KeyboardInterrupt

    once, twice = run("once"), run("twice")
    if once != twice:
        raise WrongError(f"two runs differ in {sorted(name for name in once if once[name] != twice.get(name))[:4]}")
    try:
        run("resumed", interrupt)
    except KeyboardInterrupt:
        pass
    else:
        raise WrongError("the run ended before it could be interrupted")
    resumed = run("resumed")
    if differ := [name for name in once if once[name] != resumed.get(name)]:
        raise WrongError(f"a resumed run differs in {differ[:4]}")
    return f"{len(once)} files, {len(source.entries)} images, twice and resumed"


def graph_gives_the_same_bits(setup: Setup) -> str:
    """The way in which the encoder is called makes no difference."""
    backbone, layers, batch = setup.backbone(), setup.settings.layers, 2 * setup.settings.shard
    tower, side = fastest_tower(backbone, layers, batch), backbone.input_size
    images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=setup.device)
    found, expected = tower.encode(images), backbone.encode(images, layers)
    pairs = [(found.pooled, expected.pooled), *((found.states[at], expected.states[at]) for at in layers)]
    if not all(torch.equal(one, other) for one, other in pairs):
        raise WrongError(f"the features differ from those of the plain call; {tower.says}")
    return tower.says or "one way alone on this device"


def memory_that_runs_out_halves_the_batch(setup: Setup) -> str:
    """A run that gets too little memory goes on with smaller batches, and ends with the features that it should."""
    backbone, source, lines = setup.backbone(), setup.head(4 * setup.settings.shard), []
    settings = setup.settings.model_copy(update={"batch_size": 2 * setup.settings.shard})
    store = setup.place / "cramped.zarr"
    spec = settled(store_spec(source, backbone, settings), store, backbone, settings)
    device: Any = device_of(backbone, spec)
    if setup.device.type == "cpu":
        _cramp(device, settings.shard)

    def say(line: str) -> None:
        lines.append(line)
        if line.startswith("encoder:"):
            # The encoder has what it needs; of the features of a batch, which are packed to be copied, half will fit.
            torch.cuda.empty_cache()
            allowed = torch.cuda.memory_reserved(setup.device) + feature_bytes(spec)
            total = torch.cuda.get_device_properties(setup.device).total_memory
            torch.cuda.set_per_process_memory_fraction(allowed / total, setup.device)

    try:
        with Engine(
            *(source, device, spec, StoreSink(StoreWriter(store, spec, {}))),
            batch=2 * settings.shard,
            threads=settings.threads_here(),
            say=say,
        ) as engine:
            work = Work.all_of(spec)
            engine.wait([engine.submit(work, shard) for shard in work.shards])
    finally:
        if setup.device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0, setup.device)
    said = [line for line in lines if line.startswith("out of memory")]
    if not said:
        raise WrongError("memory did not run out: nothing was checked")
    if problems := verify(store).problems:
        raise WrongError(f"{said[-1]}; but {problems[0]}")
    whole = extract(source, backbone, settings, setup.place / "roomy", "all", {})
    layer, rows = settings.layers[-1], range(len(source.entries))
    ours, theirs = (
        FeatureCache.open(one).states(rows, "plain")[layer].astype(np.float32) for one in (store, whole.store)
    )
    error = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
    if not error <= TOLERANCES[setup.precisions[0]]:
        raise WrongError(f"{said[-1]}; but the features are off by {error:.1e}")
    return f"{said[-1]}; relative difference {error:.1e}"


def _cramp(device: HostDevice, most: int) -> None:
    """Have a processor run out of memory with more images than that at once."""
    encode, settings = device.encode, {"fixed": True}

    def cramped(images: Any, *given: Any) -> Any:
        if len(images) > most:
            raise MemoryError
        return encode(images, *given)

    device.__dict__.update(settings, encode=cramped)


CHECKS = {
    "features": features_agree,
    "bytes": bytes_are_the_same,
    "graph": graph_gives_the_same_bits,
    "memory": memory_that_runs_out_halves_the_batch,
}


def check(setup: Setup, checks: Mapping[str, Callable[[Setup], str]]) -> dict[str, tuple[bool, str]]:
    """Whether each check passed, and what it says; a failure keeps none of the others from being made."""
    found = {}
    for name, run in checks.items():
        try:
            passed, said = True, run(replace(setup, place=_made(setup.place / name)))
        except Exception as error:  # whatever it is, it is a check that failed
            passed, said = False, f"{type(error).__name__}: {error}".splitlines()[0]
        print(f"{'pass' if passed else 'FAIL'}  {name}: {said}", flush=True)
        found[name] = (passed, said)
    return found


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
