import math

import pytest
import torch
from spaceclip.cache import SpaceClipError
from spaceclip.train import DepthDecoder, LossSettings, losses
from spaceclip.train.losses import DepthLoss
from spaceclip.train.precision import autocast, float32_as, resolve_precision
from spaceclip.train.step import TrainingStep

RATE = 1e-2


@pytest.fixture
def decoder(small):
    torch.manual_seed(0)
    decoder = DepthDecoder(small.model_copy(update={"dropout": 0.0})).train()
    with torch.no_grad():
        decoder.head.predict.bias.fill_(2.0)  # pyright: ignore[reportOptionalMemberAccess]
    return decoder


@pytest.fixture
def batch(small):
    draw = torch.Generator().manual_seed(0)
    states = {layer: torch.randn(2, 4, small.hidden_size, generator=draw).half() for layer in small.layers}
    target = 1 + 5 * torch.rand(2, 1, 24, 32, generator=draw)
    return states, torch.randn(2, small.hidden_size, generator=draw), target, target > 2


def snapshot(decoder):
    return {name: tensor.clone() for name, tensor in decoder.state_dict().items()}


def test_repeated_steps_lower_the_loss(decoder, recipe, batch):
    step = TrainingStep(decoder, recipe)
    totals = [step(*batch, rate=RATE).total.item() for _ in range(30)]
    assert totals[-1] < 0.7 * totals[0]


def test_step_is_that_of_adamw_on_the_clipped_gradient(decoder, recipe, batch):
    settings = recipe.model_copy(update={"clip_norm": 1e-3, "weight_decay": 0.1})
    before = {name: weight.detach().clone() for name, weight in decoder.named_parameters()}
    TrainingStep(decoder, settings)(*batch, rate=RATE)
    gradients = {name: weight.grad for name, weight in decoder.named_parameters() if weight.grad is not None}
    norm = math.sqrt(sum(gradient.double().square().sum().item() for gradient in gradients.values()))
    assert norm == pytest.approx(1e-3, rel=1e-3)
    for name, weight in decoder.named_parameters():
        wanted = before[name]
        if name in gradients:
            # After one step Adam's moments are the gradient and its square.
            wanted = wanted * (1 - RATE * 0.1) - RATE * gradients[name] / (gradients[name].abs() + 1e-8)
        torch.testing.assert_close(weight.detach(), wanted, rtol=1e-4, atol=1e-5)


def test_the_gradient_at_the_head_is_that_before_clipping(decoder, recipe, batch):
    states, pooled, target, valid = batch
    prediction = decoder(states, pooled, tuple(target.shape[-2:]), auxiliary=recipe.loss.stages)
    total = DepthLoss(recipe.loss)(prediction, target, valid).total
    gradients = torch.autograd.grad(total, list(decoder.head.parameters()))
    norm = math.sqrt(sum(gradient.double().square().sum().item() for gradient in gradients))
    step = TrainingStep(decoder, recipe.model_copy(update={"clip_norm": 1e-3}))
    assert step(*batch, rate=RATE).head_gradient.item() == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize("sizes", [(2, 2, 1), (3, 2), (5,)])
def test_micro_batches_give_the_mean_of_their_gradients_by_images(decoder, recipe, small, sizes):
    draw = torch.Generator().manual_seed(0)
    states = {layer: torch.randn(5, 4, small.hidden_size, generator=draw) for layer in small.layers}
    pooled, target = torch.randn(5, small.hidden_size, generator=draw), 1 + 5 * torch.rand(5, 1, 24, 32, generator=draw)
    wanted, total, first = [torch.zeros_like(weight) for weight in decoder.parameters()], 0.0, 0
    for size in sizes:
        part = slice(first, first := first + size)
        some = {layer: state[part] for layer, state in states.items()}
        prediction = decoder(some, pooled[part], (24, 32), auxiliary=recipe.loss.stages)
        loss = DepthLoss(recipe.loss)(prediction, target[part], target[part] > 2).total
        total += loss.item() * size / 5
        gradients = torch.autograd.grad(loss, list(decoder.parameters()), allow_unused=True)
        for mean, gradient in zip(wanted, gradients, strict=True):
            mean.add_(0 if gradient is None else gradient, alpha=size / 5)
    settings = recipe.model_copy(update={"accumulate": len(sizes), "clip_norm": 1e9})
    losses = TrainingStep(decoder, settings)(states, pooled, target, target > 2, RATE)
    assert losses.total.item() == pytest.approx(total, rel=1e-5)
    assert losses.valid.item() == pytest.approx((target > 2).float().mean().item())
    for weight, mean in zip(decoder.parameters(), wanted, strict=True):
        found = torch.zeros_like(mean) if weight.grad is None else weight.grad
        torch.testing.assert_close(found, mean, rtol=1e-4, atol=1e-5)


def test_one_micro_batch_that_is_not_finite_skips_the_whole_step(decoder, recipe, batch):
    step = TrainingStep(decoder, recipe.model_copy(update={"accumulate": 2}))
    before = snapshot(decoder)
    states, pooled, target, valid = batch
    assert step(states, pooled * torch.tensor([[torch.nan], [1.0]]), target, valid, RATE).total.isnan()
    assert all(torch.equal(tensor, before[name]) for name, tensor in decoder.state_dict().items())


