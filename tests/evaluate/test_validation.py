"""Validation of several decoders in one pass over a store."""

import copy
import re
from collections import Counter
from threading import Barrier

import numpy as np
import pytest
import torch
from spaceclip.cache import DepthSpec, Entry, FeatureCache, SpaceClipError, StoreSpec, StoreWriter
from spaceclip.cache.format.identity import Storage
from spaceclip.cache.format.shard import ShardedArray
from spaceclip.evaluate import Scorer, predict, score, validate
from torch.utils._python_dispatch import TorchDispatchMode

COUNT, SIZE, NATIVE = 7, (24, 32), (50, 52)


@pytest.fixture
def make_store(tmp_path):
    """Writes a small store; its truths differ in size where they are native."""

    def make(native: tuple[int, int] | None = None, storage: Storage = "float16") -> FeatureCache:
        spec = StoreSpec(
            backbone={"name": "tiny", "revision": "1", "weights": "ab"},
            preprocessing={},
            layers=(0, 1, 2, 3),
            views=("plain",),
            patches=4,
            channels=8,
            image_size=(8, 8),
            depth=DepthSpec(0.001, SIZE, native, counts="uint16"),
            entries=[Entry(f"{index}", f"scene{index // 3}", "1") for index in range(COUNT)],
            shard=4,
            storage=storage,
        )
        draw = np.random.default_rng(0)
        writer = StoreWriter(tmp_path / "store.zarr", spec, {"split": "val", "split_by": "scene"})
        for shard in writer.pending:
            n = len(range(*spec.rows(shard)))
            block: dict[str, np.ndarray] = {}
            for layer in range(4):
                block[f"layers/{layer}"] = draw.normal(size=(n, 1, 4, 8)).astype(np.float16)
                if storage == "int8":
                    block[f"layers/{layer}"] = draw.integers(-127, 128, (n, 1, 4, 8)).astype(np.int8)
                    block[f"scales/{layer}"] = np.full((n, 1, 8), 0.01 + 0.01 * layer, np.float32)
            block["pooled"] = draw.normal(size=(n, 1, 8)).astype(np.float32)
            block["image"] = np.zeros((n, 8, 8, 3), np.uint8)
            block["depth"] = draw.integers(0, 9000, (n, *SIZE)).astype(np.uint16)
            block["depth"][0] = 0
            if native:
                block["ground_truth"] = draw.integers(0, 9000, (n, *native)).astype(np.uint16)
                block["ground_truth_size"] = np.array([(40 + at % 2, 50) for at in range(n)], np.int32)
            writer.write(shard, block)
        return FeatureCache.open(writer.path)

    return make


def alone(decoder, protocol, cache, precision="float32"):
    """Mean metrics of one decoder, image by image in NumPy."""
    scorer = Scorer(protocol.model_copy(update={"flip_average": False}), regions=False)
    score(predict(decoder, cache, flip_average=False, precision=precision), [("plain", scorer)])
    return scorer.scores().mean


@pytest.fixture
def several(decoder, protocol):
    """Decoders of other layers, ranges, crops and precisions."""
    other = copy.deepcopy(decoder)
    with torch.no_grad():
        other.head.predict.weight.mul_(2)
    bare = type(decoder)(decoder.settings.model_copy(update={"structural": False, "semantic_layers": (3, 2, 3, 2)}))
    torch.nn.init.constant_(bare.head.predict.bias, 3.0)
    return [
        (decoder, protocol, "float32"),
        (other, protocol.model_copy(update={"max_depth": 4.0}), "float32"),
        (bare.train(), protocol.model_copy(update={"crop": "garg", "min_depth": 2.0}), "float32"),
        (other, protocol, "bfloat16"),
    ]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("native", [None, NATIVE])
def test_each_decoder_scores_in_one_pass_what_it_scores_alone(make_store, several, native, batch_size):
    cache = make_store(native)
    found = validate(several, cache, batch_size=batch_size)
    for metrics, (decoder, protocol, precision) in zip(found, several, strict=True):
        error = 1e-5 if precision == "float32" else 1e-2
        assert metrics == pytest.approx(alone(decoder, protocol, cache, precision), rel=error, abs=error)
    assert len({metrics["abs_rel"] for metrics in found if isinstance(metrics, dict)}) == 4


def test_on_a_processor_decoders_are_scored_at_once_and_come_to_the_same(make_store, several):
    store, before, meeting = make_store(NATIVE), torch.get_num_threads(), Barrier(2, timeout=20)

    def seen(number, row, _depth):
        if number < 2 and row == 0:
            meeting.wait()  # nobody goes on before both are here

    torch.set_num_threads(1)
    expected = validate(several, store)
    torch.set_num_threads(2)
    try:
        assert validate(several, store, seen=seen) == expected
    finally:
        torch.set_num_threads(before)


