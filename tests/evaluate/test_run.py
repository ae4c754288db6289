import json

import numpy as np
import pytest
import torch
from PIL import Image
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import (
    REGIONS,
    EvaluateSettings,
    SavedMapsFacts,
    Scorer,
    boundary_regions,
    crop_mask,
    evaluate_checkpoint,
    evaluate_checkpoints,
    evaluate_saved,
    figure_files,
    image_free_depths,
    predict,
    read_results,
    read_truths,
    score,
    write_figures,
)
from spaceclip.evaluate.saved_maps import check_shape
from spaceclip.train import Checkpoint, CheckpointInfo, DepthDecoder

SETTINGS = EvaluateSettings(protocols=("validation",), precision="float32", batch_size=2, figures=2)


@pytest.fixture
def checkpoint(decoder, tmp_path):
    info = CheckpointInfo(
        decoder=decoder.settings,
        backbone={"name": "random:tiny", "revision": "random weights, seed 0", "weights": "ab" * 32}, preprocessing={},
        stores=[{"fingerprint": "f", "ledger": "l", "samples": "s", "images": 3}], min_depth=0.001, max_depth=10,
        weights="ema", epoch=3, metrics={}, protocol={}, training={},
    )  # fmt: skip
    return Checkpoint(decoder, info, tmp_path / "checkpoint.safetensors")


@pytest.fixture
def splits(make_cache):
    """A validation split held out by scene, and a test set of its own at NYU's size."""
    val, test = make_cache(4, seed=1), make_cache(3, seed=2)
    test.about = {"data": "nyu", "split": "test", "split_by": None}
    generator = np.random.default_rng(0)
    test.truths = [generator.uniform(1, 9, (480, 640)).astype(np.float32) for _ in range(3)]
    return {"val": val, "test": test}


@pytest.fixture
def several(checkpoint, tmp_path):
    """Checkpoints of three decoders, one without some of the hidden states, by the folder of their results."""
    found = {}
    for number, changes in enumerate(({}, {"film": False}, {"structural": False, "semantic_layers": (3, 2, 1, 1)})):
        torch.manual_seed(number)
        decoder = DepthDecoder(checkpoint.decoder.settings.model_copy(update=changes))
        info = checkpoint.info.model_copy(update={"decoder": decoder.settings, "epoch": number + 1})
        found[tmp_path / f"together{number}"] = Checkpoint(decoder, info, tmp_path / f"{number}.safetensors")
    return found


@pytest.mark.parametrize("threads", [1, 2])
def test_checkpoints_in_one_pass_have_the_numbers_of_each_alone(several, splits, make_cache, tmp_path, threads):
    training, settings = make_cache(3, seed=3), SETTINGS.model_copy(update={"protocols": ("standard", "validation")})
    for number, checkpoint in enumerate(several.values()):
        evaluate_checkpoint(checkpoint, splits, training, settings, tmp_path / f"alone{number}")
    before, read = torch.get_num_threads(), []
    for name, split in splits.items():
        split.states = lambda *given, one=name, states=split.states: read.append(one) or states(*given)
    torch.set_num_threads(threads)
    found = evaluate_checkpoints(several, splits, training, settings)
    torch.set_num_threads(before)
    assert read == ["test"] * 4 + ["val"] * 4  # two batches of each, both views, whatever the number of checkpoints
    for number, (out, one) in enumerate(zip(several, found, strict=True)):
        assert one.results == read_results(out)
        for name in ("results.json", "metrics.json", "per_image.csv", "per_scene.csv"):
            assert (out / name).read_bytes() == (tmp_path / f"alone{number}" / name).read_bytes()
    assert len({one.results.rows[0].metrics["abs_rel"] for one in found}) == 3


def test_of_several_checkpoints_the_one_that_cannot_be_scored_is_named(several, splits, make_cache):
    broken, checkpoint = list(several.items())[1]
    checkpoint.decoder.head.predict.bias.data.fill_(torch.nan)
    with pytest.raises(SpaceClipError, match=f"^{broken}: sample_0: the prediction is nan at a valid pixel"):
        evaluate_checkpoints(several, splits, make_cache(3, seed=3), SETTINGS)
    assert not any(out.exists() for out in several)


