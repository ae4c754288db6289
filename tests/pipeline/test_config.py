from pathlib import Path

import pytest
import yaml
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import EvaluateSettings
from spaceclip.pipeline.config import load_experiment

CONFIGS = Path(__file__).parents[2] / "configs"
GOOD = "data: { kind: synthetic, scenes: 4 }\n"


@pytest.fixture
def refusal(tmp_path):
    def of(text: str) -> str:
        file = tmp_path / "mine.yaml"
        file.write_text(text)
        with pytest.raises(SpaceClipError) as raised:
            load_experiment(file)
        message = str(raised.value)
        assert "\n" not in message
        assert str(file) in message
        return message.replace(str(file), "mine.yaml")

    return of


def test_what_is_left_out_has_the_paper_s_value(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD)
    experiment = load_experiment(file)
    assert experiment.backbone.name == "openai/clip-vit-base-patch16"
    assert experiment.decoder.channels == (256, 128, 64, 32)
    assert (experiment.train.epochs, experiment.train.learning_rate, experiment.train.seed) == (20, 1e-4, 42)
    assert experiment.extract.layers == (0, 1, 2, 3, 6, 9, 12)


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_experiment_is_valid_and_has_the_sections_that_dvc_watches(file):
    load_experiment(file)
    content = yaml.safe_load(file.read_text())
    stages = yaml.safe_load((CONFIGS.parent / "dvc.yaml").read_text())["stages"].values()
    for stage in stages:
        for path in next(iter(stage.get("do", stage)["params"][0].values())):
            section = content
            for name in path.split("."):
                section = section[name]


@pytest.mark.parametrize(
    ("name", "other"), [("crop", "garg"), ("min_depth", 1.0), ("max_depth", 5.0), ("precision", "float32")]
)
def test_dvc_trains_again_where_a_setting_that_chooses_weights_has_changed(name, other):
    stage = yaml.safe_load((CONFIGS.parent / "dvc.yaml").read_text())["stages"]["train"]
    (watched,) = next(iter(stage["params"])).values()
    chosen_by = [
        settings.protocol("validation", {}, 0.001, 80.0)
        for settings in (EvaluateSettings(), EvaluateSettings.model_validate({name: other}))
    ]
    assert (f"evaluate.{name}" in watched) == (chosen_by[0] != chosen_by[1])


@pytest.mark.parametrize(
    ("name", "frames", "batch_size", "keep", "protocols"),
    [
        ("kitti", (352, 704), 64, "last", ("paper", "standard")),
        ("nyu", (480, 640), 32, "last", ("paper", "standard")),
        ("nyu_controlled", (480, 640), 32, "best", ("controlled", "validation")),
    ],
)
def test_the_paper_s_experiments_have_the_paper_s_settings(name, frames, batch_size, keep, protocols):
    found = load_experiment(CONFIGS / f"{name}.yaml")
    if keep == "best":
        assert found.evaluate.protocol("validation", {"split": "val"}, 0.001, 10.0).crop == "nyu_eigen"
    assert found.backbone.name == "openai/clip-vit-base-patch16"
    assert (found.extract.target_size, found.train.batch_size, found.train.epochs) == (frames, batch_size, 20)
    assert (found.train.learning_rate, found.train.weight_decay, found.train.ema_decay) == (1e-4, 0.01, 0.996)
    assert (found.train.keep, found.evaluate.protocols, found.evaluate.median_scaling) == (keep, protocols, False)
    assert found.decoder.channels == (256, 128, 64, 32)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "decodr: {}", "decodr: unknown setting; did you mean decoder?"),
        (GOOD + "decoder: { flim: true }", "decoder.flim: unknown setting; did you mean film?"),
        (GOOD + "train: { loss: { slog: 1 } }", "train.loss.slog: unknown setting; did you mean silog?"),
        ("data: { kind: synthetic, scnes: 4 }", "data.scnes: unknown setting; did you mean scenes?"),
        ("data: { kind: folder, image: x }", "data.images: missing, it has no default; add it (and 1 more)"),
        (GOOD + "train: { zzz: 1 }", "train.zzz: unknown setting; known here: batch_size, clip_norm"),
        (GOOD + "train: { epochs: many }", "train.epochs: found 'many'; input should be a valid integer"),
        (GOOD + "train: { epochs: 0 }", "train.epochs: found 0; input should be greater than 0"),
        (GOOD + "evaluate: { crop: grag }", "garg"),
        ("data: { kind: kity }", "data: found {'kind': 'kity'}"),
        ("train: { epochs: 3 }", "data: missing, it has no default; add it"),
        ("- a\n- b", "found list, expected settings by name"),
        ("", "found NoneType, expected settings by name"),
        ("data: {", "not YAML"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_place(refusal, text, message):
    assert message in refusal(text)


def test_every_experiment_that_is_shipped_is_valid():
    from pathlib import Path

    files = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
    assert files
    for file in files:
        load_experiment(file)
