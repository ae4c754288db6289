import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spaceclip.cache import FeatureCache
from spaceclip.evaluate import read_results
from spaceclip.train import load_checkpoint

CONFIG = ("--config", "configs/tiny.yaml")


def test_the_whole_road_by_an_experiment_file(project, spaceclip):
    extracted = spaceclip("extract", *CONFIG)
    assert "train.json: 14 images (14 computed now)" in extracted.output
    assert "test.json: 6 images" in extracted.output
    trained = spaceclip("train", *CONFIG)
    assert "results/tiny: " in trained.output
    assert "validation protocol: no crop, 0.001 to 10 m" in trained.output
    evaluated = spaceclip("evaluate", *CONFIG)
    told = " ".join(evaluated.output.split())
    for word in (
        "AbsRel",
        "AbsRel constant",
        "controlled protocol",
        "random weights, seed 0",
        "predictions.png",
        "mean over 6",
    ):
        assert word in told, word
    assert spaceclip("show", "results/tiny").output == evaluated.output
    numbers = json.loads((project / "results/tiny/metrics.json").read_bytes())
    assert list(numbers) == ["controlled"]
    assert 0 < numbers["controlled"]["abs_rel"] < 2
    assert numbers["controlled"]["images"] == 6
    for figure in ("predictions.png", "errors.png"):
        with Image.open(project / "results/tiny" / figure) as picture:
            assert picture.size[0] > 500


def test_no_scene_is_in_two_splits(extracted, spaceclip):
    scenes = [set(FeatureCache.open(f"features/tiny/{name}.json").scenes) for name in ("train", "val", "test")]
    assert sum(map(len, scenes)) == len(set.union(*scenes)) == 12


def test_depth_in_a_folder_of_one_s_own_needs_no_file_of_settings(tmp_path, pictures, tiny, spaceclip):
    config = tmp_path / "config.json"
    shape = json.loads(Path(tiny.removeprefix("random:")).read_bytes())
    config.write_text(json.dumps({**shape, "num_hidden_layers": 12}))
    features, out = tmp_path / "features", tmp_path / "run"
    spaceclip(
        *("extract", "--images", pictures / "rgb", "--depth", pictures / "depth", "--depth-scale", 1000),
        *("--backbone", f"random:{config}", "--out", features, "--val", 0.2, "--test", 0.2),
    )
    told = spaceclip("train", "--features", features, "--out", out, "--max-depth", 10, "--epochs", 1).output
    assert "one step an epoch: there are only" in told
    told = spaceclip("evaluate", "--checkpoint", out, "--features", features).output
    assert "controlled protocol: no crop, 0.001 to 10 m" in told


def test_pictures_without_depth_need_nothing_but_their_folder(tmp_path, pictures, tiny, spaceclip):
    out = tmp_path / "features"
    done = spaceclip("extract", "--images", pictures / "rgb", "--out", out, "--backbone", tiny, "--layers", "1,3")
    assert f"{out}/all.json: 24 images (24 computed now)" in done.output
    cache = FeatureCache.open(out)
    assert (cache.layers, cache.has_depth, cache.sample_ids[3]) == ((1, 3), False, "scene01/1")
    again = spaceclip("extract", "--images", pictures / "rgb", "--out", out, "--backbone", tiny, "--layers", "1,3")
    assert "24 images (0 computed now)" in again.output


def test_a_data_set_without_validation_trains_to_the_last_epoch(project, spaceclip):
    file = project / "configs/tiny.yaml"
    file.write_text(file.read_text().replace("val: 0.2, ", ""))
    told = spaceclip("extract", *CONFIG).output
    assert "features/tiny/val.json: none, the data set has no val split" in told
    told = spaceclip("train", *CONFIG, fails=True).output
    assert "there is no validation split to choose the best weights by" in told
    file.write_text(file.read_text().replace("max_depth: 10", "max_depth: 10, keep: last"))
    assert "ema weights of epoch 3 (last), no validation split" in spaceclip("train", *CONFIG).output
    told = " ".join(spaceclip("evaluate", *CONFIG).output.split())
    assert "EMA weights of epoch 3 (the last)" in told
    assert "controlled protocol" in told


def test_an_experiment_without_the_test_set_that_it_scores_is_told_so_at_once(project, spaceclip):
    file = project / "configs/tiny.yaml"
    file.write_text(file.read_text().replace(", test: 0.25", "").replace("crop: none", "protocols: [standard]"))
    told = spaceclip("extract", *CONFIG).output
    assert "the standard protocol of configs/tiny.yaml will find no test split to score" in told