def test_checkpoints_of_different_depths_are_not_scored_together(several, splits, make_cache):
    out, checkpoint = next(iter(several.items()))
    info = checkpoint.info.model_copy(update={"max_depth": 20.0})
    several[out] = Checkpoint(checkpoint.decoder, info, checkpoint.path)
    with pytest.raises(SpaceClipError, match=r"20 m.* and by .*10 m.*set evaluate\.min_depth and evaluate\.max_depth"):
        evaluate_checkpoints(several, splits, make_cache(3, seed=3), SETTINGS)


def test_each_protocol_scores_what_a_run_of_its_own_scores(tmp_path, checkpoint, splits, make_cache):
    training = make_cache(3, seed=3)
    several = SETTINGS.model_copy(update={"protocols": ("standard", "validation", "paper")})
    found = evaluate_checkpoint(checkpoint, splits, training, several, tmp_path / "several").results
    assert [(row.protocol.key, row.split, row.images) for row in found.rows] == [
        ("standard", "test", 3), ("standard_plain", "test", 3),
        ("validation", "val", 4), ("validation_plain", "val", 4),
        ("paper", "test", 3), ("paper_plain", "test", 3),
    ]  # fmt: skip
    for name in several.protocols:
        alone = evaluate_checkpoint(
            checkpoint, splits, training, SETTINGS.model_copy(update={"protocols": (name,)}), tmp_path / name
        ).results
        assert list(alone.rows) == [row for row in found.rows if row.protocol.name == name]


def test_rows_are_the_mean_scores_of_the_decoder_and_of_each_baseline(tmp_path, checkpoint, splits, make_cache):
    training, val = make_cache(3, seed=3), splits["val"]
    found = evaluate_checkpoint(checkpoint, splits, training, SETTINGS, tmp_path).results
    for row, view in zip(found.rows, ("averaged", "plain"), strict=True):
        scorer = Scorer(row.protocol)
        maps = list(predict(checkpoint.decoder, val, flip_average=True, precision="float32", batch_size=2))
        score(maps, [(view, scorer)])
        assert row.metrics == scorer.scores().mean
        baselines = image_free_depths(training, 0.001, 10)
        assert list(row.baselines) == list(baselines)
        for name, depth in baselines.items():
            baseline, made = Scorer(row.protocol), torch.from_numpy(depth)
            score([image._replace(depths={name: made}) for image in maps], [(name, baseline)])
            assert row.baselines[name] == pytest.approx(baseline.scores().mean, rel=1e-12)
    assert found.model.kind == "checkpoint"
    assert (found.model.weights, found.model.epoch, found.model.chosen) == ("ema", 3, "best")
    assert (found.model.storage, found.rows[0].storage) == ("float16", "float16")
    assert found.backbone is not None
    assert found.backbone.random


def test_baselines_are_of_the_training_depths_within_the_range_that_is_scored(tmp_path, checkpoint, splits, make_cache):
    training = make_cache(3, seed=3)
    settings = SETTINGS.model_copy(update={"protocols": ("validation", "standard"), "max_depth": 3.0})
    found = evaluate_checkpoint(checkpoint, splits, training, settings, tmp_path).results
    assert checkpoint.info.max_depth == 10
    for row in found.rows:
        low, high = {"validation": (0.001, 3), "standard": (0.001, 10)}[row.protocol.name]
        valid = [depth[(depth > low) & (depth < high)].astype(np.float64) for depth in training.depths]
        # A sum of |c - g| / g is lowest at one of the depths.
        best = min(np.unique(np.concatenate(valid)), key=lambda c: np.mean([np.mean(abs(c - g) / g) for g in valid]))
        names = list(row.baselines)
        assert [name.partition(" constant")[0] for name in names] == ["mean map", "median map", "median", "AbsRel"]
        assert float(names[-1].split()[2]) == pytest.approx(best, rel=5e-3)  # three digits
        scorer, constant = Scorer(row.protocol), torch.full((1, 1), float(best))
        maps = predict(
            checkpoint.decoder, splits[row.split], flip_average=False, precision="float32", batch_size=2,
            truths=read_truths(splits[row.split], [None]),
        )  # fmt: skip
        score([image._replace(depths={"constant": constant}) for image in maps], [("constant", scorer)])
        assert row.baselines[names[-1]]["abs_rel"] == pytest.approx(scorer.scores().mean["abs_rel"], rel=1e-3)


