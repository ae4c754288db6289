import pytest
import torch
from spaceclip.train import DepthDecoder
from spaceclip.train.ema import EMA


def wander(decoder, seed):
    """Give every floating weight and buffer new values, and count one batch."""
    draw = torch.Generator().manual_seed(seed)
    for tensor in decoder.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=draw))
        else:
            tensor.add_(1)


def test_average_of_several_updates_is_the_closed_form(small):
    decoder, decay = DepthDecoder(small), 0.9
    average = EMA(decoder, decay, warmup=False)
    history = [{name: tensor.clone() for name, tensor in decoder.state_dict().items()}]
    for seed in range(3):
        wander(decoder, seed)
        average.update(decoder, 0)
        history.append({name: tensor.clone() for name, tensor in decoder.state_dict().items()})
    shares = (decay**3, (1 - decay) * decay**2, (1 - decay) * decay, 1 - decay)
    for name, found in average.model.state_dict().items():
        if found.is_floating_point():
            wanted = sum(share * past[name].double() for share, past in zip(shares, history, strict=True))
            torch.testing.assert_close(found.double(), wanted, rtol=1e-6, atol=1e-7)
        else:
            assert torch.equal(found, history[-1][name])


def test_every_weight_and_buffer_moves(small):
    decoder = DepthDecoder(small)
    average = EMA(decoder, 0.5, warmup=False)
    before = {name: tensor.clone() for name, tensor in average.model.state_dict().items()}
    wander(decoder, 0)
    average.update(decoder, 0)
    assert [name for name, tensor in average.model.state_dict().items() if torch.equal(tensor, before[name])] == []


def test_average_leaves_the_decoder_alone_and_is_ready_to_predict(small):
    decoder = DepthDecoder(small).train()
    average = EMA(decoder, 0.996, warmup=False)
    wander(decoder, 1)
    before = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    average.update(decoder, 0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in decoder.state_dict().items())
    assert decoder.training
    assert not average.model.training
    assert not any(weight.requires_grad for weight in average.model.parameters())


def test_a_restored_average_goes_on_as_if_it_had_not_stopped(small):
    decoder = DepthDecoder(small)
    average = EMA(decoder, 0.8, warmup=False)
    wander(decoder, 2)
    average.update(decoder, 0)
    again = EMA(DepthDecoder(small), 0.8, warmup=False)
    again.model.load_state_dict(average.model.state_dict())
    wander(decoder, 3)
    for one in (average, again):
        one.update(decoder, 0)
    for found, wanted in zip(again.model.state_dict().values(), average.model.state_dict().values(), strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("decay", [0.0])
def test_without_memory_the_average_is_the_decoder(small, decay):
    decoder = DepthDecoder(small)
    average = EMA(decoder, decay, warmup=False)
    wander(decoder, 4)
    average.update(decoder, 0)
    for found, wanted in zip(average.model.state_dict().values(), decoder.state_dict().values(), strict=True):
        torch.testing.assert_close(found, wanted)


def test_with_warmup_the_average_soon_forgets_the_untrained_decoder(small):
    decoder = DepthDecoder(small)
    averages = {warmup: EMA(decoder, 0.996, warmup=warmup) for warmup in (True, False)}
    history = [{name: tensor.clone() for name, tensor in decoder.state_dict().items()}]
    for step in range(6):
        wander(decoder, step)
        for average in averages.values():
            average.update(decoder, step)
        history.append({name: tensor.clone() for name, tensor in decoder.state_dict().items()})
    name = "head.predict.weight"
    wanted = history[0][name].double()
    for step, weights in enumerate(history[1:]):
        wanted = torch.lerp(weights[name].double(), wanted, (1 + step) / (10 + step))
    torch.testing.assert_close(averages[True].model.state_dict()[name].double(), wanted, rtol=1e-6, atol=1e-7)
    share = {warmup: (average.model.state_dict()[name] - history[0][name]) for warmup, average in averages.items()}
    assert share[False].abs().max() < 0.05 * share[True].abs().max()


def test_warmup_ends_at_the_decay(small):
    decoder = DepthDecoder(small)
    averages = [EMA(decoder, 0.5, warmup=warmup) for warmup in (True, False)]
    wander(decoder, 0)
    for average in averages:
        average.update(decoder, 8)
    for found, wanted in zip(*(average.model.state_dict().values() for average in averages), strict=True):
        assert torch.equal(found, wanted)
