import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spaceclip.cache import SpaceClipError
from spaceclip.train import DecoderSettings, DepthDecoder, load_release_checkpoint
from spaceclip.train.release import release_name

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def released():
    """A checkpoint in the authors' key names, and the settings that fit it."""
    with np.load(DATA / "decoder_film1_structural1.npz") as archive:
        config = json.loads(str(archive["config"]))
        weights = {n.removeprefix("weight/"): torch.from_numpy(archive[n]) for n in archive.files if "weight/" in n}
    settings = DecoderSettings(
        hidden_size=config["hidden_size"], channels=config["decoder_channels"], film_hidden=config["film_hidden"]
    )
    return weights, settings


def full(weights):
    tower = {"clip_vision_model.embeddings.class_embedding": torch.zeros(3)}
    return {"model": {**weights, **tower}, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]}, "epoch": 19}


def test_every_weight_lands_where_its_name_says(released):
    weights, settings = released
    decoder = load_release_checkpoint(weights, settings)
    assert not decoder.training
    found = {release_name(name): value for name, value in decoder.state_dict().items()}
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], value) for name, value in weights.items())
    ours = decoder.state_dict()
    assert torch.equal(
        ours["semantic_blocks.1.residual.conv1.weight"], weights["main_decoder_blocks.1.fusion_conv.3.conv1.weight"]
    )
    assert torch.equal(ours["head.predict.bias"], weights["depth_prediction_head.3.bias"])


def test_full_checkpoint_file_reads_like_its_weights(released, tmp_path):
    weights, settings = released
    path = tmp_path / "epoch_19.pth"
    torch.save(full(weights), path)
    wanted = load_release_checkpoint(weights, settings).state_dict()
    found = load_release_checkpoint(str(path), settings).state_dict()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_settings_default_to_the_papers():
    wanted = DepthDecoder().state_dict()
    weights = {release_name(name): value for name, value in wanted.items()}
    found = load_release_checkpoint({"model": weights}).state_dict()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_missing_weights_are_counted_and_named(released):
    weights, settings = released
    weights = {name: value for name, value in weights.items() if not name.startswith("film_param_generators.0")}
    with pytest.raises(
        SpaceClipError,
        match=r"^the checkpoint misses 4 weights \(film_param_generators\.0\.0\.weight, [^\n]*, \.\.\.\)[^\n]*$",
    ):
        load_release_checkpoint(weights, settings)


def test_unexpected_weights_are_counted_and_named(released):
    weights, settings = released
    unlike = settings.model_copy(update={"film": False})
    with pytest.raises(
        SpaceClipError,
        match=r"^the checkpoint has unexpected 16 weights \(film_param[^\n]*set hidden_size, channels, film",
    ):
        load_release_checkpoint(weights, unlike)


def test_mis_shaped_weights_are_named_with_both_shapes(released):
    weights, settings = released
    weights = {**weights, "depth_prediction_head.3.bias": torch.zeros(2)}
    with pytest.raises(
        SpaceClipError, match=r"mis-shaped 1 weights \(depth_prediction_head\.3\.bias \[2\] instead of \[1\]\)"
    ):
        load_release_checkpoint(weights, settings)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04torn"])
def test_unreadable_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "torn.pth"
    path.write_bytes(content)
    with pytest.raises(SpaceClipError, match=r"^cannot read [^\n]*torn\.pth[^\n]*$"):
        load_release_checkpoint(path)


@pytest.fixture(scope="module")
def small_release(tmp_path_factory):
    """A small release file: its content and the settings that fit it."""
    torch.manual_seed(0)
    settings = DecoderSettings(hidden_size=4, channels=(4, 4, 4, 2), film_hidden=4)
    weights = {release_name(name): tensor for name, tensor in DepthDecoder(settings).state_dict().items()}
    path = tmp_path_factory.mktemp("release") / "epoch_19.pth"
    torch.save(full(weights), path)
    return path.read_bytes(), settings


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_one_line_or_gives_the_very_weights(small_release, tmp_path, data):
    whole, shape = small_release
    content, at = bytearray(whole), data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["bit", "cut", "zeros", "moved"]))
    if kind == "bit":
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del content[at:]
    elif kind == "zeros":
        content[at : at + 512] = bytes(len(content[at : at + 512]))
    else:
        content[at:at] = content[:64]
    path = tmp_path / "damaged.pth"
    path.write_bytes(content)
    try:
        found = load_release_checkpoint(path, shape).state_dict()
    except SpaceClipError as error:
        assert "\n" not in str(error)  # noqa: PT017 - what was damaged may not matter
        return
    path.write_bytes(whole)
    wanted = load_release_checkpoint(path, shape).state_dict()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(released, value):
    weights, settings = released
    weights = {**weights, "depth_prediction_head.3.bias": torch.full((1,), value)}
    with pytest.raises(
        SpaceClipError, match=r"non-finite 1 weights \(depth_prediction_head\.3\.bias\); no depth comes"
    ):
        load_release_checkpoint(weights, settings)


@pytest.mark.parametrize(
    "odd", [torch.zeros(1, dtype=torch.complex64), torch.zeros(1, device="meta"), torch.zeros(1).to_sparse()]
)
def test_tensors_that_are_no_plain_numbers_are_named(released, odd):
    weights, settings = released
    with pytest.raises(SpaceClipError, match=r"mis-typed 1 weights \(depth_prediction_head\.3\.bias\)"):
        load_release_checkpoint({**weights, "depth_prediction_head.3.bias": odd}, settings)


def test_absent_file_is_refused_by_name(tmp_path):
    with pytest.raises(SpaceClipError, match=r"^cannot read [^\n]*none\.pth"):
        load_release_checkpoint(tmp_path / "none.pth")


class Malice:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    mark, path = tmp_path / "ran", tmp_path / "malice.pth"
    torch.save({"model": Malice(mark)}, path)
    with pytest.raises(SpaceClipError, match="cannot read"):
        load_release_checkpoint(path)
    assert not mark.exists()


@pytest.mark.parametrize("content", [[1, 2], {"model": 3}, {"epoch": 3}, {"model": {1: torch.zeros(1)}}])
def test_a_file_without_weights_is_refused(tmp_path, content):
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(SpaceClipError, match=r"other\.pth holds"):
        load_release_checkpoint(path)