def test_progress_counts_every_split_once(tmp_path, checkpoint, splits, make_cache):
    told = []
    settings = SETTINGS.model_copy(update={"protocols": ("standard", "validation", "paper")})
    evaluate_checkpoint(
        checkpoint, splits, make_cache(1, seed=3), settings, tmp_path, lambda done, total: told.append((done, total))
    )
    assert told == [(done, 8) for done in range(1, 9)]  # one to train on, four held out, three to test on


def test_everything_is_left_in_the_folder(tmp_path, checkpoint, splits, make_cache):
    found = evaluate_checkpoint(checkpoint, splits, make_cache(1, seed=3), SETTINGS, tmp_path / "out")
    write_figures(tmp_path / "out", found)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "errors.png", "metrics.json", "per_image.csv", "per_scene.csv", "predictions.png", "report.html",
        "results.json",
    ]  # fmt: skip
    with Image.open(tmp_path / "out" / "predictions.png") as image:
        assert image.width > 1000
    assert list(json.loads((tmp_path / "out" / "metrics.json").read_text())) == ["validation"]


def test_saved_maps_score_like_the_decoder_that_made_them(tmp_path, checkpoint, splits, make_cache):
    settings = SETTINGS.model_copy(update={"protocols": ("paper", "standard"), "flip_average": False})
    ours = evaluate_checkpoint(checkpoint, splits, make_cache(1, seed=3), settings, tmp_path / "ours").results
    maps = predict(checkpoint.decoder, splits["test"], flip_average=False, precision="float32", batch_size=2)
    saved = {image.sample_id: image.depths["plain"].numpy() for image in maps}
    facts = SavedMapsFacts(path="maps", name="ours, saved", depth_scale=None)
    found = evaluate_saved(facts, saved.__getitem__, splits, (0.001, 10), settings, tmp_path / "saved").results
    assert [row.protocol.flip_average for row in found.rows] == [None, None]
    assert [row.baselines for row in found.rows] == [{}, {}]
    for mine, other in zip(found.rows, ours.rows, strict=True):
        assert mine.metrics == other.metrics
        assert mine.regions == other.regions


def test_frames_without_ground_truth_need_no_map_and_are_counted(tmp_path, splits):
    splits["test"].truths[1][:] = 0
    settings = SETTINGS.model_copy(update={"protocols": ("standard",)})

    def read(sample_id):
        assert sample_id != "sample_1"
        return np.full((48, 64), 4.0, np.float32)

    facts = SavedMapsFacts(path="maps", name="constant", depth_scale=None)
    found = evaluate_saved(facts, read, splits, (0.001, 10), settings, tmp_path).results
    assert found.rows[0].skipped == ("sample_1",)
    assert found.rows[0].images == 2


def test_quarantined_rows_are_neither_decoded_nor_scored_but_named(tmp_path, checkpoint, splits, make_cache):
    whole = evaluate_checkpoint(checkpoint, splits, make_cache(1, seed=3), SETTINGS, tmp_path / "whole").results
    assert whole.rows[0].images == 4
    splits["val"].quarantined = {2: "torn"}
    splits["val"].truths[2] = np.zeros((0, 0), np.float32)
    found = evaluate_checkpoint(checkpoint, splits, make_cache(1, seed=3), SETTINGS, tmp_path / "part").results
    assert [(row.images, row.skipped, row.quarantined) for row in found.rows] == [(3, (), ("sample_2",))] * 2
    assert "1 quarantined" in found.rows[0].count


def test_only_images_that_were_scored_are_shown_each_with_its_own_maps(tmp_path, checkpoint, splits, make_cache):
    splits["val"].truths[1][:] = 0
    splits["val"].quarantined = {2: "torn"}
    found = evaluate_checkpoint(checkpoint, splits, make_cache(1, seed=3), SETTINGS, tmp_path)
    examples = found.examples
    assert [shown.score.sample_id for shown in examples.spread] == ["sample_0", "sample_3"]
    assert {group: len(found) for group, found in examples.ranked.items()} == {"best": 1, "median": 0, "worst": 1}
    for shown in examples.all:
        row = int(shown.score.sample_id[-1])
        assert (shown.image == row).all()
        np.testing.assert_array_equal(shown.ground_truth, splits["val"].truths[row])
        error = np.abs(shown.prediction.clip(0.001, 10) - shown.ground_truth) / shown.ground_truth
        assert error.mean() == pytest.approx(shown.score.metrics["abs_rel"], rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "truths", "message"),
    [
        ((640, 480), [(480, 640)], r"the saved map is 640 x 480 and its truth 480 x 640, .* transpose"),
        ((352, 1216), [(375, 1242)], "KITTI's KB crop, and its truth 375 x 1242: set data.kb_crop"),
    ],
)
def test_a_map_of_other_pixels_is_not_stretched_onto_the_truth(shape, truths, message):
    with pytest.raises(SpaceClipError, match=message):
        check_shape("a", shape, truths)


