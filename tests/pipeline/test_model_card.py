"""A checkpoint as a folder for others and on the hub, with a card that says what its record says."""

import re
import shutil

import numpy as np
import pytest
import yaml
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image
from spaceclip import SpaceClip, SpaceClipError
from spaceclip.pipeline.prediction import hub as hub_module
from spaceclip.pipeline.prediction.model_card import model_card
from spaceclip.train import load_checkpoint

PHOTO = np.random.default_rng(3).integers(0, 256, (30, 20, 3), dtype=np.uint8)
UNREACHED = HfHubHTTPError.__bases__[0]
"""What the library of HTTP raises where no network is."""


@pytest.fixture(scope="module")
def model(trained_once, tiny):
    return SpaceClip.from_pretrained(trained_once / "results/tiny", backbone=tiny, device="cpu")


@pytest.fixture
def card_of(model):
    """The card of that checkpoint, its record changed so far: metadata and text."""

    def make(name="somebody/depth", license_id=None, **changes):
        changed = SpaceClip(load_checkpoint(model.path))
        changed.info = model.info.model_copy(update=changes)
        _, metadata, text = model_card(changed, name, license_id).split("---\n", 2)
        return yaml.safe_load(metadata), text

    return make


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Stands for the hub: keeps what is uploaded, gives it back, and raises what it is told to."""

    class Hub:
        folder, created, fails = tmp_path / "hub", [], None

        def __init__(self, token=None):
            self.token = token

        def create_repo(self, repo_id, *, private, exist_ok):
            if Hub.fails:
                raise Hub.fails
            Hub.created.append((repo_id, private, exist_ok))

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            shutil.copytree(folder_path, Hub.folder)
            return type("Commit", (), {"commit_url": f"https://hub/{repo_id}/commit/1", "message": commit_message})

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_token")
    monkeypatch.setattr(hub_module, "hub_file", lambda _name, file, _revision: Hub.folder / file)
    return Hub


def test_a_protocol_of_no_version_is_one_line(card_of):
    with pytest.raises(
        SpaceClipError, match=r"protocol is none of this version \('name': Field required\): train it again"
    ):
        card_of(protocol={"a\nb": 1})


def test_a_saved_folder_gives_the_same_depth_from_the_same_bytes(model, tiny, tmp_path):
    model.save_pretrained(tmp_path / "shared")
    assert {file.name for file in (tmp_path / "shared").iterdir()} == {
        *("checkpoint.json", "checkpoint.safetensors", "config.json", "preprocessor_config.json", "README.md")
    }
    weights = "checkpoint.safetensors"
    assert (tmp_path / "shared" / weights).read_bytes() == (model.path / weights).read_bytes()
    again = SpaceClip.from_pretrained(tmp_path / "shared", backbone=tiny, device="cpu")
    np.testing.assert_array_equal(again.predict(PHOTO).depth, model.predict(PHOTO).depth)
    assert again.info == model.info.model_copy(update={"receipt": None})


def test_a_record_from_before_it_kept_the_size_of_the_input_gets_it(model, tmp_path):
    size = model.info.image_size
    model = SpaceClip(load_checkpoint(model.path), backbone=model._source)
    model.info = model.info.model_copy(update={"image_size": None})
    model.save_pretrained(tmp_path)
    assert SpaceClip.from_pretrained(tmp_path).info.image_size == size == (32, 32)


def test_the_card_says_what_the_record_says(model, card_of):
    metadata, text = card_of()
    assert metadata == {
        "library_name": "spaceclip",
        "pipeline_tag": "depth-estimation",
        "tags": ["depth-estimation", "metric-depth", "clip", "arxiv:2601.17657"],
    }
    info = model.info
    for said in (
        info.backbone["weights"],
        info.sha256,
        info.stores[0]["fingerprint"],
        (
            "| Training data | a folder of images with depth, train split, divided by scene, "
            f"{info.stores[0]['images']} images with depth (feature store {info.stores[0]['fingerprint']}) |"
        ),
        (
            "On the validation split: a folder of images with depth, val split, divided by scene, "
            f"{info.validation[0]['images']} images"
        ),
        "The weights were chosen by these very numbers, which flatters them",
        "no crop, 0.001 to 10 m, native size, no flip averaging, no median scaling",
        f"| AbsRel ↓ | {info.metrics['abs_rel']:.4f} |",
        f"| δ < 1.25 ↑ | {info.metrics['delta1']:.4f} |",
        "(**random weights**)",
        "Anything but tests: the encoder has random weights",
        "training camera (which is not recorded)",
        "were read from a folder that is not recorded",
        'backbone="path/of/the/encoder")',
        "None is stated",
    ):
        assert said in text
    assert str(model.path) not in text
    assert not re.search(r"\{\{|\{%|None \||\n\n\n", text)


def test_the_card_knows_where_the_encoder_is_what_was_measured_and_the_licence(model, card_of):
    on_hub = {**model.info.backbone, "name": "openai/clip-vit-base-patch16", "revision": "57c21647"}
    camera = {"focal": [500.0, 518.9, 520.0], "size": [480, 640], "images": 3}
    metadata, text = card_of(
        license_id="cc-by-nc-4.0",
        backbone=on_hub,
        stores=[{**model.info.stores[0], "data": "nyu", "list": "train.txt", "camera": camera}],
        metrics={},
    )
    assert (metadata["base_model"], metadata["license"]) == ("openai/clip-vit-base-patch16", "cc-by-nc-4.0")
    assert "fetched from the hub, from the commit below" in text
    assert "path/of/the/encoder" not in text
    assert "| NYU Depth V2, train split, divided by scene, list train.txt, " in text
    assert text.count("fx 519 (500 to 520) at 480 x 640") == 2
    assert "It was trained without a validation split" in text
    assert "AbsRel" not in text
    assert "cc-by-nc-4.0." in text
    unsaid = {name: model.info.stores[0][name] for name in ("fingerprint", "ledger", "samples", "images")}
    assert "| Training data | a data set that is not recorded, " in card_of(stores=[unsaid])[1]
    embedded = {**model.info.backbone, "name": "embedded:clip-tiny", "revision": "comes with SpaceCLIP"}
    metadata, text = card_of(name="a|b\nc", backbone=embedded, chosen="last")
    assert "base_model" not in metadata
    assert "Photographs in earnest" in text
    assert "# a\\|b c: metric depth" in text
    assert "flatters" not in text


def test_the_code_of_the_card_works(model, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PHOTO).save("photo.jpg", quality=95)
    model.save_pretrained("shared")
    depths = []
    for block in re.findall(r"^```python\n(.*?)^```$", (tmp_path / "shared/README.md").read_text(), re.M | re.S):
        names = {}
        exec(block.replace('"path/of/the/encoder"', repr(tiny)), names)
        found = names["found"]
        depths.append(found["predicted_depth"].numpy() if isinstance(found, dict) else found.depth)
    assert (tmp_path / "photo.depth.png").exists()
    np.testing.assert_array_equal(depths, [model.predict("photo.jpg").depth] * 2)


def test_what_is_pushed_is_had_back_by_its_id(model, tiny, hub):
    address = model.push_to_hub("somebody/depth", private=True, license_id="mit")
    assert address == "https://hub/somebody/depth/commit/1"
    assert hub.created == [("somebody/depth", True, True)]
    card = (hub.folder / "README.md").read_text()
    assert 'SpaceClip.from_pretrained("somebody/depth"' in card
    assert "\nlicense: mit\n" in card.partition("\n---\n")[0]
    again = SpaceClip.from_pretrained("somebody/depth", backbone=tiny, device="cpu")
    np.testing.assert_array_equal(again.predict(PHOTO).depth, model.predict(PHOTO).depth)


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        (UNREACHED("[Errno 111] Connection refused"), r"does not take it \(\[Errno 111\] Connection refused\); check"),
        (ConnectionError("offline mode is enabled\nunset it"), r"does not take it \(offline mode is enabled\); check"),
    ],
)
def test_a_hub_that_does_not_take_it_is_one_line(model, hub, fails, said):
    hub.fails = fails
    with pytest.raises(SpaceClipError, match=said) as refused:
        model.push_to_hub("somebody/depth")
    assert "\n" not in str(refused.value)


def test_without_a_token_or_an_id_the_hub_is_not_asked(model, hub, monkeypatch):
    with pytest.raises(SpaceClipError, match="no owner: is no id of the hub; expected owner/model"):
        model.push_to_hub("no owner")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(SpaceClipError, match="the hub is told no token; run `hf auth login`, set HF_TOKEN"):
        model.push_to_hub("somebody/depth")
    assert not hub.created
