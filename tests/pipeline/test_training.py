"""`spaceclip train` as a user meets it, and what its checkpoint may be scored on."""

import json
import re
import signal
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from spaceclip.cache import FeatureCache, write_atomically
from spaceclip.evaluate import validation, validation_figure
from spaceclip.train import load_checkpoint, read_history
from spaceclip.train.step import TrainingStep

CONFIG = ("--config", "configs/tiny.yaml")


def change(project: Path, old: str, new: str) -> None:
    file = project / "configs/tiny.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_training_on_nothing_fails_and_leaves_no_checkpoint(extracted, spaceclip):
    change(extracted, "max_depth: 10", "max_depth: 0.01")
    told = spaceclip("train", *CONFIG, fails=True).output
    assert "no pixel of epoch 1 has a depth between min_depth and max_depth (0.001 to 0.01 m)" in " ".join(told.split())
    assert not (extracted / "results").exists()
    (extracted / "results/tiny").mkdir(parents=True)
    spaceclip("train", *CONFIG, fails=True)
    assert (extracted / "results/tiny").exists()  # it was there before


def test_an_empty_depth_range_is_refused_by_its_place(extracted, spaceclip):
    change(extracted, "max_depth: 10", "min_depth: 10, max_depth: 10")
    told = " ".join(spaceclip("train", *CONFIG, fails=True).output.split())
    assert "train.max_depth: found 10; expected more than min_depth, which is 10 m" in told


def test_a_range_that_most_of_the_measured_depth_lies_outside_is_warned_of_once(extracted, spaceclip):
    change(extracted, "batch_size: 4", "batch_size: 14")
    assert "warning" not in spaceclip("train", *CONFIG, "--out", "whole").output
    cache = FeatureCache.open("features/tiny/train.json")
    depth = np.stack([cache.depth(index) for index in range(len(cache))])
    change(extracted, "max_depth: 10", "max_depth: 3")
    told = " ".join(spaceclip("train", *CONFIG).output.split())
    assert told.count("warning") == 1
    assert (
        f"warning: only {100 * (depth < 3).mean():.2g} % of the measured pixels lie within 0.001 to 3 m "
        f"(mean depth {depth.mean():.3g} m): is the range or the unit right?"
    ) in told


def test_a_collapsed_run_starts_again_three_times_and_says_so(extracted, spaceclip):
    dead = ("--set", "decoder.head_bias=-50", "--set", "train.collapse=restart")
    told = " ".join(spaceclip("train", *CONFIG, *dead, fails=True).output.split())
    assert told.count("warning: collapsed; it starts again from the first step, with the next seed") == 3
    assert "Error: collapsed in epoch 1 (0 m predicted at 100% of the valid pixels" in told
    assert "seed 42, 1042, 2042, 3042): lower learning_rate, give another seed, or set decoder.head_bias to" in told


def test_fewer_images_than_the_default_batch_train_in_one(extracted, spaceclip):
    change(extracted, "batch_size: 4, learning_rate", "learning_rate")
    told = spaceclip("train", *CONFIG).output
    assert "batch_size 14, one step an epoch: there are only 14 images" in told
    assert load_checkpoint("results/tiny").info.training["batch_size"] == 14


def test_an_overfit_run_says_that_its_scores_say_nothing(extracted, spaceclip):
    told = spaceclip("train", *CONFIG, "--set", "train.overfit=3").output
    assert "batch_size 3, one step an epoch: there are only 3 images" in told
    assert re.search(
        r"[\d.]+ images/s over \d+ s: \d+% reading, \d+% copying, \d+% computing, \d+% validating; without the cache",
        told,
    )
    assert "overfit to 3 samples: its scores say nothing" in told
    assert "warning: results/tiny was overfit to 3 samples (train.overfit)" in spaceclip("evaluate", *CONFIG).output
    training = load_checkpoint("results/tiny").info.training
    assert (training["overfit"], training["batch_size"]) == (3, 3)


