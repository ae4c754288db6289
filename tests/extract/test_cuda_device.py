"""What the CUDA device does with tensors, streams and events left out: those of a card cannot be had everywhere."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from spaceclip.cache import feature_objects
from spaceclip.extract import ExtractSettings, load_backbone, store_spec
from spaceclip.extract.engine.cuda import CudaDevice
from spaceclip.extract.engine.device import HostDevice
from spaceclip.extract.engine.receipt import Stage
from spaceclip.extract.engine.shards import Run, ShardUnderWay
from spaceclip.extract.remaining import Work


class Event:
    def __init__(self, **_given):
        self.record = self.synchronize = lambda *_: None

    def elapsed_time(self, _other):
        return 20.0


@pytest.fixture(scope="module")
def backbone(tiny_config):
    backbone = load_backbone(f"random:{tiny_config}", precision="float32")
    backbone.encode(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), [0])  # transformers loads what it needs
    return backbone


@pytest.fixture
def card(backbone, monkeypatch):
    """An encoder; PyTorch's calls for a card are done by the processor or left out."""
    stream = SimpleNamespace(wait_stream=lambda _other: None)
    for name, call in {
        "Event": Event,
        "Stream": lambda _device: stream,
        "current_stream": lambda _device: stream,
        "stream": lambda _stream: nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, call)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: None)
    for name in ("empty", "zeros"):
        real = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, real=real, pin_memory=False, **more: real(*a, **more))
    return backbone


def test_rows_land_where_and_as_a_processor_lands_them(make_frames, card):
    spec = store_spec(make_frames(10), card, ExtractSettings(layers=(0, 2), shard=4))
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    landed = []
    for kind in (HostDevice, CudaDevice):
        device, stage, work = kind(card, spec), Stage("encoding", 1), Work.all_of(spec)
        shards = [ShardUnderWay(work, number) for number in (0, 1)]
        for shard in shards:
            shard.begin()
            assert shard.buffer
            shard.buffer.features = feature_objects(spec, device.allocate, device.moments)
        # Rows 2 to 6 of the store in a batch of six that has other images around them.
        runs = [Run(shards[0], slice(1, 3), slice(2, 4)), Run(shards[1], slice(3, 6), slice(0, 3))]
        device.encode(images, runs, stage).wait()
        landed.append([shard.buffer.features for shard in shards if shard.buffer])
        assert stage.receipt().busy > 0
    for mine, theirs in zip(*landed, strict=True):
        for name in mine:
            np.testing.assert_array_equal(mine[name].rows, theirs[name].rows)
            if mine[name].moments is not None:
                np.testing.assert_allclose(mine[name].moments, theirs[name].moments, rtol=1e-4, atol=1e-2)
                assert mine[name].moments.any()


def test_an_encoder_called_another_way_is_used_for_whole_batches_alone(make_frames, card, monkeypatch):
    spec = store_spec(make_frames(10), card, ExtractSettings(layers=(0, 2)))
    device, called = CudaDevice(card, spec), []

    def tower(images):
        called.append(len(images))
        return card.encode(images, spec.layers)

    monkeypatch.setattr(torch.cuda, "set_device", lambda _device: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(
        "spaceclip.extract.engine.cuda.fastest_tower", lambda *_given: SimpleNamespace(encode=tower, says="a graph")
    )
    assert device.prepare(4) == "a graph"
    device.warm_up(4, frozenset({"pooled/plain"}))
    device.warm_up(2, frozenset({"pooled/plain"}))
    device.let_go()  # out of memory: the graph's own goes too
    device.warm_up(4, frozenset({"pooled/plain"}))
    assert called == [4]
