"""Decoders that are trained on one read of the features come out as if each were trained alone."""

import csv
from functools import partial
from threading import Barrier, Event

import pytest
import torch
from spaceclip.cache import SpaceClipError
from spaceclip.train import Callbacks, Plan, fit
from spaceclip.train.run import Run
from spaceclip.train.side_by_side import HELD, at_once, side_by_side
from spaceclip.train.state import code
from spaceclip.train.step import TrainingStep
from torch.utils._python_dispatch import TorchDispatchMode

CPU = torch.device("cpu")
FILES = ("checkpoint.safetensors", "history.csv")


class Killed(BaseException):
    pass


@pytest.fixture
def plans(tmp_path, small, recipe):
    """Decoders that differ in all that they may, to be trained in a folder of this name."""

    def make(folder):
        decoders = {
            "whole": (small, {}),
            "shallow": (
                small.model_copy(update={"structural": False, "dropout": 0.3}),
                {"seed": 7, "epochs": 2, "accumulate": 3},
            ),
            "steep": (small.model_copy(update={"film": False}), {"learning_rate": 1e-2, "ema_decay": 0.5}),
            "near": (small, {"max_depth": 4.0, "precision": "bfloat16", "keep": "last"}),
        }
        base = recipe.model_copy(update={"order_seed": 42, "epochs": 3})
        return [
            Plan(tmp_path / folder / name, decoder, base.model_copy(update=changes), {})
            for name, (decoder, changes) in decoders.items()
        ]

    return make


def score(candidates):
    """Something that depends on the weights alone."""
    return [{"abs_rel": float(one.decoder.head.predict.weight.detach().abs().sum())} for one in candidates]


def contents(plans):
    return {plan.out.name: [(plan.out / name).read_bytes() for name in FILES] for plan in plans}


@pytest.fixture
def cache(make_cache):
    return make_cache(12)


@pytest.fixture(params=[1, 4])
def alone(cache, plans, request):
    """What each comes to when it is trained by itself on one thread; decoders together have one or one each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for plan in plans("alone"):
        fit(cache, [plan], score=score, device=CPU)
    torch.set_num_threads(request.param)
    yield contents(plans("alone"))
    torch.set_num_threads(before)


def test_each_is_bit_equal_to_the_one_trained_alone(cache, plans, alone):
    infos = fit(cache, plans("together"), score=score, device=CPU)
    assert [info.training["learning_rate"] for info in infos] == [3e-3, 3e-3, 1e-2, 3e-3]
    assert contents(plans("together")) == alone
    assert len({weights for weights, _ in alone.values()}) == 4


@pytest.fixture
def threads():
    """Sets how many threads PyTorch has."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(("count", "busy", "share"), [(1, 1, 1), (2, 2, 1), (4, 4, 1), (11, 5, 2)])
def test_on_a_processor_decoders_work_at_once_with_a_share_of_the_threads(threads, count, busy, share):
    threads(count)
    assert at_once(5, CPU) == busy
    assert at_once(5, torch.device("cuda")) == 1
    meeting, found = Barrier(busy, timeout=20), {}

    def work(number):
        if number < busy:
            meeting.wait()  # nobody comes back before so many are here
        found[number] = torch.get_num_threads()

    with side_by_side(5, CPU) as each:
        each(work)
        each.finish()
    assert found == dict.fromkeys(range(5), share)
    assert torch.get_num_threads() == count


def test_no_thread_waits_for_the_slowest_of_a_batch(threads):
    threads(2)
    later, done = Event(), []

    def work(batch, number):
        if (batch, number) == (0, 2):
            assert later.wait(20)
        if (batch, number) == (1, 0):
            later.set()
        done.append((batch, number))

    with side_by_side(3, CPU) as each:
        for batch in range(4):
            each(partial(work, batch))
            # Its memory is used again once HELD - 1 more batches are handed out.
            assert {(at, number) for at in range(batch + 2 - HELD) for number in range(3)} <= {*done}
        each.finish()
    assert [[batch for batch, one in done if one == number] for number in range(3)] == [[0, 1, 2, 3]] * 3


def test_what_one_decoder_raises_ends_the_work_of_all(threads):
    threads(2)

    def work(number):
        if number == 1:
            raise Killed

    with side_by_side(3, CPU) as each:
        each(work)
        with pytest.raises(Killed):
            each.finish()


