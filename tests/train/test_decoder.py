import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from spaceclip.cache import SpaceClipError
from spaceclip.train import DecoderSettings, DepthDecoder
from spaceclip.train.losses import DepthLoss
from spaceclip.train.release import load_release_checkpoint, release_name

DATA = Path(__file__).parents[1] / "data"
SWITCHES = [(film, structural) for film in (0, 1) for structural in (0, 1)]


class Golden:
    """The method authors' numbers for one setting of the switches, and our decoder with the same weights."""

    def __init__(self, film: int, structural: int) -> None:
        with np.load(DATA / f"decoder_film{film}_structural{structural}.npz") as archive:
            self.numbers = {name: archive[name] for name in archive.files}
        config = json.loads(str(self.numbers["config"]))
        self.size = tuple(config.pop("output_size"))
        settings = DecoderSettings(channels=config.pop("decoder_channels"), dropout=0.0, **config)
        weights = {n.removeprefix("weight/"): torch.from_numpy(v) for n, v in self.numbers.items() if "weight/" in n}
        self.decoder = load_release_checkpoint(weights, settings)
        every = torch.from_numpy(self.numbers["patch_states"])
        self.states = {layer: every[:, layer] for layer in settings.layers}
        self.pooled = torch.from_numpy(self.numbers["pooled"])

    def __getitem__(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.numbers[name])


@pytest.fixture(params=SWITCHES, ids=lambda pair: f"film{pair[0]}-structural{pair[1]}")
def golden(request):
    return Golden(*request.param)


@pytest.fixture
def tiny():
    return DecoderSettings(hidden_size=8, channels=(8, 6, 4, 2), film_hidden=4, dropout=0.0)


def inputs(settings, batch=2, patches=9, dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)
    shape = (batch, patches, settings.hidden_size)
    states = {layer: torch.randn(shape, generator=draw).to(dtype) for layer in settings.layers}
    return states, torch.randn(batch, settings.hidden_size, generator=draw)


def lively(settings):
    """A decoder whose last ReLU passes: fresh weights can be such that every depth is zero."""
    torch.manual_seed(0)
    decoder = DepthDecoder(settings)
    with torch.no_grad():
        decoder.head.predict.bias.fill_(2.0)  # pyright: ignore[reportOptionalMemberAccess]
    return decoder


def close(found, wanted):
    return (found - wanted).abs().max() <= 1e-4 * wanted.abs().max()


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_depth_and_auxiliary_are_those_of_the_release(golden, mode):
    golden.decoder.train(mode == "train")
    with torch.no_grad():
        prediction = golden.decoder(golden.states, golden.pooled, golden.size, auxiliary=range(3))
    assert close(prediction.depth, golden[f"{mode}_depth"])
    for stage, depth in prediction.auxiliary.items():
        assert close(depth, golden[f"{mode}_aux{stage}"])


def test_losses_and_gradients_are_those_of_the_release(golden):
    prediction = golden.decoder.train()(golden.states, golden.pooled, golden.size)
    losses = DepthLoss()(prediction, golden["gt"], golden["mask"])
    for name in ("silog", "ssim", "total"):
        assert getattr(losses, name).item() == pytest.approx(float(golden.numbers[f"loss_{name}"]), rel=1e-4)

    losses.total.backward()
    gradients = {release_name(n): p.grad for n, p in golden.decoder.named_parameters() if p.grad is not None}
    wanted = dict(zip(golden.numbers["grad_names"].tolist(), golden.numbers["grad_norms"].tolist(), strict=True))
    assert gradients.keys() == wanted.keys()
    # The order of additions in a convolution decides on which side of a ReLU's kink a unit falls: single weights'
    # norms move by up to 2 % between float32 kernels (the release's own lie 1 % from float64), the whole hardly.
    whole = sum(norm**2 for norm in wanted.values()) ** 0.5
    for name, norm in wanted.items():
        found = gradients[name].norm().item()
        assert found == pytest.approx(norm, rel=5e-2), name
        assert found == pytest.approx(norm, rel=0, abs=1e-3 * whole), name


@pytest.mark.parametrize(("structural", "film", "parameters"), [(True, True, 12_050_996), (False, True, 7_570_932)])
def test_size_is_the_papers(structural, film, parameters):
    decoder = DepthDecoder(DecoderSettings(structural=structural, film=film))
    assert sum(weight.numel() for weight in decoder.parameters() if weight.requires_grad) == parameters


def test_layers_are_those_that_are_read(tiny):
    assert tiny.layers == (0, 1, 2, 3, 6, 9, 12)
    assert DecoderSettings(structural=False).layers == (3, 6, 9, 12)
    assert DecoderSettings(structural_layers=(6, 4, 3)).layers == (3, 4, 6, 9, 12)
    states, pooled = inputs(tiny)
    decoder = lively(tiny).eval()
    wanted = decoder(states, pooled).depth
    assert torch.equal(decoder({**states, 5: torch.full((1, 1), torch.nan)}, pooled).depth, wanted)


@pytest.mark.parametrize("patches", [1, 4, 9, 25])
def test_native_size_is_sixteen_times_the_grid(tiny, patches):
    states, pooled = inputs(tiny, patches=patches)
    side = 16 * int(patches**0.5)
    assert DepthDecoder(tiny).eval()(states, pooled).depth.shape == (2, 1, side, side)


