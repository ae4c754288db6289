import csv
import json

import numpy as np
import pytest
from rich.console import Console
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import (
    METRICS,
    BackboneFacts,
    Results,
    Row,
    SavedMapsFacts,
    read_results,
    results_tables,
    write_results,
)
from spaceclip.evaluate.comparison import comma_separated, comparison


@pytest.fixture
def both(make_maps, scored, protocol):
    """Scores with flip averaging and without."""
    plain = protocol.model_copy(update={"flip_average": False})
    return [scored(make_maps(4)), scored(make_maps(4, seed=1), plain)]


@pytest.fixture
def results(make_maps, scored, both, facts):
    baselines = {
        "median map": scored(make_maps(4), constant=5),
        "median constant 3 m": scored(make_maps(4), constant=3),
    }
    return Results(rows=tuple(Row.of(found, baselines, split="test") for found in both), **facts)


def printed(results, width=110):
    console = Console(width=width)
    with console.capture() as capture:
        for table in results_tables(results):
            console.print(table)
    return capture.get()


def read_table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_results_survive_writing_and_reading(tmp_path, results, both):
    folder = tmp_path / "new" / "folder"
    write_results(folder, results, both)
    assert read_results(folder) == results == read_results(folder / "results.json")
    assert sorted(path.name for path in folder.iterdir()) == [
        "metrics.json", "per_image.csv", "per_scene.csv", "results.json",
    ]  # fmt: skip


def test_the_numbers_for_dvc_are_few_and_each_protocol_has_its_own(tmp_path, results, both):
    first = results.rows[0]
    other = first.model_copy(update={"protocol": first.protocol.model_copy(update={"name": "standard"})})
    write_results(tmp_path, results.model_copy(update={"rows": (*results.rows, other)}), [*both, both[0]])
    numbers = json.loads((tmp_path / "metrics.json").read_text())
    assert list(numbers) == ["controlled", "standard"]
    _, boundary = both[0].region("boundary_0.05")
    assert boundary is not None
    assert numbers["controlled"] == {
        **{name: both[0].mean[name] for name in ("abs_rel", "rmse", "delta1")},
        "boundary": boundary["abs_rel"],
        "images": 4,
        "skipped": 0,
        "quarantined": 0,
    }


def test_the_same_protocol_on_two_splits_keeps_both_numbers(tmp_path, results, both):
    rows = [row.model_copy(update={"split": split}) for row, split in zip(results.rows, ("val", "test"), strict=True)]
    write_results(tmp_path, results.model_copy(update={"rows": tuple(rows)}), both)
    assert list(json.loads((tmp_path / "metrics.json").read_text())) == ["controlled_val", "controlled_test"]


def test_the_table_of_images_gives_every_mean_again(tmp_path, results, both):
    write_results(tmp_path, results, both)
    table = read_table(tmp_path / "per_image.csv")
    for row, flip in zip(results.rows, ("True", "False"), strict=True):
        lines = [line for line in table if line["flip_average"] == flip]
        assert [line["sample_id"] for line in lines] == ["id_0", "id_1", "id_2", "id_3"]
        assert {(line["protocol"], line["crop"], line["max_depth"], line["size"]) for line in lines} == {
            ("controlled", "none", "10.0", "native")
        }
        assert [line["pixels"] for line in lines] == ["4800"] * 4
        assert {(line["weights"], line["backbone"], line["random_backbone"]) for line in lines} == {
            ("ema of epoch 7", "tiny-clip (random weights, seed 0, weights abababababab)", "True")
        }
        for name in METRICS:
            mean = sum(float(line[name]) for line in lines) / 4
            assert mean == pytest.approx(row.metrics[name], rel=1e-12)
            for region, found in row.regions.items():
                values = [float(line[f"{region}_{name}"]) for line in lines if line[f"{region}_{name}"]]
                assert len(values) == found.images
                if found.metrics:
                    assert sum(values) / len(values) == pytest.approx(found.metrics[name], rel=1e-12)