def test_a_batch_that_was_asked_for_is_never_lowered(extracted, spaceclip):
    change(extracted, "batch_size: 4", "batch_size: 32")
    assert "14 samples do not fill one batch of 32; lower batch_size" in spaceclip("train", *CONFIG, fails=True).output


def test_a_finished_checkpoint_is_replaced_only_by_force(extracted, spaceclip):
    spaceclip("train", *CONFIG)
    before = Path("results/tiny/checkpoint.json").read_bytes()
    change(extracted, "epochs: 3", "epochs: 2")
    told = spaceclip("train", *CONFIG, fails=True).output
    assert told.strip() == (
        "Error: results/tiny holds a finished checkpoint (train.epochs 3 there, 2 now): give another --out, or "
        "--force to replace it"
    )
    spaceclip("train", *CONFIG, "--force")
    assert Path("results/tiny/checkpoint.json").read_bytes() != before


def test_the_same_command_again_finds_it_finished_and_changes_nothing(trained, spaceclip):
    files = {path: path.read_bytes() for path in Path("results/tiny").iterdir()}
    told = spaceclip("train", *CONFIG).output
    assert told.startswith("already finished: results/tiny: ")
    assert told.count("\n") == 1
    assert {path: path.read_bytes() for path in Path("results/tiny").iterdir()} == files
    Path("results/tiny/checkpoint.safetensors").write_bytes(b"damaged")
    told = " ".join(spaceclip("train", *CONFIG, fails=True).output.split())
    assert "altered, or not the weights" in told
    assert told.endswith(": --force to replace it")


@pytest.mark.parametrize(
    ("setting", "other"),
    [("epochs: 3", "epochs: 4"), ("crop: none", "crop: garg"), ("film_hidden: 16", "film_hidden: 8")],
)
def test_a_checkpoint_of_another_setting_is_not_taken_for_this_one(trained, spaceclip, setting, other):
    change(trained, setting, other)
    assert "holds a finished checkpoint" in spaceclip("train", *CONFIG, fails=True).output


def test_ctrl_c_leaves_a_state_that_the_same_command_goes_on_from(extracted, spaceclip, monkeypatch):
    spaceclip("train", *CONFIG, "--out", "whole")
    step, done = TrainingStep.__call__, []

    def interrupted(self, *args):
        done.append(1)
        if len(done) == 5:
            signal.raise_signal(signal.SIGINT)
        return step(self, *args)

    monkeypatch.setattr(TrainingStep, "__call__", interrupted)
    assert "run the same command again to go on" in spaceclip("train", *CONFIG, fails=True).output
    told = spaceclip("train", *CONFIG).output
    assert "epoch 1: " in told
    assert re.search(r"going on after step \d+ of \d+\n", told)
    assert len(done) == 5 + 6
    whole, resumed = (Path(out, "checkpoint.safetensors").read_bytes() for out in ("whole", "results/tiny"))
    assert whole == resumed


def test_an_encoder_folder_whose_weights_have_changed_is_refused(project, tiny, spaceclip):
    from transformers.models.clip import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig.from_pretrained(Path(tiny.removeprefix("random:")).parent)
    torch.manual_seed(1)
    CLIPVisionModel(config).save_pretrained(project / "mine")
    change(project, tiny, "mine")
    spaceclip("extract", *CONFIG)
    spaceclip("train", *CONFIG)
    torch.manual_seed(2)
    CLIPVisionModel(config).save_pretrained(project / "mine")
    told = spaceclip("train", *CONFIG, "--force", fails=True).output
    assert "made with other settings: backbone.weights is" in told
    spaceclip("extract", *CONFIG)
    told = spaceclip("evaluate", *CONFIG, fails=True).output
    assert "made with other settings: backbone.weights is" in told