@pytest.mark.parametrize("killed_at", [9, 22])
def test_runs_killed_in_mid_epoch_go_on_to_the_very_same_result(cache, plans, alone, monkeypatch, killed_at):
    together = plans("together")
    for at, plan in enumerate(together):
        # Each is further on than another when all are killed.
        together[at] = Plan(plan.out, plan.decoder, plan.settings.model_copy(update={"save_every": 2 + at}), {})
    calls, step = [], TrainingStep.__call__

    def dying(self, *arguments):
        calls.append(1)
        if len(calls) == killed_at:
            raise Killed
        return step(self, *arguments)

    monkeypatch.setattr(TrainingStep, "__call__", dying)
    with pytest.raises(Killed):
        fit(cache, together, score=score, device=CPU)
    before = len(calls)
    fit(cache, together, score=score, device=CPU)
    assert contents(together) == alone
    whole = 3 * (3 + 2 + 3 + 3)
    saved = whole - (len(calls) - before)
    assert saved >= killed_at - 1 - sum(2 + at for at in range(4))


def test_one_that_fails_is_reported_and_the_others_go_on(cache, plans, alone):
    together, dropped = plans("together"), []
    broken = Plan(together[0].out, together[0].decoder, together[0].settings.model_copy(update={"max_depth": 0.01}), {})
    some = [broken, *together[1:]]
    infos = fit(
        cache, some, score=score, device=CPU, callbacks=Callbacks(dropped=lambda plan, _error: dropped.append(plan))
    )
    assert (dropped, len(infos)) == ([broken], 3)
    with pytest.raises(SpaceClipError, match=r"^1 of 4 decoders could not be trained: .*whole: no pixel of epoch 1"):
        fit(cache, some, score=score, device=CPU)
    with pytest.raises(SpaceClipError, match=r"^no pixel of epoch 1"):
        fit(cache, [broken], score=score, device=CPU)
    assert contents(together[1:]) == {name: alone[name] for name in ("shallow", "steep", "near")}
    assert not (broken.out / "checkpoint.json").exists()


