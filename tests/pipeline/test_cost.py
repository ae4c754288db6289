"""What `spaceclip cost` says, against formulas and counts of its own."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from spaceclip.pipeline.config import load_experiment
from spaceclip.pipeline.cost import Cost, Source, measurement, memory
from spaceclip.pipeline.cost.measurement import Row
from spaceclip.pipeline.cost.source import ALONE, SEPARATE, SHARED, VARIANTS, Networks
from spaceclip.train import DecoderSettings, load_checkpoint
from transformers.models.clip import CLIPVisionConfig, CLIPVisionModel

MIB = 2**20


@pytest.fixture
def no_process(monkeypatch):
    """Memory without processes of its own, which take seconds each."""
    monkeypatch.setattr(
        measurement, "peak_memory", lambda _, variant, batches: [(VARIANTS.index(variant) + n) * MIB for n in batches]
    )


@pytest.fixture
def source(trained_once, tiny):
    return Source(f"{trained_once}/results/tiny", "cpu", "float32", "float32", backbone=tiny)


def tower_flop(shape):
    """Of one image in a tower: multiplications and additions of its matrix products, attention included."""
    width, inner, patch = shape["hidden_size"], shape["intermediate_size"], shape["patch_size"]
    patches = (shape["image_size"] // patch) ** 2
    tokens = patches + 1
    block = 2 * tokens * (4 * width**2 + 2 * width * inner) + 4 * tokens**2 * width
    return shape["num_hidden_layers"] * block + 2 * patches * 3 * patch**2 * width


@pytest.mark.usefixtures("no_process")
def test_json_has_what_was_counted_and_timed(trained, spaceclip, tiny):
    options = ["--batch", 2, "--batch", 1, "--repeats", 3, "--device", "cpu", "--json"]
    found = json.loads(spaceclip("cost", "results/tiny", "--backbone", tiny, *options).stdout)
    assert [(row["variant"], row["batch"]) for row in found["rows"]] == [
        (variant.name, batch) for batch in (1, 2) for variant in VARIANTS
    ]
    shape = json.loads(Path(tiny.removeprefix("random:")).read_text())
    tower = sum(one.numel() for one in CLIPVisionModel(CLIPVisionConfig.from_dict(shape)).parameters())
    decoder = sum(one.numel() for one in load_checkpoint("results/tiny").decoder.parameters())
    for alone, shared, separate in (found["rows"][:3], found["rows"][3:]):
        assert alone["gflop"] * 1e9 == pytest.approx(tower_flop(shape), rel=1e-6)
        assert separate["gflop"] == pytest.approx(alone["gflop"] + shared["gflop"])
        assert shared["gflop"] > alone["gflop"]
        weights = [row["parameters"] for row in (alone, shared, separate)]
        assert weights == [tower, tower + decoder, 2 * tower + decoder]
        assert all(0 < row["p50_ms"] <= row["p90_ms"] for row in (alone, shared, separate))
    for low, middle, high in found["added_latency"].values():
        assert low <= middle <= high
    assert found["memory_ratio"] == {"1": 2 / 3, "2": 3 / 4}
    assert found["authors"] is None  # of another encoder
    assert "1 thread" in found["machine"] or "threads" in found["machine"]


@pytest.mark.usefixtures("no_process")
def test_a_table_of_sizes_alone_says_that_weights_are_random(project, spaceclip):
    told = spaceclip("cost", "--config", "configs/tiny.yaml", "--repeats", 1, "--batch", 1, "--device", "cpu").output
    assert "random weights, seed 0" in told
    assert "decoder: random weights, " in told
    assert "| separate backbone + decoder |     1 |" in told
    assert "cost: time of a batch of 1: 3 rounds to warm up, then 1\n" in told
    assert "cost: memory of separate backbone + decoder\n" in told
    assert "(p10 " in told
    assert told.count("authors'") == 1
    assert "the authors' numbers are left out: they are of CLIP ViT-B/16 and the paper's decoder" in told
    assert "p50 and p90 of 1 round, each the three in turn" in told


def cost(**changed):
    rows = [Row(variant.name, batch, 10**6, 1.0, 1.0, 2.0, 3.0) for batch in (1, 4) for variant in VARIANTS]
    texts = dict.fromkeys(("encoder", "decoder", "machine", "memory"), "x")
    added, ratio = {1: [0.2, 0.3, 0.4], 4: [-0.28, 0.7, 5.73]}, {1: 0.5, 4: 0.6}
    given = {"repeats": 8, "rows": rows, "added_latency": added, "memory_ratio": ratio, "is_the_authors": True}
    return Cost(**texts, **{**given, **changed})


def test_the_authors_numbers_stand_beside_their_own_encoder_and_decoder_alone():
    told = cost().markdown()
    assert "authors' ms" in told
    assert "authors' 0.54" in told
    assert "authors' 0.59" in told
    assert "the authors' is an unnamed GPU, at batch 1" in told
    assert "left out" not in told
    assert cost().json()["authors"][SHARED.name] == {"p50_ms": 5.2, "memory_mib": 468.1}
    other = cost(is_the_authors=False)
    assert other.json()["authors"] is None
    assert other.markdown().count("authors'") == 1


@pytest.mark.parametrize(
    ("encoder", "decoder", "theirs"),
    [
        ({}, {}, True),
        ({}, {"dropout": 0.0, "head_bias": "pytorch"}, True),
        ({}, {"film": False}, False),
        ({}, {"channels": (128, 64, 32, 16)}, False),
        ({"channels": 192}, {}, False),
        ({"input_size": 336, "patches": 576}, {}, False),
    ],
)
def test_theirs_is_vit_b_16_with_the_papers_decoder(encoder, decoder, theirs):
    sizes: Any = SimpleNamespace(**{"depth": 12, "channels": 768, "patches": 196, "input_size": 224, **encoder})
    assert Networks([sizes], None, "float32", 0, DecoderSettings(**decoder)).are_the_authors is theirs


def test_added_latency_whose_spread_includes_zero_is_called_noise():
    (line,) = [line for line in cost().markdown().splitlines() if line.startswith("latency")]
    assert line.startswith(
        "latency, (shared - alone) / alone: 0.30 at batch 1 (p10 0.20, p90 0.40), 0.70 at batch 4 (p10"
    )
    assert "p90 5.73: noise, since zero lies between; give more --repeats, or a machine at rest)" in line


def test_each_variant_is_timed_in_turn_and_shared_is_one_pass_of_the_encoder(source, monkeypatch):
    networks, passes = source.load(SEPARATE), []
    for number, encoder in enumerate(networks.encoders):
        encode = encoder.encode
        monkeypatch.setattr(encoder, "encode", lambda *given, n=number, f=encode: passes.append(n) or f(*given))
    times = measurement._milliseconds(networks, networks.images(1), 2, lambda _done: None)
    assert times.shape == (2, 3)
    assert passes == [1, 1, 0, 1] * 5  # alone, shared, both of separate; three rounds to warm up
    assert networks.encoders[0].identity == networks.encoders[1].identity


def test_memory_is_that_of_weights_and_activations_in_a_fresh_process(project):
    experiment = load_experiment(project / "configs/tiny.yaml")
    tower = experiment.backbone.model_copy(update={"name": "embedded:clip-tiny"})
    source = Source(experiment.model_copy(update={"backbone": tower}), "cpu", "float32", "float32")
    weights = 4 * source.load(ALONE).parameters(SEPARATE)
    one, four = memory.peak_memory(source, SEPARATE, [1, 4])
    assert 0.9 * weights < one < four < weights + 200 * MIB


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["results/a/nothing"], "results/a/nothing: no such folder"),
        (["results/tiny", "--encoder-precision", "int8"], "precision: 'int8' is unknown; choose auto"),
        (["results/tiny", "--device", "tpu"], "device 'tpu': not on this machine"),
    ],
)
def test_what_cannot_be_measured_is_one_line(trained, tiny, one_line, arguments, said):
    assert said in one_line("cost", *arguments, "--backbone", tiny)


@pytest.mark.parametrize("arguments", [[], ["results/tiny", "--config", "configs/tiny.yaml"]])
def test_a_checkpoint_or_an_experiment_is_asked_for(trained, spaceclip, arguments):
    assert "give either a checkpoint or --config" in spaceclip("cost", *arguments, fails=True).output


def test_a_decoder_that_reads_layers_the_encoder_lacks_is_refused(project, one_line):
    (project / "deep.yaml").write_text(
        (project / "configs/tiny.yaml").read_text().replace("semantic_layers: [3,", "semantic_layers: [9,")
    )
    assert "layers: [9] asked for" in one_line("cost", "--config", "deep.yaml", "--device", "cpu")


def test_it_computes_in_the_precision_asked_for(source):
    networks = source.load(SHARED)
    assert networks.decoder is not None
    assert networks.decoder.dtype == torch.float32
    assert networks.encoders[0].identity["precision"] == "float32"