@pytest.mark.parametrize("shape", [(480, 640), (224, 224), (240, 320)])
def test_a_map_of_the_whole_frame_may_have_any_size(shape):
    check_shape("a", shape, [(480, 640)])


def test_the_papers_protocol_of_kitti_needs_its_size(tmp_path, checkpoint, splits, make_cache):
    splits["test"].about["data"] = "kitti"
    settings = SETTINGS.model_copy(update={"protocols": ("paper",)})
    with pytest.raises(SpaceClipError, match=r"a truth of 352 x 704, .* extract with target_size \[352, 704\]"):
        evaluate_checkpoint(checkpoint, splits, make_cache(1, seed=3), settings, tmp_path)


def test_rows_count_the_pixels_that_were_scored(tmp_path, checkpoint, splits, make_cache):
    splits["test"].about["list_sha256"] = "cd" * 32
    splits["test"].truths[0][:100] = 0
    settings = SETTINGS.model_copy(update={"protocols": ("standard",)})
    row = evaluate_checkpoint(checkpoint, splits, make_cache(1, seed=3), settings, tmp_path).results.rows[0]
    inside = np.s_[45:471, 41:601]
    assert row.pixels == sum(np.count_nonzero(truth[inside]) for truth in splits["test"].truths)
    assert row.list_sha256 == "cd" * 32
    masks = [boundary_regions(truth, valid(truth)) for truth in splits["test"].truths]
    assert {name: region.pixels for name, region in row.regions.items()} == {
        name: sum(np.count_nonzero(mask[name]) for mask in masks) for name in REGIONS
    }


def valid(truth):
    return crop_mask("nyu_eigen", 480, 640) & (truth > 0)


def test_how_features_are_kept_and_how_weights_were_chosen_is_said(tmp_path, checkpoint, splits, make_cache):
    training = make_cache(1, seed=3)
    training.storage, splits["val"].storage = "int8", "int8"
    chosen = SETTINGS.protocol("validation", {"split": "val"}, 0.001, 10)
    seen = [{**checkpoint.info.stores[0], "images": 4}]
    info = checkpoint.info.model_copy(update={"protocol": chosen.model_dump(), "validation": seen})
    evaluated = evaluate_checkpoint(
        Checkpoint(checkpoint.decoder, info, checkpoint.path), splits, training, SETTINGS, tmp_path
    )
    found = evaluated.results
    assert "trained on int8 features" in found.origin
    assert all("int8 features" in row.count for row in found.rows)
    assert found.model.kind == "checkpoint"
    assert (found.model.validation, found.model.validation_images) == (chosen, 4)


@pytest.mark.parametrize("copied", ["pictures", "truths", "neither"])
def test_copies_of_one_frame_are_not_distinct_images(tmp_path, checkpoint, splits, make_cache, copied):
    test = splits["test"]
    if copied == "pictures":
        test.content_hashes = ["same"] * 3
    elif copied == "truths":
        test.truths = test.truths[:1] * 3
    settings = SETTINGS.model_copy(update={"protocols": ("standard",)})
    row = evaluate_checkpoint(checkpoint, splits, make_cache(1, seed=3), settings, tmp_path).results.rows[0]
    assert (row.images, row.distinct) == (3, 3 if copied == "neither" else 1)
    assert ("3 images (1 distinct)" in row.count) == (copied != "neither")


