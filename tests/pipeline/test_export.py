"""Exported files against the package: the same depth from onnxruntime and from a loaded program."""

import contextlib
import json
import re
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from documents import blocks
from PIL import Image
from spaceclip.cache import FeatureCache
from spaceclip.evaluate import predict
from spaceclip.pipeline.cli import main
from spaceclip.pipeline.export import write
from spaceclip.pipeline.export.graphs import DecoderGraph
from spaceclip.pipeline.prediction import SpaceClip
from spaceclip.train import CheckpointInfo


@pytest.fixture(scope="module")
def model(trained_once, tiny):
    return SpaceClip.from_pretrained(trained_once / "results/tiny", backbone=tiny, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def split(trained_once):
    return FeatureCache.open(trained_once / "features/tiny/test.json")


@pytest.fixture(scope="module")
def export(trained_once, tiny, tmp_path_factory):
    """Exports the trained checkpoint, and returns the file and what was told."""

    def run(name, *options):
        file = tmp_path_factory.mktemp("exported") / name
        arguments = ["export", "results/tiny", "--out", str(file), "--backbone", tiny, *options]
        with contextlib.chdir(trained_once):
            done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, repr(done.exception)
        return file, done.output

    return run


def session(file):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def computed(file, given):
    return np.asarray(session(file).run(["depth"], given)[0])


def properties(file):
    return {one.key: one.value for one in onnx.load(file).metadata_props}


def cached(split, model, rows):
    """What the decoder reads of some rows, and the depth that evaluation makes of it."""
    states = split.states(rows, "plain", model.decoder.settings.layers)
    found = predict(model.decoder, split, rows, flip_average=False, precision="float32")
    depth = torch.stack([row.depths["plain"] for row in found])
    return [split.pooled(rows, "plain"), *(state.astype(np.float32) for state in states.values())], depth


def test_a_decoder_in_onnx_gives_the_depth_of_cached_features(export, model, split):
    file, told = export("decoder.onnx")
    assert re.search(r"decoder in float32, .* kB: largest difference to PyTorch [0-9.]+e-0[4-9] of the depth\n", told)
    for rows in ([0], [1, 2, 3, 4]):
        given, expected = cached(split, model, rows)
        layers = model.decoder.settings.layers
        names = ["pooled", *(f"hidden_state_{layer}" for layer in layers)]
        np.testing.assert_allclose(computed(file, dict(zip(names, given, strict=True))), expected, rtol=1e-3)
        assert expected.std() > 0.01
    held = properties(file)
    assert held["Checkpoint"] == model.info.sha256
    assert held["Trained-Range"] == "0.001 to 10 metres"
    assert held["Output depth"].startswith("[B, h, w] float32, metres")
    assert held["Input hidden_state_<i>"].startswith("[B, 16, 16] float32")


def test_a_decoder_as_a_program_gives_it_too(export, model, split):
    file, _ = export("decoder.pt2")
    files = {"spaceclip.json": ""}
    program = torch.export.load(file, extra_files=files)
    assert json.loads(files["spaceclip.json"])["Checkpoint"] == model.info.sha256
    given, expected = cached(split, model, [0, 1, 2])
    found = program.module()(*map(torch.from_numpy, given))
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-3)


def test_an_encoder_in_int8_takes_pixels_and_says_what_it_changes_in_abs_rel(export, model, trained_once):
    file, told = export("image.onnx", "--with-encoder", "--int8", "--config", "configs/tiny.yaml")
    (image,), (depth,) = session(file).get_inputs(), session(file).get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(uint8)", ["batch", 32, 32, 3])
    assert depth.shape == ["batch", 64, 64]
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(computed(file, {"image": pixels}), model.decode(pixels), rtol=0.05)
    assert "the whole frame resized to 24 x 32 and then 32 x 32" in properties(file)["Input image"]
    assert properties(file)["Linear-Layers"].startswith("int8")
    assert re.search(r"linear layers in int8, .* kB: largest difference to PyTorch \S+e-\d+ of the depth\n", told)
    found = re.search(
        r"AbsRel over 4 validation images: float32 ([0-9.]+), int8 ([0-9.]+) \(([-+][0-9.]+)\); validation", told
    )
    assert found, told
    # What training found on the same images, from features in float16.
    assert float(found[1]) == pytest.approx(model.info.metrics["abs_rel"], abs=2e-4)
    assert float(found[2]) == pytest.approx(float(found[1]), rel=0.05)
    assert float(found[2]) - float(found[1]) == pytest.approx(float(found[3]), abs=2e-4)