@pytest.mark.usefixtures("trained")
def test_out_of_memory_in_scoring_is_one_line(spaceclip, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 is full.\nMore")

    monkeypatch.setattr("spaceclip.evaluate.inference._decode", full)
    told = spaceclip("evaluate", *CONFIG, fails=True).output
    assert "out of memory (CUDA out of memory. Tried to allocate 2 GiB); lower evaluate.batch_size, which is 8" in told


def exchanged(one: str, other: str) -> None:
    folder = Path("features/tiny")
    (folder / f"{one}.json").rename(folder / "kept")
    (folder / f"{other}.json").rename(folder / f"{one}.json")
    (folder / "kept").rename(folder / f"{other}.json")


@pytest.mark.parametrize("split", ["val", "train"])
def test_splits_that_were_exchanged_after_training_are_not_scored(extracted, spaceclip, split):
    spaceclip("train", *CONFIG)
    exchanged(split, "test")
    told = spaceclip("evaluate", *CONFIG, fails=True).output
    assert "is named for the" in told
    told = spaceclip("train", *CONFIG, "--out", "again", fails=True).output
    assert f"{split}.json: is named for the {split} split and points to the test split" in told


def test_the_validation_split_is_never_scored_in_place_of_a_test_split_that_is_gone(extracted, spaceclip):
    spaceclip("train", *CONFIG)
    Path("features/tiny/test.json").unlink()
    told = spaceclip("evaluate", *CONFIG, "--protocol", "controlled", fails=True).output
    assert "test split" in told
    assert not Path("results/tiny/metrics.json").exists()


def test_each_epoch_draws_the_same_validation_images_from_what_is_predicted_anyway(extracted, spaceclip, monkeypatch):
    predicted, drawn, captions = [], [], []

    def write(path, content):
        if path.name == "validation.png":
            drawn.append((path, len(predicted)))
        write_atomically(path, content)

    def counting(*arguments):
        predicted.append(1)
        return decode(*arguments)

    def drawing(*given):
        captions.append(given[-1].splitlines())
        return figure(*given)

    decode, figure = validation.decode, validation_figure
    monkeypatch.setattr("spaceclip.pipeline.validation.write_atomically", write)
    monkeypatch.setattr("spaceclip.pipeline.validation.validation_figure", drawing)
    monkeypatch.setattr(validation, "decode", counting)
    spaceclip("train", *CONFIG, "--set", "train.figures=3")
    passes = [done for _, done in drawn]
    assert [path for path, _ in drawn] == [Path("results/tiny/validation.png")] * 3
    with Image.open("results/tiny/validation.png") as picture:
        assert picture.size[0] == 4 * 306
    score, protocol, encoder = captions[-1]
    best = r"Epoch 3, (raw|EMA) weights: AbsRel (.+) over \d validation images; best without an image \((.+)\): (.+)$"
    ((kind, error, name, image_free),) = re.findall(best, score)
    last = asdict(read_history(Path("results/tiny"))[-1])
    assert error == f"{min(last['val_raw'], last['val_ema']):.4f}" == f"{last[f'val_{kind.lower()}']:.4f}"
    spaceclip("evaluate", *CONFIG, "--protocol", "validation")
    row, *_ = json.loads(Path("results/tiny/results.json").read_text())["rows"]
    known = {name: metrics["abs_rel"] for name, metrics in row["baselines"].items()}
    assert (name, image_free) == (min(known, key=known.__getitem__), f"{min(known.values()):.4f}")
    assert protocol.startswith("validation protocol: ")
    assert encoder.startswith("encoder random:")
    spaceclip("train", *CONFIG, "--out", "plain")
    assert not Path("plain/validation.png").exists()
    assert len(drawn) == 3
    assert len(predicted) == 2 * passes[-1]  # a figure costs no forward pass
    one, other = (Path(out, "checkpoint.safetensors").read_bytes() for out in ("results/tiny", "plain"))
    assert one == other
