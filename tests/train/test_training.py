import csv
import json
import os
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from spaceclip.cache import Batches, SpaceClipError
from spaceclip.train import Callbacks, DepthDecoder, Plan, engine, fit, load_checkpoint, range_warning, reading, step
from spaceclip.train.checkpoint import store_facts
from spaceclip.train.feed import on_device
from spaceclip.train.sealed import seal
from spaceclip.train.state import StateFolder
from spaceclip.train.step import TrainingStep
from torch import nn

PROTOCOL = {"name": "controlled"}


class Killed(BaseException):
    pass


@pytest.fixture
def cache(make_cache):
    return make_cache()


@pytest.fixture
def run(cache, small, recipe, tmp_path):
    """Trains into a folder; `kill_after` epochs it dies before the next one."""

    def start(out, kill_after=None, score=None, force=False, validation=None, **changes):
        told = []

        def each_epoch(_plan, epoch):
            told.append(epoch)
            if epoch.epoch == kill_after:
                raise Killed

        def mean_error(model):
            states = {n: torch.from_numpy(s) for n, s in cache.states([0, 1], layers=model.settings.layers).items()}
            with torch.no_grad():
                depth = model(states, torch.from_numpy(cache.pooled([0, 1])), (24, 32)).depth
            truth = torch.stack([torch.from_numpy(cache.depth(index)) for index in (0, 1)])[:, None]
            return {"abs_rel": float(((depth - truth).abs() / truth).mean())}

        (info,) = fit(
            cache,
            [Plan(tmp_path / out, small, recipe.model_copy(update=changes), PROTOCOL)],
            score=lambda candidates: [(score or mean_error)(one.decoder) for one in candidates],
            device=torch.device("cpu"),
            validation=validation,
            force=force,
            callbacks=Callbacks(each_epoch=each_epoch),
        )
        return info, told

    return start


def _history(folder):
    return list(csv.DictReader((folder / "history.csv").read_text().splitlines()))


def test_the_loss_falls_and_a_checkpoint_is_left(run, tmp_path):
    info, told = run("run", epochs=12)
    assert told[-1].loss < 0.7 * told[0].loss
    assert [row["epoch"] for row in _history(tmp_path / "run")] == [str(number) for number in range(1, 13)]
    loaded = load_checkpoint(tmp_path / "run")
    assert loaded.info == info.model_copy(update={"sha256": loaded.info.sha256})
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoint.json",
        "checkpoint.safetensors",
        "history.csv",
        "train_receipt.json",
    ]


def test_the_same_run_leaves_the_same_bytes_but_for_its_receipt(run, tmp_path):
    for name in ("one", "other"):
        run(name)
    one, other = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "other"))
    assert {name for name in one if one[name] != other[name]} == {"train_receipt.json"}


@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_a_resumed_run_has_bit_equal_losses_and_weights(run, tmp_path, killed_after):
    whole, _ = run("whole")
    with pytest.raises(Killed):
        run("resumed", kill_after=killed_after)
    assert not (tmp_path / "resumed" / "checkpoint.json").exists()
    resumed, _ = run("resumed")
    assert _history(tmp_path / "resumed") == _history(tmp_path / "whole")
    name = "checkpoint.safetensors"
    assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert resumed.model_copy(update={"receipt": whole.receipt}) == whole


def test_a_run_killed_within_an_epoch_redoes_that_epoch(run, tmp_path, monkeypatch):
    run("whole")
    step, calls = TrainingStep.__call__, []

    def dying(self, *args):
        calls.append(1)
        if len(calls) == 8:
            raise Killed
        return step(self, *args)

    monkeypatch.setattr(TrainingStep, "__call__", dying)
    with pytest.raises(Killed):
        run("resumed")
    run("resumed")
    assert len(calls) == 8 + 12 - 6
    assert _history(tmp_path / "resumed") == _history(tmp_path / "whole")


def test_a_finished_run_leaves_nothing_that_could_shortcut_the_next(run, tmp_path):
    _, first = run("run")
    _, second = run("run", force=True)
    assert first == second
    assert len(second) == 4


def test_other_settings_do_not_take_up_an_unfinished_run(run, tmp_path):
    with pytest.raises(Killed):
        run("run", kill_after=2)
    _, told = run("run", seed=43)
    assert [epoch.epoch for epoch in told] == [1, 2, 3, 4]
    assert len(list((tmp_path / "run").glob("unfinished-*"))) == 1
    _, told = run("run", force=True)
    assert len(told) == 4
    assert not list((tmp_path / "run").glob("unfinished-*"))