def test_an_absent_split_by_name_is_no_error_for_an_experiment(project, spaceclip):
    file = project / "configs/tiny.yaml"
    file.write_text(file.read_text().replace("val: 0.2, ", ""))
    spaceclip("extract", *CONFIG, "--split", "val")
    assert json.loads((project / "features/tiny/val.json").read_bytes())["store"] == ""
    assert "the data set has no val split" in spaceclip("cache", "info", "features/tiny/val.json", fails=True).output


def test_a_protocol_of_another_data_set_is_refused(trained, spaceclip):
    told = spaceclip("evaluate", *CONFIG, "--protocol", "standard", fails=True).output
    assert "the standard protocol is defined for kitti and nyu, these features are of 'folder'" in told


def test_median_scaling_is_scored_beside_and_never_instead(trained, spaceclip):
    told = spaceclip("evaluate", *CONFIG, "--median-scaling").output
    assert "MEDIAN" in told
    rows = read_results(trained / "results/tiny").rows
    assert [row.protocol.key for row in rows] == [
        "controlled", "controlled_plain", "controlled_median", "controlled_plain_median"
    ]  # fmt: skip


def test_saved_maps_are_scored_against_a_store_and_against_the_files_alike(extracted, spaceclip, pictures):
    test = FeatureCache.open("features/tiny/test.json")
    for index, name in enumerate(test.sample_ids):
        file = extracted / "maps" / f"{name}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, test.ground_truth(index) * np.float32(1.25))
    maps = ("evaluate", "--predictions", "maps", "--name", "Five Quarters")
    store = spaceclip(*maps, "--features", "features/tiny/test.json", "--out", "by_store", "--max-depth", 20).output
    shutil.rmtree(extracted / "features")
    files = spaceclip(*maps, *CONFIG, "--out", "by_files", "--max-depth", 20).output
    runs = {"by_store": store, "by_files": files}
    assert "saved maps: Five Quarters (maps)" in " ".join(files.split())
    told = {name: " ".join(output.replace(name, "").split()) for name, output in runs.items()}
    looks = "test split looked at once by then, by 1 set of maps"
    uncounted = "looks at the test split are not counted (it was read from its own files, not from a store)"
    assert told["by_files"] == told["by_store"].replace(looks, uncounted) != told["by_store"]
    numbers = read_results(extracted / "by_files").rows[0].metrics
    assert numbers["abs_rel"] == pytest.approx(0.25, rel=1e-5)
    assert numbers["silog"] == pytest.approx(0, abs=1e-4)
    ranged = (*maps, *CONFIG, "--out", "again", "--protocol", "standard", "--max-depth", 5)
    assert "--max-depth 5: standard on folder take none" in spaceclip(*ranged, fails=True).output
    (extracted / "maps" / f"{test.sample_ids[2]}.npy").unlink()
    told = spaceclip(*maps, *CONFIG, "--out", "again", fails=True).output
    assert f"no map of 1 sample: {test.sample_ids[2]}; expected {test.sample_ids[2]}.npy (metres)" in told
    assert not (extracted / "again").exists()


def test_saved_maps_that_cannot_be_depth_are_refused(project, spaceclip):
    spaceclip("extract", *CONFIG, "--split", "test")
    test = FeatureCache.open("features/tiny/test.json")
    for row, name in enumerate(test.sample_ids):
        (project / "maps" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(project / "maps" / f"{name}.npy", test.ground_truth(row))
    maps = ("evaluate", "--predictions", "maps", "--features", "features/tiny/test.json", "--out", "other")
    file = project / "maps" / f"{test.sample_ids[0]}.npy"
    good = np.load(file)
    for wrong, message in (
        (np.where(good > good.mean(), np.nan, good), "negative, NaN or infinite: expected a predicted depth"),
        (good * 0, "holds nothing but zeros"),
        (good.T, "transpose the maps"),
    ):
        np.save(file, wrong)
        told = spaceclip(*maps, fails=True).output
        assert message in told
        assert "--nan-is-invalid" not in told
    np.save(file, np.where(good > good.mean(), 0, good))
    assert "1 maps hold zeros, which were scored as 0.001 m" in spaceclip(*maps).output


def test_saved_maps_in_integers_need_their_scale(project, spaceclip):
    spaceclip("extract", *CONFIG, "--split", "test")
    test = FeatureCache.open("features/tiny/test.json")
    for index, name in enumerate(test.sample_ids):
        file = project / "maps" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(test.ground_truth(index) * 256).astype(np.uint16)).save(file)
    maps = ("evaluate", "--predictions", "maps", "--features", "features/tiny/test.json", "--out", "other")
    assert "holds integer depth" in spaceclip(*maps, fails=True).output
    spaceclip(*maps, "--depth-scale", 256)
    assert json.loads((project / "other/metrics.json").read_bytes())["controlled"]["abs_rel"] < 1 / 256