def test_one_that_cannot_be_finished_is_reported_and_the_others_go_on(cache, plans, alone, monkeypatch):
    together, dropped, finish = plans("together"), [], Run.finish
    monkeypatch.setattr(Run, "finish", lambda _run: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        fit(cache, together, score=score, device=CPU)  # the shortest, which is the second, has done all its epochs

    def full(run):
        if run.plan == together[1]:
            raise SpaceClipError("no space left")
        finish(run)

    monkeypatch.setattr(Run, "finish", full)
    infos = fit(
        cache, together, score=score, device=CPU, callbacks=Callbacks(dropped=lambda plan, _error: dropped.append(plan))
    )
    assert (dropped, len(infos)) == ([together[1]], 3)
    rest = [together[0], *together[2:]]
    assert contents(rest) == {name: alone[name] for name in ("whole", "steep", "near")}


def test_one_that_cannot_be_scored_is_reported_and_the_others_go_on(cache, plans, alone):
    together, dropped = plans("together"), []

    def score_all_but_one(candidates):
        lost = SpaceClipError("sample 3: the prediction is nan")
        scores = zip(candidates, score(candidates), strict=True)
        return [lost if one.plan.out == together[1].out else found for one, found in scores]

    fit(
        cache,
        together,
        score=score_all_but_one,
        device=CPU,
        callbacks=Callbacks(dropped=lambda plan, _error: dropped.append(plan)),
    )
    assert dropped == [together[1]]
    with pytest.raises(SpaceClipError, match=r"^1 of 4 decoders could not be trained: .*shallow: the raw weights"):
        fit(cache, together, score=score_all_but_one, device=CPU)
    assert contents([together[0], *together[2:]]) == {name: alone[name] for name in ("whole", "steep", "near")}
    with pytest.raises(
        SpaceClipError,
        match=r"^the raw weights of epoch 1 cannot be scored \(sample 3: the prediction is nan\): if training div",
    ):
        fit(cache, together[1:2], score=score_all_but_one, device=CPU)


def test_what_is_finished_stays_and_the_rest_is_trained(cache, plans, alone):
    torch.set_num_threads(1)  # two would have two each of four
    fit(cache, plans("together")[:2], score=score, device=CPU)
    told = []
    fit(
        cache,
        plans("together"),
        score=score,
        device=CPU,
        callbacks=Callbacks(each_epoch=lambda plan, _epoch: told.append(plan.out.name)),
    )
    assert set(told) == {"steep", "near"}
    assert contents(plans("together")) == alone


def test_training_draws_nothing_from_the_global_random_stream(cache, plans):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    fit(cache, plans("together")[:1], score=score, device=CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_plans_that_do_not_go_together_are_refused(cache, plans):
    first, second, *_ = plans("together")
    other = Plan(second.out, second.decoder, second.settings.model_copy(update={"batch_size": 2}), {})
    with pytest.raises(SpaceClipError, match="differ in batch_size 2 and 4: decoders that are trained together see"):
        fit(cache, [first, other], score=score, device=CPU)
    seeds = [
        Plan(plan.out, plan.decoder, plan.settings.model_copy(update={"order_seed": None, "seed": seed}), {})
        for plan, seed in ((first, 1), (second, 2))
    ]
    with pytest.raises(SpaceClipError, match="differ in order_seed 2 and 1"):
        fit(cache, seeds, score=score, device=CPU)
    with pytest.raises(SpaceClipError, match="whole: two decoders would be written there"):
        fit(cache, [first, first], score=score, device=CPU)


def test_the_history_is_written_as_it_grows(cache, plans):
    rows = []

    def each_epoch(plan, _epoch):
        rows.append(len(list(csv.DictReader((plan.out / "history.csv").read_text().splitlines()))))

    fit(cache, plans("together")[:1], score=score, device=CPU, callbacks=Callbacks(each_epoch=each_epoch))
    assert rows == [1, 2, 3]


class NoWaiting(TorchDispatchMode):
    """Refuses what brings a value from a device to the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        waits = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "unique")
        name = func.name().removeprefix("aten::").partition(".")[0]
        if name in waits or (name == "index" and any(getattr(one, "dtype", None) == torch.bool for one in args[1])):
            raise AssertionError(f"{func.name()} waits for the device")
        return func(*args, **(kwargs or {}))


def test_no_step_waits_for_the_device(cache, plans, monkeypatch):
    from spaceclip.train.trainee import Trainee

    step = Trainee.step

    def watched(self, inputs):
        with NoWaiting():
            step(self, inputs)

    monkeypatch.setattr(Trainee, "step", watched)
    fit(cache, plans("together"), score=score, device=CPU)
    with pytest.raises(AssertionError, match="_local_scalar_dense waits"), NoWaiting():
        bool(torch.ones(()).isfinite())


def test_only_what_the_code_says_decides_whether_a_run_can_go_on(tmp_path):
    sources = {
        "as it is": '"""Text."""\ndef f(x):\n    """More."""\n    return x + 1  # why\n',
        "other words": '"""Other."""\n\n\ndef f(x):\n    # why not\n    return x + 1\n',
        "other numbers": "def f(x):\n    return x + 2\n",
    }
    said = {}
    for name, text in sources.items():
        (tmp_path / "step.py").write_text(text)
        said[name] = code([tmp_path / "step.py"])
    assert said["as it is"] == said["other words"] != said["other numbers"]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_ends_its_decoder_at_once(cache, plans, alone, wrong):
    together = plans("together")
    scored = []

    def sometimes(candidates):
        scored.append(1)
        found = score(candidates)
        for at, one in enumerate(candidates):
            found[at] = {"abs_rel": wrong} if one.plan is together[0] else found[at]
        return found

    with pytest.raises(SpaceClipError, match=r"whole: the raw weights of epoch 1 have no finite validation scores"):
        fit(cache, together, score=sometimes, device=CPU)
    assert contents(together[1:]) == {name: alone[name] for name in ("shallow", "steep", "near")}


def test_layers_that_the_store_lacks_are_named_with_their_decoder_before_any_folder_is_made(cache, plans):
    first, second, *_ = plans("together")
    other = Plan(second.out, second.decoder.model_copy(update={"semantic_layers": (9, 2, 1, 0)}), second.settings, {})
    with pytest.raises(SpaceClipError, match=r"shallow: .* lacks the hidden states \[9\]"):
        fit(cache, [first, other], score=score, device=CPU)
    assert not first.out.exists()
