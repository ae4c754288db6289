import csv
import json

import pytest
from rich.console import Console
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import (
    METRICS,
    BackboneFacts,
    Prediction,
    Results,
    read_results,
    results_table,
    score,
    write_results,
)


@pytest.fixture
def scores(make_predictions, protocol):
    return score(make_predictions(4), protocol)


@pytest.fixture
def results(make_predictions, protocol, scores, facts):
    baseline = score([row._replace(depth=row.depth * 0 + 5) for row in make_predictions(4)], protocol)
    return Results.of(scores, baseline, **facts)


def printed(results, width=100):
    console = Console(width=width)
    with console.capture() as capture:
        console.print(results_table(results))
    return capture.get()


def test_results_survive_writing_and_reading(tmp_path, results, scores):
    write_results(tmp_path / "new" / "folder", results, scores)
    assert read_results(tmp_path / "new" / "folder") == results
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "metrics.json", "per_image.csv", "results.json",
    ]  # fmt: skip


def test_the_numbers_file_is_flat(tmp_path, results, scores):
    write_results(tmp_path, results, scores)
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert all(isinstance(value, int | float) for value in numbers.values())
    assert set(numbers) == {*METRICS, *(f"baseline_{name}" for name in METRICS), "images", "skipped"}
    assert numbers["abs_rel"] == scores.mean["abs_rel"]
    assert numbers["baseline_rmse"] == results.baseline["rmse"]
    assert (numbers["images"], numbers["skipped"]) == (4, 0)


def test_the_table_of_images_averages_to_the_result(tmp_path, results, scores):
    write_results(tmp_path, results, scores)
    with (tmp_path / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["sample_id"] for row in rows] == ["id_0", "id_1", "id_2", "id_3"]
    assert rows[3]["scene"] == "scene_1"
    for name in METRICS:
        assert sum(float(row[name]) for row in rows) / 4 == pytest.approx(results.metrics[name], rel=1e-12)


def test_the_printed_table_names_what_was_measured(results):
    text = " ".join(printed(results).split())
    for part in (
        "controlled protocol: no crop, 0.001 to 10 m, native size, with flip averaging, no median scaling",
        "mean over 4 images",
        "checkpoint: runs/demo/best.safetensors, EMA weights of epoch 7",
        "backbone: tiny-clip (random weights, seed 0)",
    ):
        assert part in text


def test_improvement_is_positive_where_the_decoder_is_better(results):
    metrics = dict.fromkeys(METRICS, 0.3)
    baseline = dict.fromkeys(METRICS, 0.4) | {"delta1": 0.2, "delta2": 0.6, "sq_rel": 0.0}
    text = printed(results.model_copy(update={"metrics": metrics, "baseline": baseline}))
    lines = {line.split("│")[1].strip(): line for line in text.splitlines() if line.startswith("│")}
    assert "+25.0 %" in lines["AbsRel ↓"]
    assert "+50.0 %" in lines["δ < 1.25 ↑"]
    assert "-50.0 %" in lines["δ < 1.25² ↑"]
    assert lines["SqRel (m) ↓"].split("│")[4].strip() == "-"


def test_skipped_images_are_counted_in_the_caption(make_predictions, protocol, facts):
    rows = make_predictions(2)
    blank = Prediction("blank", None, rows[0].depth, rows[0].ground_truth * 0)
    scores = score([*rows, blank], protocol)
    assert "mean over 2 images, 1 skipped without a valid pixel" in Results.of(scores, scores, **facts).caption


@pytest.mark.parametrize(
    ("name", "revision", "random", "label"),
    [
        ("openai/clip", "57c216476eefef5ab752", False, "openai/clip (57c216476eef)"),
        ("models/clip", "local folder", False, "models/clip (local folder)"),
        ("random:openai/clip", "random weights, seed 3", True, "random:openai/clip (random weights, seed 3)"),
    ],
)
def test_the_backbone_is_named_as_the_store_names_it(name, revision, random, label):
    facts = BackboneFacts.of({"name": name, "revision": revision, "weights": "ab", "precision": "float32"})
    assert facts.random is random
    assert facts.label == label


def test_a_missing_result_is_refused(tmp_path):
    with pytest.raises(SpaceClipError, match=r"results\.json is not there, expected the result of an evaluation"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"), [("{", "its JSON"), ('{"images": "many"}', "no valid result, protocol: Field required")]
)
def test_a_damaged_result_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(SpaceClipError, match=message) as refusal:
        read_results(tmp_path)
    assert "\n" not in str(refusal.value)
