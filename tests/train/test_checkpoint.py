import json

import pytest
import torch
from spaceclip.cache import SpaceClipError
from spaceclip.train import CheckpointInfo, DepthDecoder, load_checkpoint, save_checkpoint


@pytest.fixture
def saved(tmp_path, small):
    torch.manual_seed(0)
    decoder = DepthDecoder(small).eval()
    info = CheckpointInfo(
        decoder=small,
        backbone={"name": "tiny"},
        preprocessing={},
        store={"fingerprint": "f", "ledger": "l", "samples": "s"},
        min_depth=0.1,
        max_depth=10,
        weights="ema",
        epoch=3,
        metrics={"abs_rel": 0.2},
        protocol={"name": "controlled"},
        training={},
    )
    save_checkpoint(tmp_path / "run", decoder.state_dict(), info)
    return tmp_path / "run", decoder


@pytest.mark.parametrize("name", ["", "checkpoint.json", "checkpoint.safetensors"])
def test_it_comes_back_by_folder_or_by_either_file(saved, name):
    folder, decoder = saved
    loaded = load_checkpoint(folder / name)
    assert not loaded.decoder.training
    assert loaded.info.epoch == 3
    states = {layer: torch.randn(2, 4, 8) for layer in decoder.settings.layers}
    pooled = torch.randn(2, 8)
    with torch.no_grad():
        assert torch.equal(loaded.decoder(states, pooled).depth, decoder(states, pooled).depth)


@pytest.mark.parametrize("name", ["checkpoint.json", "checkpoint.safetensors"])
def test_a_missing_file_is_named(saved, name):
    (saved[0] / name).unlink()
    with pytest.raises(SpaceClipError, match=f"{name}: no checkpoint is there; run `spaceclip train`"):
        load_checkpoint(saved[0])


def test_weights_of_another_run_are_refused(saved):
    folder, _ = saved
    content = bytearray((folder / "checkpoint.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "checkpoint.safetensors").write_bytes(content)
    with pytest.raises(SpaceClipError, match=r"not the weights that checkpoint\.json was written for"):
        load_checkpoint(folder)


@pytest.mark.parametrize("text", ["", "{}", '{"format": 2}'])
def test_json_of_another_kind_is_one_clear_line(saved, text):
    (saved[0] / "checkpoint.json").write_text(text)
    with pytest.raises(SpaceClipError, match="not a checkpoint of this version") as raised:
        load_checkpoint(saved[0])
    assert "\n" not in str(raised.value)


def test_settings_that_do_not_fit_the_weights_are_refused(saved):
    file = saved[0] / "checkpoint.json"
    content = json.loads(file.read_bytes())
    content["decoder"]["film_hidden"] = 9
    file.write_text(json.dumps(content))
    with pytest.raises(SpaceClipError, match="does not fit the decoder") as raised:
        load_checkpoint(saved[0])
    assert "\n" not in str(raised.value)
