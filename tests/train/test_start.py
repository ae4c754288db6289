"""Decoders of unlike shapes start from the same weights where they fit, so that what differs is what was asked."""

import pytest
import torch
from spaceclip.cache import SpaceClipError
from spaceclip.train import DecoderSettings, DepthDecoder, Plan, StartSettings, fit, load_checkpoint, shared_weights
from spaceclip.train.start import initial_decoder

CPU = torch.device("cpu")


def own_start(settings, seed=3):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DepthDecoder(settings).state_dict()


def started(settings, seed=3, **start):
    return initial_decoder(settings, StartSettings(**start), seed).state_dict()


def test_a_decoder_starts_as_ever_where_nothing_is_set(small):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    found, wanted = started(small), own_start(small)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    started(small.model_copy(update={"structural": False}), structural=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_the_structural_path_it_has_the_tensors_of_the_whole_one_and_leading_channels_unscaled(small):
    flat = small.model_copy(update={"structural": False})
    found, whole = started(flat, structural=True), own_start(small)
    fusions = {f"semantic_blocks.{stage}.fuse.0.weight": 2 * small.channels[stage] for stage in range(3)}
    for name, tensor in found.items():
        wanted = whole[name][:, : fusions[name]] if name in fusions else whole[name]
        assert torch.equal(tensor, wanted), name
    mine = own_start(flat)
    assert not torch.equal(found["semantic_blocks.3.fuse.0.weight"], mine["semantic_blocks.3.fuse.0.weight"])
    assert len(fusions) == sum(whole[name].shape != found[name].shape for name in found)


def test_the_whole_one_takes_all_of_the_flat_one_and_its_own_structural_channels(small):
    flat = small.model_copy(update={"structural": False})
    found, theirs, mine = started(small, structural=False), own_start(flat), own_start(small)
    name, inputs = "semantic_blocks.1.fuse.0.weight", 2 * small.channels[1]
    assert torch.equal(found[name][:, :inputs], theirs[name])
    assert torch.equal(found[name][:, inputs:], mine[name][:, inputs:])
    gate = "semantic_blocks.1.structural_gate.weigh.weight"
    assert torch.equal(found[gate], mine[gate])


def test_tensors_of_another_shape_keep_their_own_start(small):
    wide = small.model_copy(update={"structural": False, "channels": (10, 8, 6, 4)})
    found, theirs, mine = started(wide, structural=True, channels=small.channels), own_start(small), own_start(wide)
    for name, tensor in found.items():
        if tensor.shape == theirs[name].shape:
            wanted = theirs[name]
        elif name in ("semantic_blocks.1.fuse.0.weight", "semantic_blocks.2.fuse.0.weight"):
            wanted = theirs[name][:, : tensor.shape[1]]
        else:
            wanted = mine[name]
        assert torch.equal(tensor, wanted), name
    assert torch.equal(found["film.0.generator.0.weight"], theirs["film.0.generator.0.weight"])


def test_the_bias_of_the_heads_is_its_own(small):
    near = small.model_copy(update={"structural": False, "head_bias": 7.0})
    assert started(near, structural=True)["head.predict.bias"].item() == 7


def test_of_the_papers_decoder_without_the_structural_path_every_parameter_is_shared():
    with torch.device("meta"):
        whole, flat = DepthDecoder(), DepthDecoder(DecoderSettings(structural=False))
    shared = list(shared_weights(flat, whole))
    assert sum(weight.own.numel() for weight in shared) == 7_570_932
    assert all(weight.whole for weight in shared)
    back = list(shared_weights(whole, flat))
    assert [weight.name for weight in back if not weight.whole] == [
        f"semantic_blocks.{stage}.fuse.0.weight" for stage in range(3)
    ]
    assert sum(weight.own.numel() for weight in back) == 7_570_932


@pytest.fixture
def plan(tmp_path, small, recipe):
    def make(**start):
        settings = recipe.model_copy(update={"epochs": 1, "keep": "last", "start": StartSettings(**start)})
        return Plan(tmp_path / "run", small.model_copy(update={"structural": False}), settings, {})

    return make


def test_the_start_belongs_to_the_record_and_one_of_another_start_is_refused(make_cache, plan):
    cache = make_cache(8)
    fit(cache, [plan(structural=True)], score=None, device=CPU)
    assert load_checkpoint(plan().out).info.training["start"] == {"structural": True}
    with pytest.raises(SpaceClipError, match=r"finished checkpoint \(train.start {'structural': True} there, None"):
        fit(cache, [plan()], score=None, device=CPU)
    fit(cache, [plan()], score=None, device=CPU, force=True)
    assert "start" not in load_checkpoint(plan().out).info.training


def test_an_interrupted_run_of_another_start_is_not_gone_on_with(make_cache, plan, monkeypatch):
    from spaceclip.train.run import Run

    cache, others = make_cache(8), []
    with monkeypatch.context() as patched:
        patched.setattr(Run, "finish", lambda _run: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fit(cache, [plan(structural=True)], score=None, device=CPU)
    for one in (plan(), plan(structural=True)):
        run = Run(one, cache, None, CPU)
        others.append((run.done(), len(run.others)))
    assert others == [(0, 1), (2, 0)]
