"""transformers' own pipeline on a saved checkpoint, against `SpaceClip.predict`."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image
from spaceclip import SpaceClip, SpaceClipError, register_auto_classes
from spaceclip.pipeline.prediction.auto_classes import SpaceClipConfig, SpaceClipForDepthEstimation
from transformers.pipelines import pipeline

EXIF_ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def model(trained_once, tiny):
    return SpaceClip.from_pretrained(trained_once / "results/tiny", backbone=tiny, device="cpu")


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def said():
    """What transformers says meanwhile."""
    lines, logger = [], logging.getLogger("transformers")
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


@pytest.fixture
def estimate(folder, tiny):
    register_auto_classes()
    return pipeline("depth-estimation", model=str(folder), device="cpu", model_kwargs={"backbone": tiny})


@pytest.fixture
def photos(tmp_path):
    draw = np.random.default_rng(3)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    Image.fromarray(draw.integers(0, 256, (30, 20, 3), dtype=np.uint8)).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(draw.integers(0, 256, (41, 50), dtype=np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(draw.integers(0, 256, (12, 9, 4), dtype=np.uint8)).save(tmp_path / "alpha.png")
    return [str(tmp_path / name) for name in ("turned.jpg", "grey.png", "alpha.png")]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_pipeline_gives_the_metres_of_predict_at_image_size(said, estimate, model, photos, batch_size):
    for photo, found in zip(photos, estimate(photos, batch_size=batch_size), strict=True):
        depth = model.predict(photo).depth
        assert found["predicted_depth"].dtype == torch.float32
        # What lies beside it in a batch may change its last bit.
        np.testing.assert_allclose(found["predicted_depth"].numpy(), depth, rtol=0 if batch_size == 1 else 1e-6)
        picture = np.asarray(found["depth"])
        assert (picture.dtype, picture.shape, picture.min(), picture.max()) == (np.uint8, depth.shape, 0, 255)
    assert said == []


def test_a_pipeline_saves_a_folder_that_is_as_good(estimate, tiny, photos, tmp_path):
    estimate.save_pretrained(tmp_path / "again")
    again = pipeline("depth-estimation", model=str(tmp_path / "again"), device="cpu", model_kwargs={"backbone": tiny})
    expected, found = (one(photos[0])["predicted_depth"] for one in (estimate, again))
    assert torch.equal(found, expected)
    assert SpaceClip.from_pretrained(tmp_path / "again").info.sha256 == estimate.model._model.info.sha256


def test_what_another_processor_made_and_other_types_are_refused_in_one_line(folder, tiny):
    model = SpaceClipForDepthEstimation.from_pretrained(folder, backbone=tiny)
    for given, found in (
        (torch.zeros(1, 3, 32, 32), r"torch.float32 \[1, 3, 32, 32\]"),
        (torch.zeros(1, 3, 9, 9, dtype=torch.uint8), r"torch.uint8 \[1, 3, 9, 9\]"),
    ):
        with pytest.raises(SpaceClipError, match=f"pixel_values are {found}: expected uint8 .B, 3, 32, 32"):
            model(pixel_values=given)
    register_auto_classes()
    with pytest.raises(SpaceClipError, match=r"dtype is torch.float16, and the encoder computes in the precision of"):
        pipeline("depth-estimation", model=str(folder), dtype=torch.float16)
    with pytest.raises(SpaceClipError, match="has no weights: use from_pretrained"):
        SpaceClipForDepthEstimation(SpaceClipConfig())


def test_a_damaged_folder_is_one_line(folder, tmp_path):
    register_auto_classes()
    for name in ("config.json", "preprocessor_config.json", "checkpoint.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(SpaceClipError, match=r"checkpoint.safetensors: no checkpoint is there"):
        pipeline("depth-estimation", model=str(tmp_path))
