"""The benchmark for a machine with a card does all that it does, on a processor and at toy size."""

import importlib
import json
import math
from pathlib import Path

import pytest

TRAINING = (
    *("float32", "resident", "four_on_one_read", "controlled_run_s", "controlled_run_measured_s", "matmul_share"),
    *("graph_of_eager", "triton_of_pytorch_losses"),
)
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    found = importlib.import_module("bench_gpu")
    monkeypatch.setattr(found, "keep_freed_memory", lambda: None)  # of this whole process
    return found


def run(bench, monkeypatch, tmp_path):
    file = tmp_path / "found.json"
    given = ["--toy", "--images", "72", "--json", str(file), "--place", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["bench_gpu.py", *given])
    code = bench.main()
    return code, json.loads(file.read_text())


@pytest.mark.usefixtures("forked_workers")
def test_it_checks_then_measures(bench, monkeypatch, tmp_path):
    code, found = run(bench, monkeypatch, tmp_path)
    assert found["checks"].keys() == {"features", "bytes", "graph", "memory", "losses", "no waiting", "step graph"}
    assert [name for name, (passed, _) in found["checks"].items() if not passed] == []
    assert code == 0
    assert "going on with batches of 8 images" in found["checks"]["memory"][1]
    for precision in ("float32", "bfloat16"):
        row = found[f"extraction {precision}"]
        ceiling = min(row["card_alone"], row["decoding_and_writing_alone"])
        assert row["images"] == 64
        assert row["ratio"] == pytest.approx(row["images_per_s"] / ceiling)
        assert 0 < row["card_busy"] <= 1.05
    training = found["training"]
    assert training["store_of_memory"] == pytest.approx(training["from_store"] / training["in_memory"])
    assert all(training[name] > 0 for name in TRAINING)
    assert found["worker"]["ratio"] == pytest.approx(found["worker"]["worker"] / found["worker"]["plain"])
    assert all(math.isfinite(row["chosen"]) and row["chosen"] > 0 for row in found["batches"])


def test_a_check_that_fails_is_said_and_the_others_are_made(bench, monkeypatch, tmp_path, capsys):
    checks = importlib.import_module("gpu_checks")
    monkeypatch.setattr(checks, "TOLERANCES", {"float32": 1e-4, "bfloat16": 1e-9})
    monkeypatch.setattr(bench, "SECONDS", -1)  # all measurements are left out
    monkeypatch.setattr(bench, "CHECKS", {name: bench.CHECKS[name] for name in ("features", "bytes")})
    monkeypatch.setattr(bench, "TRAINING_CHECKS", {"no waiting": bench.TRAINING_CHECKS["no waiting"]})
    code, found = run(bench, monkeypatch, tmp_path)
    assert code == 1
    assert {name: passed for name, (passed, _) in found["checks"].items()} == {
        "features": False,
        "bytes": True,
        "no waiting": True,
    }
    assert "FAIL  features: WrongError: relative error float32" in capsys.readouterr().out
    assert not any(name.startswith("extraction") for name in found)


def test_without_a_card_it_says_so(bench, monkeypatch):
    monkeypatch.setattr("sys.argv", ["bench_gpu.py"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match="no CUDA card is here; --toy tries the script itself on a processor"):
        bench.main()
