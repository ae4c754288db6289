"""Linear probes: ridge regression in closed form from one pass, against the same regression done the long way."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spaceclip.cache import DepthSpec, Entry, FeatureCache, Quarantined, SpaceClipError, StoreSpec, StoreWriter, joined
from spaceclip.cache.format.int8 import quantise
from spaceclip.evaluate import probe_csv, probe_figure, probe_layers, probe_markdown
from spaceclip.evaluate.probing.patches import PatchGrid
from spaceclip.evaluate.probing.ridge import STRENGTHS, ridge_fits

LAYERS, PATCHES, CHANNELS, SIZE, RANGE = (0, 3, 6), 9, 7, (17, 22), (0.001, 10.0)


@pytest.fixture
def store(tmp_path):
    """Writes a split whose tokens tell some of the depth; channel 1 is large, channel 2 never changes."""

    def make(name, scenes, images=3, seed=0, storage="float16", depth=True, unread=()):
        entries = [Entry(f"{name}{scene}/{n}", f"{name}{scene}", "1") for scene in range(scenes) for n in range(images)]
        spec = StoreSpec(
            backbone={"name": "tiny", "revision": "abc", "weights": "123", "precision": "float32"},
            preprocessing={"target_size": SIZE, "mean": (0.5, 0.5, 0.5)},
            layers=LAYERS,
            views=("plain", "flipped"),
            patches=PATCHES,
            channels=CHANNELS,
            image_size=(8, 8),
            depth=DepthSpec(0.001, SIZE) if depth else None,
            entries=entries,
            shard=4,
            storage=storage,  # pyright: ignore[reportArgumentType]
        )
        writer = StoreWriter(tmp_path / f"{name}.zarr", spec, {"split": name, "data": "nyu", "split_by": "scene"})
        draw = np.random.default_rng(seed)
        for shard in writer.pending:
            n = len(range(*spec.rows(shard)))
            far = np.exp(draw.normal(1, 0.5, (n, PATCHES)))
            block = {
                "pooled": draw.normal(size=(n, 2, CHANNELS)).astype(np.float32),
                "image": draw.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8),
            }
            for number, layer in enumerate(LAYERS):
                tokens = draw.normal(size=(n, 2, PATCHES, CHANNELS))
                tokens[..., 0] += np.log(far)[:, None] * (1 + number)
                tokens[..., 1] = 300 + tokens[..., 1] / 4 - 2 * tokens[..., 0]
                tokens[..., 2] = 3.7
                block[f"layers/{layer}"] = tokens.astype(np.float16)
                if storage == "int8":
                    steps, scales = quantise(block[f"layers/{layer}"].reshape(-1, PATCHES, CHANNELS))
                    block[f"layers/{layer}"] = steps.reshape(tokens.shape)
                    block[f"scales/{layer}"] = scales.reshape(n, 2, CHANNELS)
            if depth:
                rows, columns = (np.arange(length) * 3 // length for length in SIZE)
                metres = far.reshape(n, 3, 3)[:, rows[:, None], columns] * draw.uniform(0.8, 1.2, (n, *SIZE))
                metres[draw.random((n, *SIZE)) < 0.45] = 0
                block["depth"] = (metres * 1000).astype(np.uint32)
            rows = range(*spec.rows(shard))
            writer.write(shard, block, quarantined=[Quarantined(row, "", "torn") for row in unread if row in rows])
        return FeatureCache.open(tmp_path / f"{name}.zarr")

    return make


def slowly(features, layers):
    """Tokens [n, k] and mean depths [n] of the patches of a split, one pixel after the other."""
    states, tokens, depths = features.states(range(len(features)), layers=layers), [], []
    for image in features.usable:
        depth = features.depth(image)
        for patch in range(PATCHES):
            inside = [
                float(depth[i, j])
                for i in range(SIZE[0])
                for j in range(SIZE[1])
                if (i * 3 // SIZE[0]) * 3 + j * 3 // SIZE[1] == patch
            ]
            valid = [metres for metres in inside if RANGE[0] < metres < RANGE[1]]
            if len(valid) * 2 >= len(inside):
                tokens.append(np.concatenate([states[layer][image, patch].astype(np.float64) for layer in layers]))
                depths.append(math.fsum(valid) / len(valid))
    return np.array(tokens), np.array(depths)


def regression(tokens, target, strength):
    """Ridge as least squares of the augmented system, which is what scikit-learn's `Ridge(alpha=strength * n)` is."""
    mean, deviation = tokens.mean(0), tokens.std(0)
    deviation[np.ptp(tokens, axis=0) == 0] = 1
    scaled = (tokens - mean) / deviation
    system = np.vstack([scaled, math.sqrt(strength * len(tokens)) * np.eye(tokens.shape[1])])
    wanted = np.concatenate([target - target.mean(), np.zeros(tokens.shape[1])])
    weights = np.linalg.lstsq(system, wanted, rcond=None)[0] / deviation
    return lambda other: (other - mean) @ weights + target.mean()