def test_another_result_is_refused_before_anything_is_read(tmp_path, checkpoint, splits, make_cache):
    evaluate_checkpoint(checkpoint, splits, make_cache(1, seed=3), SETTINGS, tmp_path)
    evaluate_checkpoint(checkpoint, splits, make_cache(1, seed=3), SETTINGS, tmp_path)
    other, unread = SETTINGS.model_copy(update={"protocols": ("paper",)}), make_cache(1, seed=3)
    unread.depth = None
    with pytest.raises(SpaceClipError, match="holds a finished result: give another --out, or --force to replace it"):
        evaluate_checkpoint(checkpoint, splits, unread, other, tmp_path)
    found = evaluate_checkpoint(checkpoint, splits, make_cache(1, seed=3), other, tmp_path, force=True)
    assert read_results(tmp_path) == found.results


STRANGE = ("$e^{$", "$\\frac$", "caf\udce9", "深度/$x")


@pytest.fixture
def strange(splits):
    """Samples and scenes with names that are formulas to matplotlib, no UTF-8, or have no glyph."""
    splits["val"].sample_ids = [f"{name}/{at}" for at, name in enumerate(STRANGE)]
    splits["val"].scenes = list(STRANGE)
    return splits


def test_names_that_are_no_utf_8_or_look_like_formulas_are_written_and_drawn(tmp_path, checkpoint, strange, make_cache):
    out = tmp_path / STRANGE[2]
    found = evaluate_checkpoint(checkpoint, strange, make_cache(1, seed=3), SETTINGS, out)
    write_figures(out, found)
    assert len(list(out.iterdir())) == 7
    assert list(read_results(out).rows[0].scenes) == list(STRANGE)
    for name in ("per_image.csv", "report.html"):
        text = (out / name).read_text(encoding="utf-8")
        assert "caf\\udce9/2" in text
        assert "深度/$x/3" in text


def test_a_figure_that_fails_is_one_line_and_leaves_the_rest(tmp_path, checkpoint, splits, make_cache, monkeypatch):
    found = evaluate_checkpoint(checkpoint, splits, make_cache(1, seed=3), SETTINGS, tmp_path)

    def fail(*_):
        raise ValueError("no\nfont")

    monkeypatch.setattr(figure_files, "error_figure", fail)
    with pytest.raises(SpaceClipError) as failure:
        write_figures(tmp_path, found)
    assert str(failure.value) == (
        f"{tmp_path}: could not draw errors.png (ValueError: no font); the numbers are whole, in results.json"
    )
    assert {"predictions.png", "report.html", "results.json"} <= {path.name for path in tmp_path.iterdir()}


def test_figures_of_an_earlier_result_do_not_outlive_it(tmp_path, checkpoint, splits, make_cache):
    (tmp_path / "predictions.png").write_bytes(b"of other weights")
    evaluate_checkpoint(checkpoint, splits, make_cache(1, seed=3), SETTINGS, tmp_path)
    assert not (tmp_path / "predictions.png").exists()


def test_a_flat_map_that_beats_the_mean_map_is_no_improvement(tmp_path, checkpoint, splits, make_cache):
    torch.nn.init.zeros_(checkpoint.decoder.head.predict.weight)
    torch.nn.init.constant_(checkpoint.decoder.head.predict.bias, 1.0)
    training, val = make_cache(4, seed=3), splits["val"]
    draw = np.random.default_rng(0)
    training.depths = val.truths = [
        (0.5 + draw.gamma(1, 2, (12, 16))).clip(0, 9.5).astype(np.float32) for _ in range(4)
    ]
    row = evaluate_checkpoint(checkpoint, splits, training, SETTINGS, tmp_path).results.rows[0]
    assert row.metrics["abs_rel"] < 0.75 * row.baselines["mean map"]["abs_rel"]
    flat, worse = row.warnings
    assert "nearly constant: log depth varies over pixels 0.0% and over images 0.0%" in flat
    assert "no better than the best prediction without an image by AbsRel" in worse


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried\nto allocate"), MemoryError("Unable to allocate 3 GiB")]
)
def test_running_out_of_memory_is_one_line(tmp_path, checkpoint, splits, make_cache, monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr(checkpoint.decoder, "forward", full)
    with pytest.raises(SpaceClipError, match=r"out of memory \(.*\); lower evaluate.batch_size, which is 2") as failure:
        evaluate_checkpoint(checkpoint, splits, make_cache(1, seed=3), SETTINGS, tmp_path / "out")
    assert "\n" not in str(failure.value)
    assert not (tmp_path / "out").exists()