@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_step_that_is_not_finite_leaves_no_trace(decoder, recipe, batch, fault):
    step = TrainingStep(decoder, recipe)
    step(*batch, rate=RATE)
    before = snapshot(decoder)
    moments = {key: value.clone() for key, value in step.optimizer.state[step.parameters[0]].items()}
    states, pooled, target, valid = batch
    if fault == "loss":
        states = {layer: torch.full_like(state, torch.nan) for layer, state in states.items()}
        handle = None
    else:
        handle = decoder.head.predict.weight.register_hook(lambda gradient: gradient * torch.inf)
    assert step(states, pooled, target, valid, RATE).total.isnan()
    assert all(torch.equal(tensor, before[name]) for name, tensor in decoder.state_dict().items())
    assert all(torch.equal(value, moments[key]) for key, value in step.optimizer.state[step.parameters[0]].items())
    if handle is not None:
        handle.remove()
    assert step(*batch, rate=RATE).total.isfinite()


def test_batch_without_valid_pixels_is_a_finite_step(decoder, recipe, batch):
    states, pooled, target, valid = batch
    losses = TrainingStep(decoder, recipe)(states, pooled, target, torch.zeros_like(valid), RATE)
    assert losses.total.item() == 0.0
    assert all(weight.isfinite().all() for weight in decoder.parameters())


def test_bfloat16_step_keeps_float32_weights_and_losses(decoder, recipe, batch):
    plain = TrainingStep(decoder, recipe)(*batch, rate=0.0)
    rounded = TrainingStep(decoder, recipe.model_copy(update={"precision": "bfloat16"}))(*batch, rate=0.0)
    assert rounded.total.dtype == torch.float32
    assert {weight.dtype for weight in decoder.parameters()} == {torch.float32}
    assert rounded.total.item() == pytest.approx(plain.total.item(), rel=0.05)
    assert rounded.total.item() != plain.total.item()


def test_precision_is_resolved_by_name_and_device():
    cpu = torch.device("cpu")
    assert resolve_precision("float32", cpu) is torch.float32
    assert resolve_precision("bfloat16", cpu) is torch.bfloat16
    assert resolve_precision("auto", cpu) in (torch.float32, torch.bfloat16)
    assert resolve_precision("auto", torch.device("meta")) is torch.float32
    with pytest.raises(SpaceClipError, match=r"^precision: 'half' is unknown here; choose auto, float32"):
        resolve_precision("half", cpu)


@pytest.mark.parametrize(("name", "capability", "said"), [
    ("tf32", None, "precision: tf32 needs a CUDA card of compute capability 8.0 or more, this is cpu; choose auto or"),
    ("tf32", (7, 5), "precision: tf32 needs a CUDA card of compute capability 8.0 or more, this is cuda:0; choose"),
    ("bfloat16", (7, 5), "precision: cuda:0 has no bfloat16 arithmetic; choose auto or float32"),
    ("tf32", (8, 0), None),
    ("bfloat16", (8, 0), None),
])  # fmt: skip
def test_a_precision_that_the_device_lacks_is_refused_in_one_line(monkeypatch, name, capability, said):
    device = torch.device("cuda", 0) if capability else torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: capability >= (8, 0))
    if said is None:
        assert resolve_precision(name, device) is {"tf32": torch.float32, "bfloat16": torch.bfloat16}[name]
    else:
        with pytest.raises(SpaceClipError, match=f"^{said}[^\n]*$"):
            resolve_precision(name, device)


def test_a_step_in_a_precision_that_the_device_lacks_is_refused_before_the_first(decoder, recipe):
    with pytest.raises(SpaceClipError, match=r"^precision: tf32 needs a CUDA card"):
        TrainingStep(decoder, recipe.model_copy(update={"precision": "tf32"}))


@pytest.mark.parametrize("name", ["float32", "tf32", "bfloat16"])
def test_float32_is_tf32_only_where_that_is_the_precision(monkeypatch, name):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with float32_as(name, torch.device("cuda")):
        assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == (name == "tf32")
    assert torch.backends.cudnn.allow_tf32
    with float32_as(name, torch.device("cpu")):
        assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_autocast_computes_in_the_named_precision(name, dtype):
    with autocast(name, torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is dtype


def test_no_work_is_done_for_weights_of_zero(decoder, recipe, batch, monkeypatch):
    done = []
    for stage, head in enumerate(decoder.auxiliary_heads):
        head.register_forward_hook(lambda *_, stage=stage: done.append(f"head {stage}"))
    for name in ("_silog", "_ssim"):
        work = getattr(losses, name)
        monkeypatch.setattr(losses, name, lambda *given, name=name, work=work: (done.append(name), work(*given))[1])
    weights = {(0.5, 0.0, (0.0, 0.1, 0.0)): ["head 1", "_silog", "_silog"], (0.0, 0.5, (0.0, 0.0, 0.0)): ["_ssim"]}
    for (silog, ssim, auxiliary), wanted in weights.items():
        loss = LossSettings(silog=silog, ssim=ssim, auxiliary=auxiliary)
        TrainingStep(decoder, recipe.model_copy(update={"loss": loss}))(*batch, rate=RATE)
        assert done == wanted
        done.clear()