def measured(predicted, depths):
    predicted = np.clip(predicted, *np.log(RANGE))
    truth, error = np.log(depths), np.exp(predicted) - depths
    r2 = 1 - np.square(truth - predicted).sum() / np.square(truth - truth.mean()).sum()
    return {"r2": r2, "abs_rel": (np.abs(error) / depths).mean(), "rmse": math.sqrt(np.square(error).mean())}


def probed(training, held_out, **options):
    return probe_layers(training, held_out, **{"pairs": True, "depth_range": RANGE, **options})


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_each_layer_and_pair_is_ridge_regression_to_a_millionth(store, storage):
    training, held_out = store("train", 9, storage=storage), store("val", 4, seed=1, storage=storage)
    for strength in (1e-6, 0.01):
        found = probed(training, held_out, strengths=[strength])
        assert [probe.layers for probe in found.probes] == [(0,), (3,), (6,), (0, 3), (0, 6), (3, 6)]
        for probe in found.probes:
            tokens, depths = slowly(training, probe.layers)
            predict = regression(tokens, np.log(depths), strength)
            other, truth = slowly(held_out, probe.layers)
            assert probe.metrics.model_dump() == pytest.approx(measured(predict(other), truth), rel=1e-6, abs=1e-6)
            assert (found.training.patches, found.held_out.patches) == (len(depths), len(truth))
            assert probe.metrics.r2 > 0.2


def test_weights_and_scores_are_those_of_scikit_learns_ridge_to_a_millionth(store):
    linear_model, preprocessing = map(pytest.importorskip, ("sklearn.linear_model", "sklearn.preprocessing"))

    def reference(tokens, target, strength):
        scaler = preprocessing.StandardScaler().fit(tokens)
        ridge = linear_model.Ridge(strength * len(tokens)).fit(scaler.transform(tokens), target)
        weights = ridge.coef_ / scaler.scale_
        return np.append(weights, ridge.intercept_ - weights @ scaler.mean_)

    training, held_out = store("train", 9), store("val", 4, seed=1)
    tokens, depths = slowly(training, (3, 6))
    other, truth = slowly(held_out, (3, 6))
    for strength in STRENGTHS:
        probe = probed(training, held_out, layers=(3, 6), strengths=[strength]).probes[-1]
        weights = reference(tokens, np.log(depths), strength)
        wanted = measured(other @ weights[:-1] + weights[-1], truth)
        assert probe.metrics.model_dump() == pytest.approx(wanted, rel=1e-6)
    tokens, target = ill_conditioned()
    design = np.column_stack([tokens, np.ones(len(tokens)), target])
    for strength, fitted in zip(STRENGTHS, ridge_fits(design.T @ design, STRENGTHS), strict=True):
        weights = reference(tokens, target, strength)
        assert np.abs(fitted - weights).max() < 1e-6 * np.abs(weights).max()


def ill_conditioned():
    """Tokens [3000, 60], their channels nearly dependent on each other and far from 0, and a target."""
    draw = np.random.default_rng(0)
    tokens = draw.normal(size=(3000, 60)) @ np.diag(np.geomspace(1e-3, 30, 60)) @ draw.normal(size=(60, 60)) + 20
    return tokens, draw.normal(size=3000) + tokens[:, 0]