def test_auxiliary_depths_come_while_training_or_when_asked_for(tiny):
    states, pooled = inputs(tiny)
    decoder = DepthDecoder(tiny)
    assert [tuple(depth.shape) for depth in decoder(states, pooled, (20, 30)).auxiliary.values()] == [
        (2, 1, 20, 30)
    ] * 3
    assert decoder(states, pooled, auxiliary=()).auxiliary == {}
    assert decoder.eval()(states, pooled).auxiliary == {}
    assert list(decoder(states, pooled, auxiliary=[0, 2]).auxiliary) == [0, 2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_states_give_float32_metres(tiny, dtype):
    states, pooled = inputs(tiny, dtype=dtype)
    decoder = lively(tiny).eval()
    plain = decoder(states, pooled).depth
    assert torch.equal(plain, decoder({layer: state.float() for layer, state in states.items()}, pooled).depth)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = decoder(states, pooled).depth
    assert plain.dtype == rounded.dtype == torch.float32
    assert not torch.equal(rounded, plain)
    torch.testing.assert_close(rounded, plain, rtol=0, atol=0.05 * plain.max().item())


def test_maps_are_channels_last(tiny):
    seen = []
    decoder = DepthDecoder(tiny)
    for block in decoder.semantic_blocks:
        block.register_forward_hook(
            lambda _block, _inputs, output: seen.append(output.is_contiguous(memory_format=torch.channels_last))
        )
    decoder(*inputs(tiny))
    assert seen == [True] * 4


def test_dropout_acts_while_training_only(tiny):
    settings = tiny.model_copy(update={"dropout": 0.5})
    states, pooled = inputs(settings)
    decoder = lively(settings).train()
    assert not torch.equal(decoder(states, pooled).depth, decoder(states, pooled).depth)
    decoder.eval()
    assert torch.equal(decoder(states, pooled).depth, decoder(states, pooled).depth)


def break_inputs(kind, states, pooled):
    if kind == "missing":
        del states[9]
    elif kind == "width":
        states = {layer: state[..., :5] for layer, state in states.items()}
    elif kind == "patches":
        states = {layer: state[:, :8] for layer, state in states.items()}
    elif kind == "one":
        states[6] = states[6][:, :4]
    else:
        pooled = pooled[:1]
    return states, pooled


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"hidden states \[9\] are missing: found \[0, 1, 2, 3, 6, 12\], expected \[0, 1, 2, 3, 6, 9, 12\]"),
        ("width", r"hidden state 0 is \[2, 9, 5\], expected \[B, P, 8\]"),
        ("patches", r"hidden states hold 8 patch tokens, expected a square number"),
        ("one", r"hidden state 6 is \[2, 4, 8\], expected \[2, 9, 8\]"),
        ("pooled", r"the pooled vector is \[1, 8\], expected \[2, 8\]"),
    ],
)
def test_unfit_inputs_are_refused_in_one_line(tiny, kind, message):
    with pytest.raises(SpaceClipError, match=f"^{message}[^\n]*$"):
        DepthDecoder(tiny)(*break_inputs(kind, *inputs(tiny)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": (256, 128, 64)},
        {"channels": (256, 128, 64, 1)},
        {"semantic_layers": (12, 9, 6)},
        {"structural_layers": (2, 1, -1)},
        {"dropout": 1.0},
        {"hidden_size": 0},
        {"colour": True},
    ],
)
def test_wrong_settings_are_refused_by_name(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        DecoderSettings(**wrong)


@pytest.mark.parametrize("seed", range(8))
def test_a_fresh_decoder_says_something_at_nearly_every_pixel(seed):
    torch.manual_seed(seed)
    decoder = DepthDecoder(DecoderSettings(channels=(32, 16, 16, 8), hidden_size=16))
    states = {layer: torch.randn(2, 16, 16) for layer in decoder.settings.layers}
    prediction = decoder(states, torch.randn(2, 16))
    for depth in (prediction.depth, *prediction.auxiliary.values()):
        assert (depth > 0).float().mean() > 0.9
        assert 1 < depth.median() < 3


def test_the_hidden_size_follows_from_the_features_and_another_is_refused():
    assert DecoderSettings(film=False).for_features(16) == DecoderSettings(film=False, hidden_size=16)
    assert DecoderSettings(hidden_size=16).for_features(16).hidden_size == 16
    with pytest.raises(SpaceClipError, match="hidden_size is 768, these features have 16 channels; leave it out"):
        DecoderSettings(hidden_size=768).for_features(16)


@pytest.mark.parametrize("bias", [2.0, 5.5, "pytorch"])
def test_the_heads_start_near_a_depth_or_as_pytorch_has_it(tiny, bias):
    def started(bias):
        torch.manual_seed(3)
        weights = DepthDecoder(tiny.model_copy(update={"head_bias": bias})).state_dict()
        return {name: weight for name, weight in weights.items() if "predict" in name}

    weights, usual = started(bias), started(2.0)
    for name, weight in weights.items():
        if name.endswith("weight"):
            assert torch.equal(weight, usual[name])
        elif bias == "pytorch":
            assert 0 < abs(weight.item()) <= weights[name.replace("bias", "weight")][0].numel() ** -0.5
        else:
            assert weight.item() == bias


@pytest.mark.parametrize("bias", ["torch", float("inf"), None, [2]])
def test_a_start_that_is_neither_metres_nor_pytorch_is_refused(bias):
    with pytest.raises(ValidationError, match="head_bias\n  Value error, expected metres, or pytorch"):
        DecoderSettings(head_bias=bias)