def test_the_document_goes_from_a_map_to_metres_and_points_as_predict_does(model):
    width, height = size = (80, 70)
    depth = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0)) * 12
    about = SimpleNamespace(custom_metadata_map=write._facts(model, DecoderGraph(model)))
    names: dict[str, Any] = {"np": np, "Image": Image, "photo": Image.new("RGB", size), "depth": depth.numpy()}
    names["session"] = SimpleNamespace(get_modelmeta=lambda: about)
    _, steps = (block.text for block in blocks("docs/export.md") if block.language == "python")
    exec(steps, names)
    expected = model.depth_map(np.zeros((height, width, 3), np.uint8), depth[0])
    np.testing.assert_allclose(names["metres"], expected.depth, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(names["valid"], expected.valid)
    assert 0.5 < expected.valid.mean() < 0.99
    camera = [names[one] for one in ("fx", "fy", "cx", "cy")]
    np.testing.assert_allclose(names["points"], expected.points(camera), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("factor", "found"), [(1.002, "0.002"), (torch.nan, "nan"), (torch.inf, "inf")])
def test_a_file_whose_depth_differs_is_not_written(factor, found, trained, one_line, monkeypatch):
    def wrong(graph, _facts):
        return b"new", lambda *inputs: factor * graph.reference(*inputs)

    monkeypatch.setattr(write, "_onnx", wrong)
    (trained / "a.onnx").write_bytes(b"old")
    told = one_line("export", "results/tiny", "--out", "a.onnx")
    assert f"not written, since its depth differs by {found} of PyTorch's: expected 1e-3 or less" in told
    assert (trained / "a.onnx").read_bytes() == b"old"


def test_a_file_that_has_no_depth_in_int8_is_not_written(trained, tiny, spaceclip, monkeypatch):
    monkeypatch.setattr(write, "_onnx", lambda graph, _facts: (b"whole", graph.reference))
    monkeypatch.setattr(write, "int8_linear", lambda _content: b"int8")
    monkeypatch.setattr(
        write, "OnnxFile", lambda _content: lambda *inputs: torch.full((len(inputs[0]), 64, 64), torch.nan)
    )
    options = ("--out", "a.onnx", "--backbone", tiny, "--with-encoder", "--int8")
    told = spaceclip("export", "results/tiny", *options, fails=True).output
    assert "Error: a.onnx: not written, since in int8 it has no depth (it differs by nan)" in told
    assert not (trained / "a.onnx").exists()


def test_a_record_from_before_patches_were_kept_has_the_encoder_asked(trained_once, tiny, model):
    found = SpaceClip.from_pretrained(trained_once / "results/tiny", backbone=tiny, device="cpu")
    assert found.info.patches == 16
    found.info = CheckpointInfo.model_validate({**found.info.model_dump(), "patches": None})
    assert [one.shape for one in DecoderGraph(found).example(2)] == [(2, 16), *[(2, 16, 16)] * 4]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["results/tiny", "--out", "a.txt"], "a.txt: no format is known by this ending; expected .onnx or .pt2"),
        (["results/tiny", "--out", "a.onnx", "--int8"], "give --with-encoder and an .onnx file"),
        (["results/tiny", "--out", "a.pt2", "--with-encoder", "--int8"], "give --with-encoder and an .onnx file"),
        (["results/tiny", "--out", "folder.onnx"], "folder.onnx: is a folder, expected the name of a file"),
        (["results/tiny", "--out", "file/a.onnx"], "file: cannot be written"),
        (["results/a/nothing", "--out", "a.onnx"], "results/a/nothing: no such folder"),
        (["results/tiny", "--out", "a.onnx", "--with-encoder"], "was read from a folder that is not recorded"),
    ],
)
def test_what_cannot_be_exported_is_one_line(trained, one_line, arguments, said):
    (trained / "folder.onnx").mkdir()
    (trained / "file").touch()
    assert said in one_line("export", *arguments)


def test_without_the_extra_the_line_says_how_to_install_it(trained, one_line, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    told = one_line("export", "results/tiny", "--out", "a.onnx")
    assert "onnx is not installed, which this needs: pip install 'spaceclip[export]'" in told