def test_a_wide_ill_conditioned_regression_is_exact_too():
    tokens, target = ill_conditioned()
    design = np.column_stack([tokens, np.ones(3000), target])
    for strength, fitted in zip((1e-5, 1e-2), ridge_fits(design.T @ design, (1e-5, 1e-2)), strict=True):
        assert np.abs(tokens @ fitted[:-1] + fitted[-1] - regression(tokens, target, strength)(tokens)).max() < 1e-6


def test_the_strength_is_the_one_that_errs_least_between_the_two_halves_of_the_train_scenes(store):
    training, held_out = store("train", 6, images=2), store("val", 3, seed=1)
    strengths = (1e-4, 0.1, 0.3, 1.0, 100.0)
    found = probed(training, held_out, strengths=strengths)
    for probe in found.probes:
        tokens, depths, half = [], [], []
        for image in range(len(training)):
            known, metres = slowly(_One(training, image), probe.layers)
            tokens, depths = [*tokens, *known], [*depths, *metres]
            half += [int(training.scenes[image][-1]) % 2] * len(metres)
        tokens, target, half = np.array(tokens), np.log(depths), np.array(half)
        errors = []
        for strength in strengths:
            squared = 0
            for fold in (0, 1):
                predict = regression(tokens[half != fold], target[half != fold], strength)
                squared += np.square(predict(tokens[half == fold]) - target[half == fold]).sum()
            errors.append(squared)
        assert probe.ridge == strengths[int(np.argmin(errors))]
    assert len({probe.ridge for probe in found.probes}) > 1


class _One:
    """One image of a split."""

    def __init__(self, features, image):
        self._features, self._image, self.usable = features, image, [0]

    def __len__(self):
        return 1

    def states(self, _indices, layers):
        return self._features.states([self._image], layers=layers)

    def depth(self, _index):
        return self._features.depth(self._image)


def test_several_stores_are_probed_as_one(store):
    parts, held_out = [store("one", 4), store("two", 5, seed=2)], store("val", 3, seed=1)
    found = probed(joined(parts), held_out, strengths=[0.01])
    pairs = [slowly(part, (3,)) for part in parts]
    tokens, depths = np.concatenate([one for one, _ in pairs]), np.concatenate([metres for _, metres in pairs])
    other, truth = slowly(held_out, (3,))
    wanted = measured(regression(tokens, np.log(depths), 0.01)(other), truth)
    assert found.probes[1].metrics.model_dump() == pytest.approx(wanted, abs=1e-6)
    assert found.training.stores == tuple(part.digest for part in parts)


def test_samples_that_could_not_be_read_count_nowhere_and_are_said(store):
    training, held_out = store("train", 4, unread=(0, 5)), store("val", 3, seed=1, unread=(8,))
    found = probed(training, held_out, strengths=[0.01])
    tokens, depths = slowly(training, (3,))
    other, truth = slowly(held_out, (3,))
    wanted = measured(regression(tokens, np.log(depths), 0.01)(other), truth)
    assert found.probes[1].metrics.model_dump() == pytest.approx(wanted, abs=1e-6)
    assert (found.training.images, found.training.quarantined) == (10, 2)
    assert "of the val split, 1 quarantined" in found.caption