def test_evaluating_features_of_another_encoder_is_refused_by_field(trained, spaceclip):
    file = trained / "configs/tiny.yaml"
    file.write_text(file.read_text().replace("precision: float32", "precision: float32, seed: 5"))
    stale = spaceclip("train", *CONFIG, fails=True)
    assert "made with other settings: backbone.revision is 'random weights, seed 0' there" in stale.output
    spaceclip("extract", *CONFIG)
    refused = spaceclip("evaluate", *CONFIG, fails=True)
    assert "backbone.revision is 'random weights, seed 5' there, 'random weights, seed 0' is wanted" in refused.output


def test_depth_beside_its_images_is_never_taken_for_an_image(tmp_path, pictures, tiny, spaceclip):
    root = tmp_path / "together"
    for scene in sorted((pictures / "rgb").iterdir()):
        (root / scene.name).mkdir(parents=True)
        for file in scene.iterdir():
            shutil.copy(file, root / scene.name / f"rgb_{file.stem}.png")
            shutil.copy(pictures / "depth" / scene.name / file.name, root / scene.name / f"sync_depth_{file.stem}.png")
    spaceclip(
        *("extract", "--images", root, "--depth-pattern", "{parent}/sync_depth_{number}.png", "--depth-scale", 1000),
        *("--backbone", tiny, "--out", tmp_path / "features", "--layers", "1,3"),
    )
    cache = FeatureCache.open(tmp_path / "features")
    assert len(cache) == 24
    assert all("/rgb_" in name for name in cache.sample_ids)


def test_training_before_extraction_says_what_to_run(project, spaceclip):
    told = spaceclip("train", *CONFIG, fails=True).output
    assert "run `spaceclip extract --config configs/tiny.yaml` to make it" in told
    spaceclip("extract", *CONFIG)
    assert "run `spaceclip train` to make one" in spaceclip("evaluate", *CONFIG, fails=True).output


def test_cache_info_and_verify(project, spaceclip):
    spaceclip("extract", *CONFIG, "--split", "train")
    told = spaceclip("cache", "info", "features/tiny").output
    for words in (
        "random weights, seed 0",
        "2 of 2 committed",
        "plain, flipped",
        "16 patches x 16 channels",
        "24 x 32",
    ):
        assert words in told, words
    assert "all 2 shards are as the ledger says" in spaceclip("cache", "verify", "features/tiny").output
    store = Path(str(FeatureCache.open("features/tiny").path))
    file = store / "layers/2/c/1/0/0/0"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    found = spaceclip("cache", "verify", "features/tiny", fails=True)
    assert "shard 1, layers/2/plain: altered" in found.output
    (store / "ledger/000001.json").unlink()
    assert "14 images (6 computed now)" in spaceclip("extract", *CONFIG, "--split", "train").output
    assert "all 2 shards" in spaceclip("cache", "verify", "features/tiny").output


