"""What `spaceclip cost` says, against formulas and counts of its own."""

import json
from pathlib import Path

import pytest
import torch
from spaceclip.pipeline.config import load_experiment
from spaceclip.pipeline.cost import Source, measurement, memory
from spaceclip.pipeline.cost.source import ALONE, SEPARATE, SHARED, VARIANTS
from spaceclip.train import load_checkpoint
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
def test_json_has_what_was_counted_and_timed_beside_the_authors_numbers(trained, spaceclip, tiny):
    options = ["--batch", 2, "--batch", 1, "--repeats", 3, "--device", "cpu", "--json"]
    found = json.loads(spaceclip("cost", "results/tiny", "--backbone", tiny, *options).output)
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
    assert found["authors"][SHARED.name] == {"p50_ms": 5.2, "memory_mib": 468.1}
    assert "1 thread" in found["machine"] or "threads" in found["machine"]


@pytest.mark.usefixtures("no_process")
def test_a_table_of_sizes_alone_says_that_weights_are_random(project, spaceclip):
    told = spaceclip("cost", "--config", "configs/tiny.yaml", "--repeats", 1, "--batch", 1, "--device", "cpu").output
    assert "random weights, seed 0" in told
    assert "decoder: random weights, " in told
    assert "| separate backbone + decoder |     1 |" in told
    assert "authors' 0.54" in told
    assert "authors' 0.59" in told
    assert "(p10 " in told
    assert "p50 and p90 of 1 round, each the three in turn" in told
    assert "the authors' is an unnamed GPU" in told


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
