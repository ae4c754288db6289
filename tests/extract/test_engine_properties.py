"""Whatever the sizes, the bad samples, the interruptions and what was there before: the engine leaves one result."""

import errno
import itertools
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pytest
import torch
from enginethreads import ended
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spaceclip.cache import FeatureCache, SpaceClipError, StoreWriter
from spaceclip.cache.places.folder import Folder
from spaceclip.extract import ExtractSettings, extract
from spaceclip.extract.engine import Engine, HostDevice, StoreSink
from spaceclip.extract.preprocess import prepare_image
from spaceclip.extract.remaining import Work
from spaceclip.extract.settings import store_spec
from spaceclip.extract.towers import Features

View = Literal["plain", "flipped"]
LAYERS, SIDE, PATCH = (0, 2), 8, 2
VIEWS: tuple[View, ...] = ("plain", "flipped")
SIZE = (24, 36)


def tokens(images, layer):
    """Patch tokens of images [B, S, S, 3]: integers, which float16 holds exactly.

    The last channel tells the place in the batch and the batch's size, both of which decide last bits elsewhere.
    """
    patches = images[:, ::PATCH, ::PATCH].reshape(len(images), -1, 3).astype(np.float32) + layer
    places = np.arange(len(images), dtype=np.float32)[:, None, None] * 32 + len(images)
    return np.concatenate([patches, np.broadcast_to(places, (*patches.shape[:2], 1))], axis=2)


