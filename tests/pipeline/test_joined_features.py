"""One experiment on the features of several: parts of a data set that were extracted apart."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spaceclip.cache import FeatureCache
from spaceclip.train import load_checkpoint

CONFIG = ("--config", "configs/tiny.yaml")


@pytest.fixture
def other(extracted, spaceclip, pictures) -> Path:
    """A second experiment in the same folder, `other`, of other pictures in other scenes."""
    for file in pictures.rglob("*.png"):
        copied = (
            extracted / "more" / file.relative_to(pictures).parent.with_name(f"other-{file.parent.name}") / file.name
        )
        copied.parent.mkdir(parents=True, exist_ok=True)
        image = np.asarray(Image.open(file))
        Image.fromarray(image[:, ::-1] if image.ndim == 3 else image).save(copied)
    text = (extracted / "configs/tiny.yaml").read_text()
    (extracted / "configs/other.yaml").write_text(text.replace(str(pictures), str(extracted / "more")))
    spaceclip("extract", "--config", "configs/other.yaml")
    return extracted


def stores(split: str) -> set[str]:
    return {FeatureCache.open(f"features/{name}/{split}.json").digest for name in ("tiny", "other")}


def test_a_decoder_is_trained_and_chosen_on_all_of_them_and_scored_on_neither(other, spaceclip):
    both = ("--features", "features/tiny", "--features", "features/other")
    spaceclip("train", *CONFIG, *both, "--out", "results/both")
    info = load_checkpoint("results/both").info
    assert {store["ledger"] for store in info.stores} == stores("train")
    assert {store["ledger"] for store in info.validation} == stores("val")
    scored = ("evaluate", "--checkpoint", "results/both", "--features")
    baselines = ("--baseline", "features/other", "--baseline", "features/tiny/train.json")
    told = " ".join(spaceclip(*scored, "features/tiny", fails=True).output.split())
    assert "give each of the 2 stores it was trained on as --baseline" in told
    told = " ".join(spaceclip(*scored, "features/other/train.json", *baselines, fails=True).output.split())
    assert "is given as the test split, and it is what these weights were trained on" in told
    spaceclip(*scored, "features/other", *baselines)
    assert Path("results/both/metrics.json").is_file()


def test_an_experiment_names_the_others_that_it_is_trained_on(other, spaceclip):
    file = Path("configs/tiny.yaml")
    file.write_text(file.read_text() + "also_train_on: [other]\n")
    spaceclip("train", *CONFIG)
    assert {store["ledger"] for store in load_checkpoint("results/tiny").info.stores} == stores("train")
    spaceclip("evaluate", *CONFIG)


def test_features_of_another_encoder_are_named(other, spaceclip):
    text = Path("configs/other.yaml").read_text()
    Path("configs/other.yaml").write_text(text.replace("precision: float32", "precision: bfloat16"))
    spaceclip("extract", "--config", "configs/other.yaml")
    both = ("--features", "features/tiny", "--features", "features/other")
    told = " ".join(spaceclip("train", *both, "--out", "results/both", fails=True).output.split())
    assert "given beside features/tiny/train-" in told
    assert "backbone.precision is 'bfloat16' there, 'float32' is wanted" in told