@pytest.mark.parametrize(
    ("raw", "ema", "kept"), [([3, 1, 2, 3], [4, 2, 2, 2], ("raw", 2)), ([3, 3, 3, 3], [5, 4, 2, 2.5], ("ema", 3))]
)
def test_the_lower_abs_rel_of_raw_and_ema_so_far_is_kept(run, tmp_path, raw, ema, kept):
    scores = iter([value for pair in zip(raw, ema, strict=True) for value in pair])
    models = []

    def score(model):
        models.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return {"abs_rel": float(next(scores))}

    info, _ = run("run", score=score)
    assert (info.weights, info.epoch) == kept
    expected = models[2 * (kept[1] - 1) + (kept[0] == "ema")]
    found = load_checkpoint(tmp_path / "run").decoder.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("slow", ["reading", "copying", "computing", "validating"])
def test_the_receipt_says_where_the_time_went(run, tmp_path, monkeypatch, slow):
    seconds = [0.0]
    monkeypatch.setattr(engine.time, "perf_counter", lambda: seconds[0])

    def costing(kind, work):
        def timed(*arguments):
            seconds[0] += 3.0 if kind == slow else 0.5
            return work(*arguments)

        return timed

    def read(batches, device):
        for inputs in engine_feed(batches, device):
            yield costing("reading", lambda inputs: inputs)(inputs)

    engine_feed = reading.feed
    monkeypatch.setattr(reading, "feed", read)
    monkeypatch.setitem(engine_feed.__globals__, "on_device", costing("copying", on_device))
    monkeypatch.setattr(TrainingStep, "__call__", costing("computing", TrainingStep.__call__))
    with pytest.raises(Killed):
        run("run", score=costing("validating", lambda _model: {"abs_rel": 1.0}), kill_after=2)
    seconds[0] += 1000  # between the two it is not running
    run("run", score=costing("validating", lambda _model: {"abs_rel": 1.0}))
    receipt = load_checkpoint(tmp_path / "run").info.receipt
    assert receipt is not None
    spent = {"reading": 12 * 0.5, "copying": 12 * 0.5, "computing": 12 * 0.5, "validating": 8 * 0.5}
    spent[slow] *= 6
    total = sum(spent.values())
    assert receipt.seconds == total
    assert receipt.images_per_second == 48 / total
    assert {kind: getattr(receipt, kind) for kind in spent} == pytest.approx({k: s / total for k, s in spent.items()})
    assert str(receipt).startswith(
        f"{48 / total:.3g} images/s over {total:.0f} s: {spent['reading'] / total:.0%} reading, "
        f"{spent['copying'] / total:.0%} copying"
    )


def test_an_overfit_run_sees_the_first_samples_alone(run, tmp_path, monkeypatch):
    order, seen = Batches.order, set()

    def watched(self, number):
        rows, flipped = order(self, number)
        seen.update(rows.ravel().tolist())
        return rows, flipped

    monkeypatch.setattr(Batches, "order", watched)
    run("run", overfit=4)
    assert seen == {0, 1, 2, 3}
    assert load_checkpoint(tmp_path / "run").info.training["overfit"] == 4


def test_a_non_finite_step_is_skipped_and_counted(run, monkeypatch):
    silog, calls = TrainingStep.__call__, []

    def sometimes_broken(self, states, pooled, target, valid, rate):
        calls.append(1)
        if len(calls) == 2:
            pooled = pooled * float("nan")
        before = [parameter.clone() for parameter in self.parameters]
        losses = silog(self, states, pooled, target, valid, rate)
        if len(calls) == 2:
            assert all(torch.equal(a, b) for a, b in zip(before, self.parameters, strict=True))
        return losses

    monkeypatch.setattr(TrainingStep, "__call__", sometimes_broken)
    _, told = run("run")
    assert [epoch.skipped for epoch in told] == [1, 0, 0, 0]
    assert all(epoch.loss == epoch.loss for epoch in told)


def test_non_finite_steps_in_a_row_end_the_run_with_advice(run, monkeypatch):
    step = TrainingStep.__call__
    monkeypatch.setattr(TrainingStep, "__call__", lambda self, s, p, *rest: step(self, s, p * float("nan"), *rest))
    with pytest.raises(SpaceClipError, match=r"not finite for 2 steps in a row \(epoch 1, by step 3\): lower"):
        run("run", max_skipped=2)
    with pytest.raises(SpaceClipError, match="not finite in any step of epoch 1 that had a valid pixel: lower"):
        run("run")


