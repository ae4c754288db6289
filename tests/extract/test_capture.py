from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from spaceclip.extract import Features
from spaceclip.extract.towers.capture import _graph, choose_tower, fastest_tower

IMAGES = torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2)


def eager(images):
    return Features({0: images.float(), 3: images.float() * 3}, images.float().mean((2, 3)))


def like_eager(images):
    return eager(images.clone())


def wrong_state(images):
    found = eager(images)
    found.states[3].view(-1)[-1] += 1e-5
    return found


def wrong_pooled(images):
    found = eager(images)
    return Features(found.states, found.pooled + 1e-6)


def one_state_less(images):
    found = eager(images)
    del found.states[3]
    return found


def fails():
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with ...")


def fails_when_called(_images):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def chosen(rates, **candidates):
    """The tower chosen of candidates that have these rates."""
    return choose_tower(
        eager,
        {name.replace("_", " "): make for name, make in candidates.items()},
        IMAGES,
        lambda encode, _images: rates[encode],
    )


def test_the_faster_way_is_taken_and_says_by_how_much():
    tower = chosen({eager: 2890.4, like_eager: 3120.2}, CUDA_graph=lambda: like_eager)
    assert tower.encode is like_eager
    assert tower.says == "encoder: CUDA graph, 3,120 images/s (eager 2,890)"


def test_a_way_as_fast_but_for_noise_is_taken_since_it_spares_the_host():
    assert chosen({eager: 1000.0, like_eager: 985.0}, CUDA_graph=lambda: like_eager).encode is like_eager


def test_a_slower_way_is_not_taken():
    tower = chosen({eager: 1000.0, like_eager: 900.0}, CUDA_graph=lambda: like_eager)
    assert tower.encode is eager
    assert tower.says == "encoder: eager, 1,000 images/s (CUDA graph 900)"


@pytest.mark.parametrize("wrong", [wrong_state, wrong_pooled, one_state_less])
def test_a_way_that_gives_other_bits_is_never_taken_however_fast(wrong):
    tower = chosen({eager: 1000.0, wrong: 9000.0}, CUDA_graph=lambda: wrong)
    assert tower.encode is eager
    assert tower.says == "encoder: eager, 1,000 images/s (CUDA graph gives other bits)"


def test_a_way_that_fails_is_passed_over_in_one_line():
    rates = {eager: 1000.0, like_eager: 2000.0, fails_when_called: 0.0}
    tower = chosen(rates, CUDA_graph=fails, second=lambda: fails_when_called, third=lambda: like_eager)
    assert tower.encode is like_eager
    assert tower.says == (
        "encoder: third, 2,000 images/s (eager 1,000, CUDA graph failed: RuntimeError: CUDA error: operation not "
        "permitted when stream is capturing, second failed: OutOfMemoryError: CUDA out of memory. Tried to allocate "
        "2 GiB)"
    )


def test_a_plain_call_that_fails_is_not_hidden():
    with pytest.raises(torch.OutOfMemoryError):
        choose_tower(fails_when_called, {}, IMAGES, lambda *_: 1.0)


def test_a_processor_calls_its_encoder_plainly():
    class OnCpu:
        device, input_size = torch.device("cpu"), 2

        def encode(self, images, layers):
            assert layers == (0, 3)
            return eager(images)

    tower = fastest_tower(OnCpu(), (0, 3), 2)  # pyright: ignore[reportArgumentType]
    assert torch.equal(tower.encode(IMAGES).states[3], eager(IMAGES).states[3])
    assert tower.says == ""


def test_a_graph_is_captured_after_a_warm_up_and_reads_the_images_where_they_lie(monkeypatch):
    done, stream = [], SimpleNamespace(wait_stream=lambda _other: None)

    class Graph:
        def replay(self):
            done.append("replay")
            features.states[0].copy_(static)

    @contextmanager
    def capture(_graph, capture_error_mode):
        done.append(capture_error_mode)
        yield
        done.append("captured")

    def encode(images):
        done.append("encode")
        return features

    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    static, features = torch.zeros_like(IMAGES), eager(IMAGES * 0)
    replay = _graph(encode, static)
    assert done == [*["encode"] * 3, "thread_local", "encode", "captured"]
    assert torch.equal(replay(IMAGES).states[0], IMAGES.float())
    assert replay(IMAGES + 1) is features
    assert torch.equal(features.states[0], IMAGES.float() + 1)
    assert done[6:] == ["replay", "replay"]
