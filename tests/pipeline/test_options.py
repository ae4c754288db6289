"""Settings on the command line: each by its dotted name, checked like the file, and stronger than it."""

from pathlib import Path

import pytest
from spaceclip.cache import FeatureCache
from spaceclip.train import load_checkpoint

CONFIG = ("--config", "configs/tiny.yaml")


def set_all(*assignments):
    return [word for assignment in assignments for word in ("--set", assignment)]


def test_settings_of_the_command_line_win_over_the_file_and_are_in_the_checkpoint(extracted, spaceclip):
    given = ("train.learning_rate=3e-4", "decoder.film=false", "train.loss.auxiliary=[0, 0, 0.5]")
    spaceclip("train", *CONFIG, *set_all(*given), "--seed", 7, "--epochs", 1, "--batch-size", 2)
    info = load_checkpoint("results/tiny").info
    assert (info.training["learning_rate"], info.training["seed"]) == (3e-4, 7)
    assert (info.training["epochs"], info.training["batch_size"], info.decoder.film) == (1, 2, False)
    assert info.training["loss"] == {"silog": 0.5, "ssim": 0.5, "auxiliary": [0, 0, 0.5]}
    assert info.decoder.channels == (16, 12, 8, 8)  # the file's
    told = spaceclip("train", *CONFIG, *set_all(*given), "--seed", 7, "--epochs", 1, "--batch-size", 2).output
    assert told.startswith("already finished")
    assert "holds a finished checkpoint" in spaceclip("train", *CONFIG, fails=True).output


def test_a_store_is_trained_on_and_scored_with_settings_of_the_command_line_alone(extracted, spaceclip):
    shape = ("decoder.channels=[8, 8, 8, 8]", "decoder.semantic_layers=[3, 2, 1, 0]", "evaluate.crop=garg")
    features = ("--features", "features/tiny")
    spaceclip("train", *features, "--out", "mine", *set_all("train.epochs=1", *shape), "--max-depth", 10)
    info = load_checkpoint("mine").info
    assert (info.decoder.channels, info.protocol["crop"], info.max_depth) == ((8, 8, 8, 8), "garg", 10)
    spaceclip("evaluate", "--checkpoint", "mine", *features, *set_all("evaluate.flip_average=false"))
    text = Path("mine/results.json").read_text()
    assert '"flip_average": false' in text
    assert '"flip_average": true' not in text


def test_extraction_takes_them_too(project, spaceclip, pictures, tiny):
    spaceclip("extract", *CONFIG, "--seed", 7, "--val", 0.4, "--layers", "0,3", *set_all("extract.shard=4"))
    changed = {name: FeatureCache.open(f"features/tiny/{name}.json") for name in ("train", "val")}
    assert changed["train"].layers == (0, 3)
    file = project / "configs/tiny.yaml"
    file.write_text(file.read_text().replace("val: 0.2,", "val: 0.4, seed: 7,").replace("[0, 1, 2, 3]", "[0, 3]", 1))
    spaceclip("extract", *CONFIG, "--out", "written", *set_all("extract.shard=4"))
    for name, cache in changed.items():
        assert FeatureCache.open(f"written/{name}.json").fingerprint == cache.fingerprint
    plain = ("--images", pictures / "rgb", "--backbone", tiny, "--out", "plain")
    spaceclip("extract", *plain, *set_all("extract.layers=[1]", "data.split={val: 0.5}"))
    assert FeatureCache.open("plain/val.json").layers == (1,)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.lerning_rate=1", "options: train.lerning_rate: unknown setting; did you mean learning_rate?"),
        ("trian.epochs=1", "options: trian: unknown setting; did you mean train?"),
        ("data.scenes=1", "options: data.scenes: unknown setting"),
        ("train.epochs=many", "options: train.epochs: found 'many'; input should be a valid integer"),
        ("train.epochs=0", "options: train.epochs: found 0; input should be greater than 0"),
        ("train.epochs.x=0", "options: train.epochs.x: unknown setting; epochs is one value, it has no settings"),
        ("train.epochs", "--set train.epochs: expected NAME=VALUE, such as train.learning_rate=3e-4"),
        ("train.loss={", "--set train.loss={: not YAML"),
        ("train.seed=3", "--set train.seed=3: train.seed is given twice; keep one"),
    ],
)
def test_a_wrong_one_is_refused_in_one_line(extracted, spaceclip, assignment, message):
    told = spaceclip("train", *CONFIG, "--seed", 1, "--set", assignment, fails=True).output
    assert message in " ".join(told.split())
    assert told.count("\n") == 1
    assert not Path("results").exists()


def test_without_a_file_there_are_the_settings_of_what_reads_features(extracted, spaceclip):
    told = spaceclip("train", "--features", "features/tiny", "--out", "x", "--set", "data.val=1", fails=True).output
    assert "options: data: unknown setting; known here: decoder, evaluate, train" in told
