"""What the small CLIP learns from: rendered pictures, captions of them, and a name for every part of them."""

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from ..preprocess import prepare_image
from ..sources.synthetic import EncoderSettings, SyntheticSource, caption, phrase

CELLS = 56
"""Rows and columns of a map of regions: four by four in each patch of 16 pixels."""

_BLOCK = 16  # scenes in a file


@dataclass(frozen=True)
class Pairs:
    """Pictures and words for them.

    Attributes:
        pictures: [N, 3, 224, 224] RGB, uint8.
        regions: [N, 56, 56] int16, what each cell's middle shows: an index into `phrases`.
        captions: Of each picture several true sentences.
        phrases: Names of regions: "a red car", "the grey road".
    """

    pictures: NDArray[np.uint8]
    regions: NDArray[np.int16]
    captions: list[list[str]]
    phrases: list[str]


def render(folder: Path, settings: EncoderSettings, captions: int) -> Pairs:
    """Render all scenes, on all cores, or read what an earlier run has rendered.

    Args:
        folder: Where the pairs are kept, a file for some scenes.
        settings: Which scenes.
        captions: So many of each picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    blocks = [
        _Block(
            folder / f"{settings.views_per_scene}x{start:06d}.npz",
            range(start, min(start + _BLOCK, settings.scenes)),
            settings,
            captions,
        )
        for start in range(0, settings.scenes, _BLOCK)
    ]
    left = [block for block in blocks if not block.done()]
    begun = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        for done, _ in enumerate(pool.map(_Block.render, left), 1):
            rate = done / (time.perf_counter() - begun)
            click.echo(
                f"rendered {done} of {len(left)} files, {rate * _BLOCK * settings.views_per_scene:.1f} pictures/s, "
                f"{(len(left) - done) / rate / 60:.0f} min left",
                err=True,
            )
    return _joined([block.file for block in blocks])


@dataclass(frozen=True)
class _Block:
    """Some scenes, and the file of their pairs."""

    file: Path
    scenes: range
    settings: EncoderSettings
    captions: int

    @property
    def record(self) -> str:
        """What the file was made of."""
        stamp = SyntheticSource(self.settings).entries[0].stamp
        return json.dumps({"captions": self.captions, "scenes": len(self.scenes), "stamp": stamp})

    def done(self) -> bool:
        if not self.file.exists():
            return False
        with np.load(self.file) as content:
            return str(content["record"]) == self.record

    def render(self) -> None:
        source, views = SyntheticSource(self.settings), self.settings.views_per_scene
        pictures, regions, words, phrases = [], [], [], {}
        for index in range(self.scenes.start * views, self.scenes.stop * views):
            picture = source.picture(index)
            rng = np.random.default_rng([self.settings.seed, index])
            words.append([caption(picture, rng) for _ in range(self.captions)])
            pictures.append(prepare_image(picture.image, None).transpose(2, 0, 1))
            rows, columns = (((np.arange(CELLS) + 0.5) * size / CELLS).astype(int) for size in picture.things.shape)
            cells = picture.things[np.ix_(rows, columns)]
            names = {k: phrases.setdefault(phrase(picture.name(int(k))), len(phrases)) for k in np.unique(cells)}
            regions.append(np.vectorize(names.__getitem__, otypes=[np.int16])(cells))
        part = self.file.with_suffix(".part.npz")
        np.savez(
            part,
            pictures=np.stack(pictures),
            regions=np.stack(regions),
            words=json.dumps([words, list(phrases)]),
            record=self.record,
        )
        part.replace(self.file)


def _joined(files: list[Path]) -> Pairs:
    pictures, regions, captions, phrases = [], [], [], {}
    for file in files:
        with np.load(file) as content:
            words, names = json.loads(str(content["words"]))
            own = np.array([phrases.setdefault(name, len(phrases)) for name in names], np.int16)
            pictures.append(content["pictures"])
            regions.append(own[content["regions"]])
            captions += words
    return Pairs(np.concatenate(pictures), np.concatenate(regions), captions, list(phrases))


def batches(count: int, size: int, seed: int, first: int) -> Iterator[NDArray[np.int64]]:
    """Endless batches of indices below `count`, from batch number `first` on, each epoch in an order of its own."""
    per_epoch = count // size
    while True:
        epoch, batch = divmod(first, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(count)
        for start in range(batch * size, per_epoch * size, size):
            yield order[start : start + size]
            first += 1
