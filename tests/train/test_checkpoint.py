import hashlib
import json
import math
import os
import pickle
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spaceclip.cache import SpaceClipError
from spaceclip.train import CheckpointInfo, DepthDecoder, load_checkpoint, save_checkpoint
from spaceclip.train.checkpoint import store_facts
from spaceclip.train.sealed import seal
from spaceclip.train.timing import Receipt


@pytest.fixture
def saved(tmp_path, small):
    torch.manual_seed(0)
    decoder = DepthDecoder(small).eval()
    info = CheckpointInfo(
        decoder=small,
        backbone={"name": "tiny", "revision": "1", "weights": "ab"},
        preprocessing={},
        stores=[{"fingerprint": "f", "ledger": "l", "samples": "s", "images": 3}],
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


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("name", ["checkpoint.json", "checkpoint.safetensors"])
def test_one_flipped_bit_in_either_file_is_one_line(saved, name, data):
    file = saved[0] / name
    whole = file.read_bytes()
    content = bytearray(whole)
    content[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    try:
        with pytest.raises(SpaceClipError, match=r"altered[^\n]*; train it again$"):
            load_checkpoint(saved[0])
    finally:
        file.write_bytes(whole)


def sealed_end(text):
    return b',\n "sealed": "' + hashlib.sha256(text).hexdigest().encode() + b'"\n}\n'


DEEP = b"[" * 100_000 + b"]" * 100_000


def resealed(content, **changes):
    """The description with other values, as somebody who knows the format would write it."""
    return seal({name: value for name, value in {**content, **changes}.items() if name != "sealed"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(), inner, max_size=3), max_leaves=5,
)  # fmt: skip


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_description_of_any_other_content_is_read_or_refused_in_one_line(saved, data):
    file = saved[0] / "checkpoint.json"
    whole = file.read_bytes()
    content = json.loads(whole)
    within = data.draw(st.sampled_from([content, content["decoder"], content["stores"][0]]))
    within[data.draw(st.sampled_from(sorted(within)))] = data.draw(JSON | st.integers(1, 10**12))
    try:
        file.write_bytes(resealed(content))
        load_checkpoint(saved[0])
    except SpaceClipError as error:
        assert "\n" not in str(error)  # noqa: PT017 - it may as well be read
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize("text", [b"", b"{}", b'{"format": 2}', DEEP, b'{"a": ' + DEEP, b"\xff" * 2000, b"[1]"])
def test_json_of_another_kind_is_one_clear_line(saved, text):
    for content in (text, text.removesuffix(b"}") + sealed_end(text.removesuffix(b"}"))):
        (saved[0] / "checkpoint.json").write_bytes(content)
        with pytest.raises(SpaceClipError, match="not a checkpoint of this version") as raised:
            load_checkpoint(saved[0])
        assert "\n" not in str(raised.value)


def test_settings_that_do_not_fit_the_weights_are_refused(saved):
    file = saved[0] / "checkpoint.json"
    content = json.loads(file.read_bytes())
    file.write_bytes(resealed(content, decoder={**content["decoder"], "film_hidden": 9}))
    with pytest.raises(SpaceClipError, match="does not fit the decoder") as raised:
        load_checkpoint(saved[0])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbone": {}}, "backbone: .* expected text as its name, revision, weights"),
        ({"backbone": {"name": "tiny", "revision": 1, "weights": "ab"}}, "expected text as its revision"),
        ({"backbone": ["tiny"]}, "backbone: "),
        ({"image_size": [10**20, 10**20]}, "image_size.0: .* less than or equal to 16384"),
        ({"image_size": [-32, 32]}, "image_size.0: "),
        ({"patches": 10**30}, "patches: "),
        ({"min_depth": math.inf}, "min_depth: "),
        ({"stores": {"a": 1}}, "stores: "),
        ({"a\nb" + 500 * "c": 1}, r"\(a\\nbccc"),
    ],
)
def test_a_description_of_what_cannot_be_is_one_line_that_names_it(saved, changes, said):
    file = saved[0] / "checkpoint.json"
    file.write_bytes(resealed(json.loads(file.read_bytes()), **changes))
    with pytest.raises(SpaceClipError, match=f"not a checkpoint of this version .*{said}") as raised:
        load_checkpoint(saved[0])
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("bias", [1e308, -1e308, 10**30])
def test_a_bias_that_no_head_can_start_from_is_refused(saved, bias):
    file = saved[0] / "checkpoint.json"
    content = json.loads(file.read_bytes())
    file.write_bytes(resealed(content, decoder={**content["decoder"], "head_bias": bias}))
    with pytest.raises(SpaceClipError, match=r"decoder\.head_bias: .*expected metres, or pytorch"):
        load_checkpoint(saved[0])


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def header(content, values=b""):
    return struct.pack("<Q", len(content)) + content + values


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pickle.dumps(Trap()),
        header(b"[1]"),
        header(b"[" * 10_000),
        struct.pack("<Q", 1 << 62) + b"{}",
        header(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', bytes(4)),
        header(b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}', bytes(4)),
        header(b'{"a":{"dtype":"F4","shape":[8],"data_offsets":[0,4]}}', bytes(4)),
    ],
)
def test_what_are_no_weights_is_one_line_and_runs_nothing(saved, tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    file = saved[0] / "checkpoint.json"
    (saved[0] / "checkpoint.safetensors").write_bytes(content)
    file.write_bytes(resealed(json.loads(file.read_bytes()), sha256=hashlib.sha256(content).hexdigest()))
    with pytest.raises(SpaceClipError, match=r"checkpoint.safetensors: not weights in safetensors format [^\n]*again$"):
        load_checkpoint(saved[0])
    assert not Path("sprung").exists()


@pytest.mark.parametrize(
    "change", [{"focal": [1.0, 2.0]}, {"focal": [1, 2, math.nan]}, {"size": [0, 3]}, {"images": 0}]
)
def test_a_camera_that_cannot_be_is_refused_in_one_line(saved, change):
    file = saved[0] / "checkpoint.json"
    content = json.loads(file.read_bytes())
    camera = {"focal": [28.0, 30.0, 32.0], "size": [24, 32], "images": 3}
    stores = [{**store, "camera": camera} for store in content["stores"]]
    file.write_bytes(resealed(content, stores=stores))
    assert CheckpointInfo.read(file).stores[0].get("camera") == camera
    file.write_bytes(resealed(content, stores=[{**stores[0], "camera": {**camera, **change}}]))
    with pytest.raises(SpaceClipError, match=r"\(stores\.0\.camera: .*(three focal lengths|finite number)"):
        CheckpointInfo.read(file)


def test_a_receipt_is_that_of_the_weights_or_none(saved):
    folder, decoder = saved
    file = folder / "train_receipt.json"
    receipt = Receipt.of({"reading": 1.0, "computing": 3.0}, 8)
    info = load_checkpoint(folder).info
    assert info.receipt is None
    save_checkpoint(folder, decoder.state_dict(), info.model_copy(update={"receipt": receipt}))
    assert load_checkpoint(folder).info == info.model_copy(update={"receipt": receipt})
    written = file.read_bytes()
    file.write_bytes(written.replace(b"4.0", b"5.0"))
    assert load_checkpoint(folder).info == info
    file.write_bytes(written)
    save_checkpoint(folder, {name: tensor + 1 for name, tensor in decoder.state_dict().items()}, info)
    assert load_checkpoint(folder).info.receipt is None  # it is of the weights before


def test_a_receipt_in_a_record_of_a_former_version_is_read(saved):
    file, receipt = saved[0] / "checkpoint.json", Receipt.of({"reading": 1.0, "computing": 3.0}, 8)
    content = json.loads(file.read_bytes())
    file.write_bytes(resealed(content, receipt=receipt.model_dump()))
    assert load_checkpoint(saved[0]).info.receipt == receipt


def test_huge_settings_are_refused_before_anything_of_their_size_is_made(saved, monkeypatch):
    file = saved[0] / "checkpoint.json"
    content = json.loads(file.read_bytes())
    file.write_bytes(resealed(content, decoder={**content["decoder"], "hidden_size": 60_000, "channels": [60_000] * 4}))
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SpaceClipError, match=r"mis-shaped .* does not fit the decoder"):
        load_checkpoint(saved[0])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda weights: weights["head.predict.bias"].fill_(torch.nan), "non-finite 1 weights"),
        (lambda weights: weights.update(more=torch.zeros(1)), "unexpected 1 weights"),
        (
            lambda weights: weights.update({"../a\n" + 999 * "b": torch.zeros(1)}),
            r"unexpected 1 weights \(../a\\nb{74}\)",
        ),
        (lambda weights: weights.pop("head.predict.bias"), "misses 1 weights"),
        (
            lambda weights: weights.update({"head.predict.bias": torch.zeros(1, dtype=torch.int8)}),
            "mis-typed 1 weights",
        ),
    ],
)
def test_weights_that_cannot_be_are_named(saved, change, fault):
    folder, decoder = saved
    weights = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    change(weights)
    save_checkpoint(folder, weights, CheckpointInfo.read(folder / "checkpoint.json"))
    with pytest.raises(SpaceClipError, match=fault):
        load_checkpoint(folder)


def test_what_the_weights_have_seen_is_not_scored_as_test(saved, make_cache):
    train, val, test = (make_cache(count, f"{count}.zarr") for count in (7, 5, 3))
    info = CheckpointInfo.read(saved[0] / "checkpoint.json")
    info = info.model_copy(update={"stores": store_facts(train), "validation": store_facts(val)})
    info.require_unseen({"val": val, "test": test})
    with pytest.raises(SpaceClipError, match=r"5\.zarr is given as the test split, .* these weights were chosen by"):
        info.require_unseen({"val": test, "test": val})
    with pytest.raises(SpaceClipError, match=r"7\.zarr is given as the val split, .* these weights were trained on"):
        info.require_unseen({"val": train})


def test_a_checkpoint_without_the_settings_that_came_later_is_read(saved):
    folder, _ = saved
    file = folder / "checkpoint.json"
    content = json.loads(file.read_bytes())
    del content["decoder"]["head_bias"], content["sealed"]
    file.write_bytes(seal(content))
    assert load_checkpoint(folder).info.decoder.head_bias == 2.0