def test_an_epoch_whose_only_finite_steps_are_without_a_valid_pixel_ends_the_run(run, tmp_path, monkeypatch):
    step, calls = TrainingStep.__call__, []

    def broken_or_empty(self, states, pooled, target, valid, rate):
        calls.append(1)
        if len(calls) % 3 == 0:
            return step(self, states, pooled, target, torch.zeros_like(valid), rate)
        return step(self, states, pooled * float("nan"), target, valid, rate)

    monkeypatch.setattr(TrainingStep, "__call__", broken_or_empty)
    with pytest.raises(SpaceClipError, match="not finite in any step of epoch 1 that had a valid pixel: lower"):
        run("run")
    assert not (tmp_path / "run" / "checkpoint.json").exists()


@pytest.mark.parametrize(("low", "high"), [(0.0001, 0.001), (50, 80)])
def test_an_epoch_without_a_pixel_that_counts_ends_the_run(run, tmp_path, low, high):
    with pytest.raises(SpaceClipError, match=rf"no pixel of epoch 1 has a depth between .* \({low} to {high} m\)"):
        run("run", min_depth=low, max_depth=high)
    assert not (tmp_path / "run").exists()


def test_the_history_says_how_many_pixels_counted(run, cache, tmp_path):
    depth = np.stack([cache.depth(index) for index in range(len(cache))])
    run("run", max_depth=4.0, flip_probability=0)
    shares = [float(row["valid"]) for row in _history(tmp_path / "run")]
    assert shares == pytest.approx([float((depth < 4).mean())] * 4)


def test_the_range_is_judged_by_the_measured_pixels_alone(run, cache, tmp_path, monkeypatch):
    depth = np.stack([cache.depth(index) for index in range(len(cache))])
    depth[:, :12] = 0  # a sparse target: half of the pixels have no depth
    read = reading.feed

    def sparse(batches, device):
        for inputs in read(batches, device):
            inputs.depth[:, :, :12] = 0
            yield inputs

    monkeypatch.setattr(reading, "feed", sparse)
    _, told = run("run", max_depth=4.0, flip_probability=0)
    for epoch in told:
        assert epoch.measured == pytest.approx(0.5)
        assert epoch.valid / epoch.measured == pytest.approx((depth[depth > 0] < 4).mean())
        assert epoch.mean_depth == pytest.approx(depth[depth > 0].mean(), rel=1e-5)
    assert range_warning(0.5, 5.0, 0.001, 4) is None
    assert range_warning(0.173, 31.04, 0.001, 10) == (
        "only 17 % of the measured pixels lie within 0.001 to 10 m (mean depth 31 m): is the range or the unit right?"
    )


def test_a_decoder_that_predicts_nothing_but_zero_is_named_collapsed(run, tmp_path, monkeypatch):
    def dead(self, hidden):
        return self.predict(self.features(hidden)).clamp(max=0) * 0

    _, told = run("run")
    assert not any(epoch.collapsed for epoch in told)
    monkeypatch.setattr("spaceclip.train.blocks.DepthHead.forward", dead)
    _, told = run("run", force=True)
    assert [epoch.zero for epoch in told] == [1.0] * 4
    assert "COLLAPSED: 0 m predicted at 100% of the valid pixels" in str(told[0])


def test_a_finished_checkpoint_is_replaced_only_by_force_and_only_by_a_whole_run(run, tmp_path):
    run("run")
    files = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(
        SpaceClipError,
        match=r"run holds a finished checkpoint \(train\.seed 42 there, 43 now\): give another --out, or --force to",
    ):
        run("run", seed=43)
    with pytest.raises(Killed):
        run("run", seed=43, kill_after=2, force=True)
    assert {path: path.read_bytes() for path in files} == files
    run("run", seed=43, force=True)
    assert load_checkpoint(tmp_path / "run").info.training["seed"] == 43


def test_the_record_has_the_encoder_s_grid_and_one_from_before_is_found_finished(run, cache, tmp_path):
    info, _ = run("run", epochs=1)
    assert (info.image_size, info.patches) == (tuple(cache.identity["image_size"]), cache.identity["tokens"]["patches"])
    file = tmp_path / "run/checkpoint.json"
    content = json.loads(file.read_bytes())
    del content["image_size"], content["patches"], content["sealed"]
    file.write_bytes(seal(content))
    again, told = run("run", epochs=1)
    assert (again.image_size, again.patches, told) == (None, None, [])