def test_a_store_of_int8_is_scored_as_prediction_reads_it(make_store, several):
    cache = make_store(storage="int8")
    for metrics, (decoder, protocol, _) in zip(validate(several[:3], cache), several, strict=False):
        assert metrics == pytest.approx(alone(decoder, protocol, cache), rel=1e-3)


def test_each_chunk_is_read_once_for_all_decoders_and_only_of_layers_in_use(make_store, several, monkeypatch):
    cache, read = make_store(NATIVE), Counter()
    read_bytes = ShardedArray.read_bytes

    def counted(self, out, row, view=0, **rest):
        read[self.name, row] += 1
        read_bytes(self, out, row, view, **rest)

    monkeypatch.setattr(ShardedArray, "read_bytes", counted)
    validate(several, cache, batch_size=3)
    names = {f"layers/{layer}" for layer in range(4)} | {"pooled", "ground_truth", "ground_truth_size"}
    assert read == dict.fromkeys(((name, row) for name in names for row in range(COUNT)), 1)
    read.clear()
    validate(several[2:3], cache)
    assert {name for name, _ in read} == {"layers/2", "layers/3", "pooled", "ground_truth", "ground_truth_size"}


def test_a_decoder_that_cannot_be_scored_ends_no_other(make_store, several, decoder, protocol):
    cache = make_store()
    sick, deep = copy.deepcopy(decoder), type(decoder)
    with torch.no_grad():
        sick.head.predict.bias.fill_(torch.nan)
    lost = [
        (sick, protocol, "float32"),
        (decoder, protocol, "float8"),
        (deep(decoder.settings.model_copy(update={"semantic_layers": (12, 2, 1, 0)})), protocol, "float32"),
        (decoder, protocol.model_copy(update={"crop": "nyu_eigen"}), "float32"),
        (decoder, protocol.model_copy(update={"min_depth": 20.0, "max_depth": 30.0}), "float32"),
    ]
    reasons = (
        "^1: the prediction is nan at a valid pixel, expected a positive finite depth",
        "float8",
        r"lacks the hidden states \[12\]",
        "crop nyu_eigen met a ground truth of 24 x 32",
        "no image has a valid pixel under the controlled protocol: .* no flip averaging",
    )
    found = validate([*lost, *several], cache)
    for error, reason in zip(found, reasons, strict=False):
        assert isinstance(error, SpaceClipError)
        assert re.search(reason, str(error))
    assert found[len(lost) :] == validate(several, cache)
    assert [str(error) for error in validate(lost, cache)] == [str(error) for error in found[: len(lost)]]


def test_zero_counts_as_the_smallest_depth_and_what_is_farther_as_the_largest(make_store, decoder, protocol):
    cache = make_store()
    for bias in (-1e3, 1e3):
        with torch.no_grad():
            decoder.head.predict.bias.fill_(bias)
        (found,) = validate([(decoder, protocol, "float32")], cache)
        assert found == pytest.approx(alone(decoder, protocol, cache), rel=1e-6)


def test_averages_and_medians_have_no_part_in_it(make_store, decoder, protocol):
    scaled = protocol.model_copy(update={"median_scaling": True, "flip_average": True})
    plain, same = validate([(decoder, protocol, "float32"), (decoder, scaled, "float32")], make_store())
    assert plain == same


@pytest.mark.parametrize("training", [True, False])
def test_decoders_keep_their_mode_and_statistics(make_store, decoder, protocol, training):
    decoder.train(training)
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    validate([(decoder, protocol, "float32")], make_store())
    assert decoder.training is training
    assert all(torch.equal(value, before[name]) for name, value in decoder.state_dict().items())


class Transfers(TorchDispatchMode):
    """Counts what brings a value from a device to the host."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().removeprefix("aten::").partition(".")[0]
        waits = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "unique")
        if name in waits or (name == "index" and any(getattr(one, "dtype", None) == torch.bool for one in args[1])):
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def test_nothing_is_read_from_the_device_before_the_end(make_store, several):
    with Transfers() as seen:
        validate(several, make_store(NATIVE), batch_size=3)
    assert seen.names == []


def test_predictions_are_shown_as_they_are_made(make_store, several):
    cache, shown = make_store(), {}
    validate(several, cache, batch_size=3, seen=lambda at, row, depth: shown.update({(at, row): depth.clone()}))
    assert set(shown) == {(at, row) for at in range(len(several)) for row in range(COUNT)}
    for at, (decoder, _, precision) in enumerate(several):
        for found in predict(decoder, cache, flip_average=False, precision=precision):
            torch.testing.assert_close(shown[at, found.row], found.depths["plain"], rtol=2e-2, atol=2e-2)
