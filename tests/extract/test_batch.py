from typing import Any

import pytest
import torch
from spaceclip.extract import load_backbone
from spaceclip.extract.towers import batch
from spaceclip.extract.towers.batch import Trial, _trial_on_cuda, choose_batch, default_batch


def card(rates, bytes_an_image=1, memory=10**6):
    """Tries batches on a card that does `rates` images a second, the last for all larger batches; notes their sizes."""
    tried = []

    def measure(size):
        tried.append(size)
        if size * bytes_an_image > memory:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return Trial(rates.get(size, max(rates.values())), size * bytes_an_image)

    return measure, tried


def test_a_batch_is_doubled_while_that_pays():
    measure, tried = card({32: 1000, 64: 1500, 128: 1550, 256: 3000})
    assert choose_batch(measure, 10**6) == 64
    assert tried == [32, 64, 128]


def test_it_ends_at_128():
    measure, tried = card({32: 1, 64: 2, 128: 3, 256: 4})
    assert choose_batch(measure, 10**6) == 128
    assert max(tried) == 128


def test_a_size_that_would_not_fit_is_not_even_tried():
    measure, tried = card({32: 1, 64: 2, 128: 3}, bytes_an_image=10)
    assert choose_batch(measure, 1000) == 64
    assert tried == [32, 64]


def test_memory_that_runs_out_ends_the_search():
    measure, _ = card({32: 1, 64: 2, 128: 3}, memory=100)
    assert choose_batch(measure, 10**6) == 64


@pytest.mark.parametrize(("memory", "room", "chosen"), [(20, 10**6, 16), (10**6, 9, 8), (1, 10**6, 1), (0, 10, 1)])
def test_a_small_card_gets_a_small_batch(memory, room, chosen):
    measure, _ = card({1: 1, 2: 2, 4: 4, 8: 8, 16: 16, 32: 32}, memory=memory)
    assert choose_batch(measure, room) == chosen


def test_other_failures_are_not_taken_for_memory():
    def measure(_size):
        raise RuntimeError("CUDA error: unspecified launch failure")

    with pytest.raises(RuntimeError, match="launch failure"):
        choose_batch(measure, 10**6)


def test_a_processor_is_given_sixteen():
    class OnCpu:
        device = torch.device("cpu")

    assert default_batch(OnCpu(), (0, 1), 2) == 16  # pyright: ignore[reportArgumentType]


def test_a_card_is_tried_once_in_a_run(monkeypatch):
    class OnCard:
        device = torch.device("cuda")

    measure, tried = card({32: 1, 64: 2, 128: 2})
    monkeypatch.setattr(batch, "_trial_on_cuda", lambda _backbone, _layers, _views, size: measure(size))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (10**6, 10**7))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    backbone: Any = OnCard()
    assert [default_batch(backbone, (0, 1), 2), default_batch(backbone, [0, 1], 2)] == [64, 64]
    assert tried == [32, 64, 128]
    default_batch(backbone, (0, 1), 1)
    assert len(tried) == 6


def test_a_trial_encodes_black_images_of_the_real_shape_and_measures_what_is_beside_the_weights(
    tiny_config, monkeypatch
):
    backbone, calls = load_backbone(f"random:{tiny_config}", precision="bfloat16"), []
    encode = backbone.encode

    def watched(images, layers):
        calls.append((tuple(images.shape), int(images.max()), tuple(layers)))
        return encode(images, layers)

    monkeypatch.setattr(backbone, "encode", watched)
    for name, value in {"memory_allocated": 1000, "max_memory_allocated": 5000}.items():
        monkeypatch.setattr(torch.cuda, name, lambda _device, value=value: value)
    for name in ("reset_peak_memory_stats", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, lambda _device: None)
    trial = _trial_on_cuda(backbone, (0, 2), 2, 8)
    assert calls == [((8, 3, 32, 32), 0, (0, 2))] * 8  # two views, once to warm up and three times
    assert trial.bytes == 4000
    assert trial.rate > 0