def test_the_table_of_scenes_is_the_mean_of_their_images(tmp_path, results, both):
    write_results(tmp_path, results, both)
    images, scenes = read_table(tmp_path / "per_image.csv"), read_table(tmp_path / "per_scene.csv")
    assert [(line["scene"], line["flip_average"]) for line in scenes] == [
        ("scene_0", "True"), ("scene_1", "True"), ("scene_0", "False"), ("scene_1", "False"),
    ]  # fmt: skip
    for line in scenes:
        mine = [row for row in images if (row["scene"], row["flip_average"]) == (line["scene"], line["flip_average"])]
        assert line["images"] == "2"
        assert float(line["rmse"]) == pytest.approx(sum(float(row["rmse"]) for row in mine) / 2, rel=1e-12)


def test_the_printed_table_names_what_was_measured(results):
    text = " ".join(printed(results).split())
    for part in (
        "synthetic, controlled protocol: no crop, 0.001 to 10 m, native size, no median scaling",
        "flip averaged",
        "plain view",
        "mean over 4 images of the test split",
        "checkpoint: runs/demo/best.safetensors, EMA weights of epoch 7 (best on validation)",
        "trained on float16 features, sha256 000000000000",
        "backbone: tiny-clip (random weights, seed 0, weights abababababab)",
    ):
        assert part in text


def test_every_protocol_has_a_table_of_its_own(results):
    other = results.rows[0].model_copy(
        update={"protocol": results.rows[0].protocol.model_copy(update={"name": "standard", "crop": "garg"})}
    )
    several = results.model_copy(update={"rows": (*results.rows, other)})
    assert len(list(results_tables(results))) == 1
    assert len(list(results_tables(several))) == 2


def test_improvement_is_positive_where_the_decoder_is_better(results):
    metrics = dict.fromkeys(METRICS, 0.3)
    baselines = {
        "mean map": dict.fromkeys(METRICS, 0.5) | {"abs_rel": 0.4, "delta1": 0.1, "delta2": 0.6, "sq_rel": 0.0},
        "median map": dict.fromkeys(METRICS, 0.5) | {"rmse": 0.2, "delta1": 0.2, "delta2": 0.4},
    }
    row = results.rows[0].model_copy(update={"metrics": metrics, "baselines": baselines})
    text = printed(results.model_copy(update={"rows": (row,)}))
    lines = {line.split("│")[1].strip(): line.split("│") for line in text.splitlines() if line.startswith("│")}
    cells = {name: [cell.strip() for cell in line[3:6]] for name, line in lines.items()}
    assert cells["AbsRel ↓"] == ["0.4000", "mean map", "+25.0 %"]
    assert cells["RMSE (m) ↓"] == ["0.2000", "median map", "-50.0 %"]
    assert cells["δ < 1.25 ↑"] == ["0.2000", "median map", "+50.0 %"]
    assert cells["δ < 1.25² ↑"] == ["0.6000", "mean map", "-50.0 %"]
    assert cells["SqRel (m) ↓"] == ["0.0000", "mean map", "-"]
    warning = " ".join(text.replace("│", " ").split())
    assert "no better than the best prediction without an image by SqRel (m), RMSE (m), δ < 1.25²" in warning


def test_a_range_that_most_of_the_measured_depth_lies_outside_is_warned_of(make_maps, scored, protocol):
    maps = [image._replace(truths={None: image.truths[None] * 4}) for image in make_maps(4, known=0.5)]  # a wrong unit
    depth = np.concatenate([image.truths[None].ravel() for image in maps])
    depth = depth[depth > 0]
    row = Row.of(scored(maps), {}, split="test")
    assert (row.measured, row.mean_depth) == (depth.size, pytest.approx(depth.mean(dtype=np.float64), rel=1e-6))
    assert (
        f"only {100 * (depth < 10).mean():.2g} % of the measured pixels lie within 0.001 to 10 m "
        f"(mean depth {depth.mean():.3g} m): is the range or the unit right?"
    ) in row.warnings
    assert not Row.of(scored(maps, protocol.model_copy(update={"max_depth": 80.0})), {}, split="test").warnings


def test_predictions_that_hardly_vary_are_called_nearly_constant(results, make_maps, scored):
    row = Row.of(scored(make_maps(4), constant=3), {}, split="test")
    (warning,) = row.warnings
    assert warning.startswith("predictions are nearly constant: log depth varies over pixels 0.0% and over images 0.0%")
    assert not Row.of(scored(make_maps(4)), {}, split="test").warnings
    text = printed(results.model_copy(update={"rows": (row,)}))
    assert "flip averaged: predictions are nearly constant" in " ".join(text.split())