def test_a_store_moved_elsewhere_still_trains(extracted, spaceclip):
    shutil.move("features/tiny", "elsewhere")
    spaceclip("train", *CONFIG, "--features", "elsewhere", "--out", "run")
    assert load_checkpoint("run").info.protocol["name"] == "validation"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("extract",), "give --config, or --images and --out"),
        (("extract", "--images", "."), "give --config, or --images and --out"),
        (("extract", *CONFIG, "--val", "2"), "options: data.split.val: found 2.0; input should be less than 1"),
        (
            ("extract", *CONFIG, "--split", "tset"),
            "--split tset: the data set has no such split, it has train, val, test",
        ),
        (("extract", *CONFIG, "--device", "tpu"), "device 'tpu': not on this machine"),
        (
            ("extract", "--images", "absent", "--out", "x"),
            "'--images': Directory 'absent' does not exist",
        ),
        (("extract", "--config", "absent.yaml"), "Invalid value for '--config': File 'absent.yaml' does not exist"),
        (("train",), "give --config, or --features and --out"),
        (("train", *CONFIG, "--epochs", "0"), "options: train.epochs: found 0; input should be greater than 0"),
        (("train", "--features", "absent", "--out", "x"), "no feature store is there"),
        (("evaluate",), "give --config, or --checkpoint and --features"),
        (("evaluate", *CONFIG, "--depth-scale", "256"), "--depth-scale goes with --predictions"),
        (("evaluate", "--predictions", "."), "--predictions needs --out, the folder of its results"),
        (("evaluate", "--predictions", ".", "--out", "y"), "give --features (a store) or --config (an experiment)"),
        (
            ("evaluate", "--predictions", ".", "--device", "cpu"),
            "--device goes with a checkpoint, not with --predictions",
        ),
        (("evaluate", "--predictions", ".", "--depth-scale", "0"), "0.0 is not in the range x>0"),
        (("evaluate", "--predictions", "x", *CONFIG, "--out", "y"), "Directory 'x' does not exist"),
        (("show", "absent"), "Directory 'absent' does not exist"),
        (("show", "."), "expected the result of an evaluation"),
        (("cache", "info", "absent"), "no feature store is there"),
        (("cache", "verify", "absent"), "no feature store is there"),
    ],
)
def test_a_wrong_call_is_one_clear_line(project, spaceclip, arguments, message):
    told = spaceclip(*arguments, fails=True).output
    assert message in told
    assert len([line for line in told.splitlines() if line.startswith("Error")]) == 1


def test_bad_input_stops_before_anything_is_computed(project, spaceclip, pictures):
    bad = project / "bad"
    shutil.copytree(pictures, bad)
    depth = np.asarray(Image.open(bad / "depth/scene03/1.png"))
    Image.fromarray(depth[:20]).save(bad / "depth/scene03/1.png")
    file = project / "configs/tiny.yaml"
    file.write_text(file.read_text().replace(str(pictures), str(bad)))
    told = spaceclip("extract", *CONFIG, fails=True).output
    assert "scene03/1.png" in told
    assert "20 x 32" in told
    assert not (project / "features").exists()


def test_scoring_beside_another_training_set_is_refused(trained, spaceclip):
    file = trained / "configs/tiny.yaml"
    file.write_text(file.read_text().replace("test: 0.25", "test: 0.25, seed: 7"))
    spaceclip("extract", *CONFIG)
    told = spaceclip("evaluate", *CONFIG, fails=True).output
    assert "was trained on, so what it has seen is unknown; train again on these" in " ".join(told.split())


def test_a_validation_split_kept_from_other_settings_is_refused(extracted, spaceclip):
    file = extracted / "configs/tiny.yaml"
    file.write_text(file.read_text().replace("val: 0.2, test: 0.25", "val: 0"))
    spaceclip("extract", *CONFIG, "--split", "train")
    told = spaceclip("train", *CONFIG, fails=True).output
    assert "train-" in told
    assert "(val) share" in told
    assert "scores would flatter; extract all splits anew" in told


def test_what_was_trained_on_is_never_scored_as_held_out(trained, spaceclip):
    told = spaceclip("evaluate", *CONFIG, "--features", "features/tiny/train.json", fails=True).output
    assert "it is what these weights were trained on: its scores would flatter" in told


def test_features_extracted_whole_say_how_to_hold_scenes_out(tmp_path, pictures, tiny, spaceclip):
    out = tmp_path / "features"
    spaceclip("extract", "--images", pictures / "rgb", "--out", out, "--backbone", tiny, "--layers", "1,3")
    told = spaceclip("train", "--features", out, "--out", tmp_path / "run", fails=True).output
    assert "was extracted whole; extract again with --val and --test" in told


def test_a_place_that_cannot_be_written_is_one_clear_line(project, spaceclip):
    (project / "occupied").write_text("a file, no folder")
    told = spaceclip("extract", *CONFIG, "--out", "occupied", fails=True).output
    assert "occupied" in told
    assert len(told.strip().splitlines()) == 1
    spaceclip("extract", *CONFIG)
    told = spaceclip("train", *CONFIG, "--out", "occupied/run", fails=True).output
    assert "Not a directory" in told
    assert "Error: occupied" in told