def test_a_checkpoint_of_these_settings_and_stores_is_found_finished(run, make_cache):
    made, _ = run("run", epochs=1)
    found, reported = run("run", epochs=1)
    assert (found.model_copy(update={"sha256": ""}), reported) == (made, [])
    with pytest.raises(SpaceClipError, match=r"holds a finished checkpoint \(validation: 0 there, 1 now\)"):
        run("run", epochs=1, validation=make_cache(5, "val.zarr", seed=1))


def test_a_run_killed_after_its_checkpoint_was_written_ends_well_when_it_is_repeated(run, tmp_path, monkeypatch):
    monkeypatch.setattr(StateFolder, "remove", lambda self: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        run("run")
    before = (tmp_path / "run" / "checkpoint.json").read_bytes()
    monkeypatch.undo()
    run("run")
    assert (tmp_path / "run" / "checkpoint.json").read_bytes() == before
    assert not list((tmp_path / "run").glob("unfinished-*"))


def test_what_a_killed_run_began_is_gone_after_the_next(run, tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("checkpoint.safetensors", "train_receipt.json", "history.csv", "results.json"):
        (tmp_path / "run" / f".{name}.0123456789ab").touch()
    run("run", epochs=1)
    (left,) = (tmp_path / "run").glob(".*")
    assert left.name == ".results.json.0123456789ab"


def test_a_second_run_into_one_folder_is_turned_away(run):
    def score(model):
        with pytest.raises(SpaceClipError, match=rf"process {os.getpid()} on .* is writing this checkpoint"):
            run("run", seed=43)
        return {"abs_rel": 1.0}

    run("run", score=score, epochs=1)


@pytest.mark.parametrize(
    "failure", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore"), MemoryError()]
)
def test_out_of_memory_is_one_line_and_the_state_stays(run, tmp_path, monkeypatch, failure):
    with pytest.raises(Killed):
        run("run", kill_after=2)
    step = TrainingStep.__call__
    monkeypatch.setattr(TrainingStep, "__call__", lambda *_: (_ for _ in ()).throw(failure))
    with pytest.raises(
        SpaceClipError, match=r"^out of memory \([^\n]*\); lower batch_size, which is 4, or raise accumulate$"
    ):
        run("run")
    monkeypatch.setattr(TrainingStep, "__call__", step)
    assert len(run("run")[1]) == 4


def test_the_whole_step_computes_in_the_float32_of_its_precision_and_device(run, monkeypatch):
    within, seen, update = [], [], TrainingStep._update

    @contextmanager
    def float32_as(*given):
        within.append(given)
        yield
        within.clear()

    def watched(self, *args):
        seen.extend(within)
        return update(self, *args)

    monkeypatch.setattr(step, "float32_as", float32_as)
    monkeypatch.setattr(TrainingStep, "_update", watched)
    run("run", epochs=1)
    assert seen == [("float32", torch.device("cpu"))] * 3


def test_the_checkpoint_names_the_stores_it_was_trained_and_chosen_on(run, cache, make_cache, tmp_path):
    chosen_on = make_cache(5, "val.zarr", seed=1)
    run("run", validation=chosen_on, epochs=1)
    info = load_checkpoint(tmp_path / "run").info
    assert info.stores == store_facts(cache)
    assert info.validation == store_facts(chosen_on)


def test_every_parameter_is_trained(run, tmp_path, small, recipe):
    torch.manual_seed(recipe.seed)
    start = dict(DepthDecoder(small).named_parameters())
    run("run", score=lambda model: {"abs_rel": 1.0 if isinstance(model, nn.Module) else 0.0})
    found = load_checkpoint(tmp_path / "run").decoder
    idle = [name for name, tensor in found.named_parameters() if torch.equal(tensor, start[name])]
    assert [name for name in idle if not name.startswith("auxiliary_heads.2")] == []


def test_the_checkpoint_says_all_that_a_reader_must_know(run, tmp_path):
    run("run")
    content = json.loads((tmp_path / "run" / "checkpoint.json").read_bytes())
    assert content["backbone"]["name"] == "tiny"
    assert content["protocol"] == PROTOCOL
    assert (content["min_depth"], content["max_depth"]) == (0.001, 10.0)
    assert content["weights"] in ("raw", "ema")
    assert set(content["stores"][0]) == {"fingerprint", "ledger", "samples", "images", "split_by"}
    assert (content["training"]["seed"], content["training"]["ema_warmup"]) == (42, True)