def test_saved_maps_need_neither_backbone_nor_baseline(tmp_path, make_maps, scored, protocol):
    scores = scored(make_maps(2), protocol.model_copy(update={"flip_average": None}))
    facts = SavedMapsFacts(path="maps/other", name="Other Model", depth_scale=None)
    results = Results(data="nyu", model=facts, backbone=None, rows=(Row.of(scores, {}, split="test"),))
    write_results(tmp_path, results, [scores])
    assert read_results(tmp_path) == results
    text = printed(results)
    assert "saved maps: Other Model (maps/other)" in text
    assert "baseline" not in text


def test_skipped_and_quarantined_images_are_counted_apart(make_maps, scored):
    rows = make_maps(2)
    blank = rows[0]._replace(sample_id="blank", truths={None: rows[0].truths[None] * 0})
    row = Row.of(scored([*rows, blank]), {}, split="val", quarantined=("torn", "lost"), storage="int8")
    assert row.count == (
        "mean over 2 images of the val split, 1 skipped without a valid pixel, 2 quarantined, int8 features"
    )


@pytest.mark.parametrize(
    ("name", "revision", "random", "label"),
    [
        ("openai/clip", "57c216476eefef5ab752", False, "openai/clip (57c216476eef, weights ab)"),
        ("models/clip", "local folder", False, "models/clip (local folder, weights ab)"),
        (
            "embedded:clip-tiny",
            "comes with SpaceCLIP",
            False,
            "embedded:clip-tiny (comes with SpaceCLIP, weights ab)",
        ),
        (
            "random:openai/clip",
            "random weights, seed 3",
            True,
            "random:openai/clip (random weights, seed 3, weights ab)",
        ),
    ],
)
def test_the_backbone_is_named_as_the_store_names_it(name, revision, random, label):
    facts = BackboneFacts.of({"name": name, "revision": revision, "weights": "ab", "precision": "float32"})
    assert facts.random is random
    assert facts.label == label


def test_a_result_without_all_metrics_is_refused(tmp_path, results, both):
    write_results(tmp_path, results, both)
    content = json.loads((tmp_path / "results.json").read_text())
    del content["rows"][1]["metrics"]["silog"]
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(SpaceClipError, match=r"rows\.1\.metrics: .* found the metrics abs_rel"):
        read_results(tmp_path)


def test_a_missing_result_is_refused(tmp_path):
    with pytest.raises(SpaceClipError, match=r"results\.json is not there, expected the result of an evaluation"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "its JSON"),
        ('{"rows": "many"}', "no valid result, data: Field required"),
        ('{"data": "nyu", "backbone": null, "model": {"path": "x", "name": "x", "depth_scale": null}, "rows": []}',
         "rows: Tuple should have at least 1 item"),
    ],
)  # fmt: skip
def test_a_damaged_result_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(SpaceClipError, match=message) as refusal:
        read_results(tmp_path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r="])
def test_no_name_is_a_formula_in_a_spreadsheet(tmp_path, make_maps, scored, facts, start):
    name = f"{start}HYPERLINK(1)"
    expected = name.replace("\r", " ") if "\r" in start else f"'{name}"
    scores = scored([row._replace(sample_id=name, scene=name) for row in make_maps(1)])
    model = SavedMapsFacts(path=name, name=name, depth_scale=None)
    results = Results(data=name, model=model, backbone=None, rows=(Row.of(scores, {}, split="test"),))
    write_results(tmp_path, results, [scores])
    sections = comparison([(name, results)])
    (tmp_path / "comparison.csv").write_text(comma_separated(sections), newline="")
    for table, columns in (
        ("per_image.csv", ("sample_id", "scene", "data", "model")),
        ("per_scene.csv", ("scene", "data", "model")),
        ("comparison.csv", ("method", "data")),
    ):
        (line,) = read_table(tmp_path / table)
        assert [line[column] for column in columns] == [expected] * len(columns)
        assert not any(cell.startswith(("=", "+", "@")) for cell in line.values())
