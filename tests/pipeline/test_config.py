from pathlib import Path

import pytest
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import EvaluateSettings
from spaceclip.extract import SyntheticData
from spaceclip.pipeline.config import Experiment, load_experiment

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
def test_every_experiment_that_is_shipped_is_valid(file):
    assert set(load_experiment(file).by_stage()) == {"extract", "train", "evaluate"}


def test_the_example_to_copy_trains_on_a_small_data_set():
    assert load_experiment(CONFIGS / "folder.yaml").train.fitted(14).batch_size == 14


@pytest.mark.parametrize(("decoder", "expected"), [({}, None), ({"hidden_size": 768}, 768)])
def test_a_hidden_size_that_the_file_leaves_to_the_features_is_not_made_up(decoder, expected):
    experiment = Experiment.model_validate({"data": {"kind": "synthetic"}, "decoder": decoder})
    assert experiment.by_stage()["train"]["decoder"]["hidden_size"] == expected


@pytest.mark.parametrize(
    ("name", "other"), [("crop", "garg"), ("min_depth", 1.0), ("max_depth", 5.0), ("precision", "float32")]
)
def test_dvc_trains_again_where_a_setting_that_chooses_weights_has_changed(name, other):
    data = SyntheticData()
    experiments = [
        Experiment(data=data, evaluate=settings)
        for settings in (EvaluateSettings(), EvaluateSettings.model_validate({name: other}))
    ]
    chosen_by = [found.evaluate.protocol("validation", {}, 0.001, 80.0) for found in experiments]
    watched = [found.by_stage()["train"] for found in experiments]
    assert (watched[0] != watched[1]) == (chosen_by[0] != chosen_by[1])


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
    assert (found.train.learning_rate, found.train.weight_decay) == (1e-4, 0.01)
    assert (found.train.ema_decay, found.train.ema_warmup) == (0.996, False)
    assert (found.train.keep, found.evaluate.protocols, found.evaluate.median_scaling) == (keep, protocols, False)
    assert found.decoder.channels == (256, 128, 64, 32)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "decodr: {}", "decodr: unknown setting; did you mean decoder?"),
        (GOOD + "decoder: { flim: true }", "decoder.flim: unknown setting; did you mean film?"),
        (GOOD + "train: { loss: { slog: 1 } }", "train.loss.slog: unknown setting; did you mean silog?"),
        ("data: { kind: synthetic, scnes: 4 }", "data.scnes: unknown setting; did you mean scenes?"),
        ("data: { kind: folder, image: x }", "data.image: unknown setting; did you mean images?"),
        (GOOD + "train: { zzz: 1 }", "train.zzz: unknown setting; known here: accumulate, batch_size, batches_ahead"),
        (GOOD + "train: { epochs: many }", "train.epochs: found 'many'; input should be a valid integer"),
        (GOOD + "train: { log: dvclive }", "train.log: found 'dvclive'; expected a list, such as [dvclive]"),
        (GOOD + "train: { epochs: 0 }", "train.epochs: found 0; input should be greater than 0"),
        (GOOD + "evaluate: { crop: grag }", "garg"),
        ("data: { kind: kity }", "data: found {'kind': 'kity'}"),
        ("train: { epochs: 3 }", "data: missing, it has no default; add it"),
        ("dta: { kind: synthetic }", "dta: unknown setting; did you mean data?"),
        ("- a\n- b", "found list, expected settings by name"),
        ("", "found NoneType, expected settings by name"),
        ("data: {", "not YAML"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_place(refusal, text, message):
    assert message in refusal(text)


def test_all_wrong_settings_are_told_at_once_and_one_that_is_misspelt_once(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("dta: {}\ndecoder: { flim: true }\ntrain: { epochs: many }\nfeatures: ../up\n")
    with pytest.raises(SpaceClipError) as raised:
        load_experiment(file)
    head, *lines = str(raised.value).splitlines()
    assert head == f"{file}: 4 settings are wrong:"
    assert [line.split(":")[0].strip() for line in lines] == ["decoder.flim", "train.epochs", "features", "dta"]
    assert lines[-1].endswith("did you mean data?")


def test_a_wrong_crop_is_told_with_the_other_wrong_settings(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "data: { kind: folder, images: x, depthscale: 1 }\ndecodr: {}\n"
        "train: { epoch: 3 }\nevaluate: { crop: nyu_eign }\n"
    )
    with pytest.raises(SpaceClipError) as raised:
        load_experiment(file)
    head, *lines = str(raised.value).splitlines()
    assert head == f"{file}: 4 settings are wrong:"
    places = [line.split(":")[0].strip() for line in lines]
    assert places == ["train.epoch", "evaluate.crop", "data.depthscale", "decodr"]
    assert lines[1].endswith("did you mean nyu_eigen?")


class TestWhereThingsLie:
    """Relative paths of an experiment start at the project's root, wherever it is run."""

    TEXT = "data: { kind: folder, images: data/rgb, depth: /abs/depth, val: { images: val } }\n"

    @pytest.fixture
    def file(self, tmp_path, monkeypatch):
        (tmp_path / "copy/configs").mkdir(parents=True)
        (tmp_path / "clip").mkdir()
        monkeypatch.chdir(tmp_path / "copy")
        file = Path("configs/mine.yaml")
        file.write_text(self.TEXT + "backbone: { name: clip }\n")
        return file

    def test_a_checkout_leaves_them_as_they_are(self, file):
        found = load_experiment(file)
        assert found.data.model_dump()["images"] == Path("data/rgb")
        assert (found.backbone.name, found.extract.store) == ("clip", None)

    def test_a_copy_takes_data_encoder_and_stores_from_the_root(self, file, tmp_path, monkeypatch):
        monkeypatch.setenv("SPACECLIP_ROOT", str(tmp_path))
        found = load_experiment(file)
        data = found.data.model_dump()
        assert (data["images"], data["val"]["images"]) == (tmp_path / "data/rgb", tmp_path / "val")
        assert (data["depth"], found.backbone.name) == (Path("/abs/depth"), str(tmp_path / "clip"))
        assert found.extract.store == str(tmp_path / "features/mine")

    def test_features_are_shared_by_name_and_buckets_stay(self, file):
        file.write_text(self.TEXT + "features: theirs\n")
        assert load_experiment(file).extract.store == "features/theirs"
        file.write_text(self.TEXT + "features: theirs\nextract: { store: s3://bucket/all }\n")
        assert load_experiment(file).extract.store == "s3://bucket/all"