def test_predictions_without_an_image_are_scored_on_the_same_patches(store):
    training, held_out = store("train", 5), store("val", 3, seed=1)
    found = probed(training, held_out, strengths=[0.01])
    known = [[[] for _ in range(PATCHES)] for _ in range(2)]
    for seen, features in zip(known, (training, held_out), strict=True):
        grid = PatchGrid(PATCHES, SIZE)
        for image in range(len(features)):
            for patch, metres in enumerate(grid.mean_depth(features.depth(image)[None], *RANGE)[0]):
                seen[patch] += [metres] if metres else []
    truth = np.concatenate(known[1])
    mean = np.concatenate([[np.mean(seen)] * len(after) for seen, after in zip(*known, strict=True)])
    assert found.baselines["mean map"].model_dump() == pytest.approx(measured(np.log(mean), truth), rel=1e-5)
    assert found.best_baseline("r2") in found.baselines
    r2 = [metrics.r2 for metrics in found.baselines.values()]
    assert found.baselines[found.best_baseline("r2")].r2 == max(r2)
    abs_rel = [metrics.abs_rel for metrics in found.baselines.values()]
    assert found.baselines[found.best_baseline("abs_rel")].abs_rel == min(abs_rel)


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(0, 9), st.integers(0, 9), st.integers(0, 99))
def test_a_patch_has_the_mean_of_its_valid_pixels_if_they_are_half_of_it(side, down, across, seed):
    height, width = side + down, side + across
    depth = np.random.default_rng(seed).choice([0, 1, 2, 3.5, 12], (2, height, width))
    found = PatchGrid(side * side, (height, width)).mean_depth(depth, 0.5, 10)
    edges = [[next(i for i in range(n + 1) if i * side >= k * n) for k in range(side + 1)] for n in (height, width)]
    for image in range(2):
        for row, (top, bottom) in enumerate(pairwise(edges[0])):
            for column, (left, right) in enumerate(pairwise(edges[1])):
                inside = depth[image, top:bottom, left:right]
                valid = inside[(inside > 0.5) & (inside < 10)]
                mean = valid.mean() if valid.size * 2 >= inside.size else 0
                assert found[image, row * side + column] == pytest.approx(mean)


def test_every_output_says_what_was_measured(store):
    found = probed(store("train", 5), store("test", 3, seed=1), split="test", name="mine")
    table = probe_markdown(found)
    lines = probe_csv(found).splitlines()
    for text in (
        "NYU Depth V2, features mine",
        f"scored on 9 images (3 scenes, {found.held_out.patches} patches) of the test split",
        f"fitted to 15 images (5 scenes, {found.training.patches} patches) of the train split; plain view, float16",
        "ridge: the one of 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1e0 that predicts best from half of the train scenes",
        "encoder tiny (abc, weights 123)",
        "Warning: this is a look at the test split",
        "The 3 of 3 pairs of hidden states with the lowest AbsRel here",
        "\n| Hidden state ",
    ):
        assert text in table
    assert len(lines) == 1 + 6 + 4
    assert lines[4].startswith("0 3,,")
    assert all(",nyu,mine,test,9," in line for line in lines[1:])
    assert probe_figure(found).startswith(b"\x89PNG")
    random = found.backbone.model_copy(update={"random": True})
    assert "RANDOM WEIGHTS" in probe_markdown(found.model_copy(update={"backbone": random}))


def test_probes_that_take_the_smallest_or_largest_ridge_are_named(store):
    found = probed(store("train", 5), store("test", 3, seed=1), strengths=[1e-9, 1e-8])
    text = "\n".join(found.warnings)
    for strength, name, short in ((1e-9, "smallest", "1e-9"), (1e-8, "largest", "1e-8")):
        layers = [" + ".join(map(str, probe.layers)) for probe in found.probes if probe.ridge == strength]
        said = f"{len(layers)} of 6 probes take the {name} ridge tried, {short} (hidden states {', '.join(layers)})"
        assert (said in text) == bool(layers)


@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        ({"scenes": 4}, {"strengths": [0.1, -1]}, r"ridge -1: expected a strength above 0"),
        ({"scenes": 4}, {"layers": [0, 4]}, r"lacks the hidden states \[4\], .*spaceclip extract --layers 0,3,4,6"),
        ({"scenes": 4, "depth": False}, {}, r"holds images without depth; extract it with --depth"),
        ({"scenes": 1}, {}, r"has one scene only; give one strength \(--ridge 1e-3\)"),
        ({"scenes": 4}, {"depth_range": (20.0, 30.0)}, r"no patch of any image has half of its pixels within 20 to"),
        ({"scenes": 4}, {"depth_range": (2.0, 1.0)}, r"the depth range is 2 to 1 m"),
    ],
)
def test_what_cannot_be_probed_is_named(store, train, options, message):
    training, held_out = store("train", **train), store("val", 3, seed=1)
    with pytest.raises(SpaceClipError, match=message) as error:
        probed(training, held_out, **options)
    assert "\n" not in str(error.value)


def test_one_scene_is_enough_for_a_given_strength(store):
    assert len(probed(store("train", 1), store("val", 1, seed=1), strengths=[0.1]).probes) == 6
