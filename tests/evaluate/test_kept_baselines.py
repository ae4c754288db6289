"""What the training depths alone predict is made once and kept beside the features."""

import numpy as np
import pytest
from spaceclip.evaluate import EvaluateSettings, baselines, evaluate_checkpoint
from spaceclip.evaluate.kept_baselines import KeptDepths
from spaceclip.train import Checkpoint, CheckpointInfo

SETTINGS = EvaluateSettings(protocols=("validation",), precision="float32", batch_size=2)


@pytest.fixture
def training(make_cache):
    """Training features that count how often a target is read."""
    cache = make_cache(3, seed=3)
    cache.fingerprint, cache.digest, cache.read = "f" * 64, "d" * 64, []

    def depth(index):
        cache.read.append(index)
        return cache.depths[index]

    cache.depth = depth
    return cache


@pytest.fixture
def evaluate(decoder, make_cache, training, tmp_path):
    info = CheckpointInfo(
        decoder=decoder.settings, backbone={"name": "tiny", "revision": "1", "weights": "ab"}, preprocessing={},
        stores=[{"fingerprint": "f", "ledger": "l", "samples": "s", "images": 3}], min_depth=0.001, max_depth=10,
        weights="ema", epoch=3, metrics={}, protocol={}, training={},
    )  # fmt: skip
    checkpoint = Checkpoint(decoder, info, tmp_path / "checkpoint.safetensors")

    def run(out, keep=tmp_path / "features", **changes):
        """Baseline scores, targets read, and the progress reported."""
        training.read.clear()
        told = []
        settings = SETTINGS.model_copy(update=changes)
        found = evaluate_checkpoint(
            checkpoint, {"val": make_cache(4, seed=1)}, training, settings, tmp_path / out,
            lambda done, total: told.append((done, total)), keep=keep,
        )  # fmt: skip
        assert told == [(done, len(told)) for done in range(1, len(told) + 1)]
        return [row.baselines for row in found.results.rows], len(training.read), len(told)

    return run


def test_the_second_evaluation_reads_no_training_depth_and_finds_the_same(evaluate, tmp_path):
    first, *rest = evaluate("first")
    assert rest == [3, 3 + 4]
    assert evaluate("second") == (first, 0, 4)
    assert [path.name for path in (tmp_path / "features").iterdir()] == ["baselines-ffffffffffff-0.001-10m.kept"]
    assert evaluate("kept nowhere", keep=None) == (first, 3, 7)


def test_other_features_another_range_other_code_or_a_damaged_file_are_made_anew(
    evaluate, training, tmp_path, monkeypatch
):
    evaluate("first")
    assert evaluate("range", max_depth=5.0)[1:] == (3, 7)
    training.digest = "e" * 64
    training.depths = [depth / 2 for depth in training.depths]
    halved, *rest = evaluate("grown")
    assert rest == [3, 7]
    assert evaluate("again") == (halved, 0, 4)
    file = tmp_path / "features" / "baselines-ffffffffffff-0.001-10m.kept"
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:99] + bytes([whole[99] ^ 1]) + whole[100:], b""):
        file.write_bytes(damaged)
        assert evaluate("damaged") == (halved, 3, 7)
        assert file.read_bytes() == whole
    changed = tmp_path / "baselines.py"
    changed.write_text("other code")
    monkeypatch.setattr(baselines, "__file__", str(changed))
    assert evaluate("code") == (halved, 3, 7)


def test_a_folder_that_cannot_be_written_to_costs_time_only(training, tmp_path):
    (tmp_path / "file").touch()
    kept = KeptDepths(tmp_path / "file" / "features", training, (0.001, 10.0))
    kept.write({"mean map": np.ones((2, 3), np.float32)})
    assert kept.read() is None