class Integers:
    """An encoder that computes next to nothing."""

    identity = {"name": "integers", "revision": "1", "weights": "", "precision": "float32"}  # noqa: RUF012
    device, depth, patches, channels, input_size = torch.device("cpu"), 3, (SIDE // PATCH) ** 2, 4, SIDE
    mean = std = (0.5, 0.5, 0.5)

    def check_layers(self, layers):
        pass

    def encode(self, images, layers):
        pixels = images.permute(0, 2, 3, 1).numpy()
        states = {layer: torch.from_numpy(tokens(pixels, layer)) for layer in layers}
        return Features(states, torch.from_numpy(tokens(pixels, 0).max(axis=1)))


ENCODER = Integers()


class WholeBatches(HostDevice):
    """A device that is always given full batches, as a card is."""

    fixed = True


@dataclass(frozen=True)
class Run:
    """One extraction: of these frames, some of which are bad."""

    frames: list[int]
    bad: frozenset[int]
    shard: int
    batch: int
    threads: int
    device: type[HostDevice]
    layers: tuple[int, ...] = LAYERS
    views: tuple[View, ...] = VIEWS

    def extract(self, make_frames, folder):
        whole, frames = make_frames(max(self.frames) + 1), make_frames(len(self.frames))

        def load(at):
            if self.frames[at] in self.bad:
                raise SpaceClipError(f"frame {self.frames[at]} is cut short")
            return whole.load(self.frames[at])

        frames.entries, frames.load = [whole.entries[frame] for frame in self.frames], load
        wanted = ExtractSettings(
            layers=self.layers, views=self.views, batch_size=self.batch, shard=self.shard, threads=self.threads
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("spaceclip.extract.split_extraction.device_of", self.device)
            return extract(frames, ENCODER, wanted, folder, "train", {}, on_error="quarantine")

    def places(self, known):
        """What the last channel is, by frame, where a plain loop computes all but known ones."""
        found = {}
        for start in range(0, len(self.frames), self.shard):
            rows = range(start, min(start + self.shard, len(self.frames)))
            left = [row for row in rows if self.frames[row] not in known]
            for at, row in enumerate(left):
                # In the grid over all rows; or, where some are known, in that over the others of the shard.
                number, images = (row, len(self.frames)) if len(left) == len(rows) else (at, len(left))
                slot = number % self.batch
                size = self.batch if self.device.fixed else min(self.batch, images - (number - slot))
                found[self.frames[row]] = slot * 32 + size
        return found

    def holds(self, layer, view):
        """Whether a part is one of its store's; the pooled vector is no layer."""
        return view in self.views and layer in (None, *self.layers)


@st.composite
def growing(draw):
    """An older run, if any, of fewer frames or of fewer parts, and the one that grows from it."""
    count = draw(st.integers(1, 17))
    everything, few = list(range(count)), st.integers(1, 6)
    shard, device = draw(few), draw(st.sampled_from([HostDevice, WholeBatches]))

    def run(frames=everything, **parts):
        bad = draw(st.frozensets(st.integers(0, count - 1), max_size=2))
        return Run(frames, bad, shard, draw(few), draw(st.integers(1, 3)), device, **parts)

    fewer = st.sets(st.sampled_from(everything), min_size=1, max_size=max(1, count - 1)).map(sorted)
    kinds = {
        "none": lambda: None,
        "frames": lambda: run(draw(fewer)) if count > 1 else None,
        "layers": lambda: run(layers=(2,)),
        "views": lambda: run(views=("plain",)),
    }
    return kinds[draw(st.sampled_from(sorted(kinds)))](), run()


def expected(older, run):
    """By frame, what is in the last channel of each layer and view; None where the sample is bad."""
    sound = {frame: at for frame, at in older.places({}).items() if frame not in older.bad} if older else {}
    # Frames that an older store has with all parts are copied; it is not looked at whether they are bad by now.
    fewer = older and len(older.frames) < len(run.frames)
    copied = sound if fewer else {}
    computed, found = run.places(copied), {}
    for row, frame in enumerate(run.frames):
        start = row - row % run.shard
        # Parts of a shard are taken over where all its samples are sound.
        linked = older and not fewer and not older.bad.intersection(run.frames[start : start + run.shard])
        places = {
            (layer, view): sound[frame]
            if frame in copied or (linked and older.holds(layer, view))
            else computed.get(frame)
            for layer in (*LAYERS, None)
            for view in VIEWS
        }
        found[frame] = dict.fromkeys(places) if frame in run.bad and frame not in copied else places
    return found


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(growing())
def test_a_store_holds_what_a_plain_loop_over_its_rows_computes(make_frames, tmp_path_factory, runs):
    older, run = runs
    folder = tmp_path_factory.mktemp("grown")
    for one in filter(None, runs):
        one.extract(make_frames, folder)
    cache, source = FeatureCache.open(folder), make_frames(len(run.frames))
    for row, parts in expected(older, run).items():
        sample = source.load(row)
        image = prepare_image(sample.image, SIZE, SIDE)
        bad = parts[None, "plain"] is None
        np.testing.assert_array_equal(cache.image(row), np.zeros_like(image) if bad else image)
        np.testing.assert_allclose(cache.depth(row), 0 if bad else sample.depth, atol=1e-6)
        assert (row in cache.quarantined) == bad
        for (layer, view), place in parts.items():
            seen = image if view == "plain" else image[:, ::-1]
            values = tokens(seen[None], layer or 0)[0]
            values[:, 3] = place or 0
            values *= not bad
            if layer is None:
                np.testing.assert_array_equal(cache.pooled([row], view)[0], values.max(axis=0))
            else:
                np.testing.assert_array_equal(cache.states([row], view)[layer][0], values.astype(np.float16))


class Interrupted(Exception):  # noqa: N818 - no error of the engine's
    """In place of Ctrl-C, which a test runner would take for its own."""


def run_engine(frames, store, trouble="", at=0):
    """Compute what a store lacks, until a trouble comes: of frame, object or image number `at`."""
    spec = store_spec(frames, ENCODER, ExtractSettings(layers=LAYERS, shard=4))
    spec = replace(spec, computed={"device": "cpu", "batch": 3})
    load, write, written, reached = frames.load, Folder.write, itertools.count(), threading.Event()

    def failing_load(row):
        if trouble == "decode" and row == at:
            raise SpaceClipError("cut short")
        return load(row)

    def failing_write(place, key, content):
        if trouble == "write" and next(written) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(place, key, content)

    frames.load = failing_load
    writer = StoreWriter(store, spec, {})
    writer.sweep()
    work, device = Work(spec, writer.pending), HostDevice(ENCODER, spec)
    with (
        pytest.MonkeyPatch.context() as patch,
        Engine(frames, device, spec, StoreSink(writer), batch=3, threads=2) as engine,
    ):
        patch.setattr(Folder, "write", failing_write)

        def watch():
            if engine.images >= at:
                reached.set()
                if trouble == "interrupt":
                    raise Interrupted

        if trouble == "end":
            threading.Thread(target=lambda: (reached.wait(5), engine.end()), daemon=True).start()
        engine.wait([engine.submit(work, shard) for shard in work.shards], watch)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The store of one run."""
    return tmp_path_factory.mktemp("undisturbed") / "store.zarr"


TROUBLES = st.tuples(st.sampled_from(["interrupt", "end", "write", "decode"]), st.integers(0, 22))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TROUBLES, min_size=1, max_size=4))
def test_interrupted_at_any_moment_it_goes_on_to_the_same_bytes_and_leaves_no_thread(
    make_frames, tmp_path_factory, undisturbed, contents, troubles
):
    store, others = tmp_path_factory.mktemp("interrupted") / "store.zarr", threading.enumerate()
    for number, trouble in enumerate(troubles):
        # The first comes for certain, unless the engine is done before it is told to end.
        certain = number == 0 and trouble[0] != "end"
        stopped = (Interrupted, InterruptedError, SpaceClipError)
        with pytest.raises(stopped) if certain else suppress(*stopped):
            run_engine(make_frames(23), store, *trouble)
        assert ended(others), trouble
    run_engine(make_frames(23), store)
    run_engine(make_frames(23), undisturbed)
    assert contents(store) == contents(undisturbed)
