"""A decoder that predicts 0 m and cannot learn is named, and by setting stopped or started again."""

import csv

import pytest
import torch
from spaceclip.cache import SpaceClipError
from spaceclip.train import Callbacks, DepthDecoder, Plan, fit, load_checkpoint
from spaceclip.train.step import TrainingStep

CPU = torch.device("cpu")
FILES = ("checkpoint.safetensors", "history.csv")


class Killed(BaseException):
    pass


@pytest.fixture
def cache(make_cache):
    return make_cache()


@pytest.fixture
def plan(tmp_path, small, recipe):
    def make(name, **changes):
        settings = {"keep": "last", "order_seed": 42, "epochs": 2, **changes}
        return Plan(tmp_path / name, small, recipe.model_copy(update=settings), {})

    return make


@pytest.fixture
def train(cache):
    def start(*plans):
        epochs = []
        fit(
            cache,
            plans,
            score=None,
            device=CPU,
            callbacks=Callbacks(each_epoch=lambda plan, epoch: epochs.append((plan.out.name, epoch))),
        )
        return epochs

    return start


@pytest.fixture(autouse=True)
def _dead_of_some_seeds(monkeypatch):
    def some_dead(settings):
        decoder = DepthDecoder(settings)
        if torch.initial_seed() in (42, 1042, 5, 1005, 2005, 3005):
            with torch.no_grad():
                decoder.head.predict.bias.fill_(-50)  # pyright: ignore[reportOptionalMemberAccess]
        return decoder

    monkeypatch.setattr("spaceclip.train.start.DepthDecoder", some_dead)


def contents(plan):
    rows = list(csv.DictReader((plan.out / "history.csv").read_text().splitlines()))
    return (plan.out / "checkpoint.safetensors").read_bytes(), [{**row, "restarts": ""} for row in rows]


def test_by_default_it_is_named_and_goes_on(train, plan):
    epochs = train(plan("run"))
    assert [(epoch.collapsed, epoch.zero, epoch.head_gradient) for _, epoch in epochs] == [(True, 1.0, 0.0)] * 2
    assert "COLLAPSED: 0 m predicted at 100% of the valid pixels, gradient at the head 0" in str(epochs[0][1])
    assert not any(epoch.collapsed for _, epoch in train(plan("well", seed=7)))


def test_it_may_stop_the_run(train, plan):
    stopped = plan("run", collapse="stop")
    for _ in range(2):  # the same command again comes to the same
        with pytest.raises(SpaceClipError, match=r"^collapsed in epoch 1 \(0 m predicted at 100% .*; seed 42\): lower"):
            train(stopped)
    assert not (stopped.out / "checkpoint.json").exists()


def test_a_restart_is_the_run_of_the_next_initialisation(train, plan):
    again, other = plan("again", collapse="restart"), plan("other", seed=2042)
    epochs = train(again)
    assert [(epoch.epoch, epoch.restarts, epoch.collapsed) for _, epoch in epochs] == [
        *((1, 0, True), (1, 1, True), (1, 2, False), (2, 2, False))
    ]
    train(other)
    assert contents(again) == contents(other)
    collapsed = load_checkpoint(again.out).info.collapsed
    assert [(start["seed"], start["epoch"], start["zero"]) for start in collapsed] == [(42, 1, 1.0), (1042, 1, 1.0)]
    assert train(again) == []  # found finished


@pytest.mark.parametrize("killed_at", [2, 5, 8, 11])
def test_a_killed_run_goes_on_from_its_restart(train, plan, monkeypatch, killed_at):
    whole, resumed = plan("whole", collapse="restart"), plan("resumed", collapse="restart", save_every=2)
    train(whole)
    step, calls = TrainingStep.__call__, []

    def dying(self, *arguments):
        calls.append(1)
        if len(calls) == killed_at:
            raise Killed
        return step(self, *arguments)

    monkeypatch.setattr(TrainingStep, "__call__", dying)
    with pytest.raises(Killed):
        train(resumed)
    train(resumed)
    assert contents(resumed) == contents(whole)
    assert load_checkpoint(resumed.out).info.collapsed == load_checkpoint(whole.out).info.collapsed


def test_it_is_started_again_three_times_and_no_more(train, plan):
    with pytest.raises(SpaceClipError, match="seed 5, 1005, 2005, 3005"):
        train(plan("run", seed=5, collapse="restart"))


def test_beside_others_one_starts_again_and_another_is_dropped(train, plan):
    decoders = {"well": {"seed": 7}, "again": {"collapse": "restart"}, "lost": {"collapse": "stop"}}
    for name in ("well", "again"):
        train(plan(f"{name} alone", **decoders[name]))
    with pytest.raises(SpaceClipError, match=r"^1 of 3 decoders could not be trained: .*lost: collapsed in epoch 1"):
        train(*(plan(name, **changes) for name, changes in decoders.items()))
    for name in ("well", "again"):
        assert contents(plan(name)) == contents(plan(f"{name} alone"))
