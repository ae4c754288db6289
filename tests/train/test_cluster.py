"""Decoders trained on the workers of a Dask cluster come out as from one process, whatever becomes of a worker."""

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from spaceclip.cache import SpaceClipError
from spaceclip.cache.cluster import local_cluster
from spaceclip.train import Callbacks, Plan, fit
from spaceclip.train.cluster import fit_on
from spaceclip.train.cluster.job import shares

CPU = partial(torch.device, "cpu")
FILES = ("checkpoint.safetensors", "history.csv")


@pytest.fixture(scope="module")
def cluster(forked_workers):
    with local_cluster(2, gpus=False) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.fixture
def plans(tmp_path, small, recipe):
    """Two decoders of each of two seeds, to be trained in a folder of this name."""

    def make(folder, **changes):
        return [
            Plan(tmp_path / folder / f"{name}{seed}", decoder, settings, {})
            for seed in (1, 2)
            for settings in [recipe.model_copy(update={"epochs": 3, "seed": seed, **changes})]
            for name, decoder in (("whole", small), ("flat", small.model_copy(update={"film": False, "dropout": 0.3})))
        ]

    return make


def contents(plans):
    return {plan.out.name: [(plan.out / name).read_bytes() for name in FILES] for plan in plans}


def on(cluster, cache, plans, **given):
    return fit_on(cluster, cache, plans, score=None, device=CPU, **given)


@pytest.fixture
def slow(cluster):
    """Steps on the workers take so long that something can happen meanwhile; not on those that are started anew."""

    def brake(seconds):
        import time

        from spaceclip.train.trainee import Trainee

        trainee: Any = Trainee
        trainee.fast = getattr(trainee, "fast", trainee.step)
        trainee.step = lambda self, inputs: (time.sleep(seconds), trainee.fast(self, inputs))

    cluster.wait_for_workers(2, timeout=60)
    cluster.run(brake, 0.08)
    yield
    cluster.run(brake, 0)


@pytest.fixture
def alone(make_cache, plans):
    for plan in plans("alone", keep="last"):
        fit(make_cache(12), [plan], score=None, device=CPU())
    return contents(plans("alone"))


def test_two_workers_give_the_results_of_one_process(cluster, make_cache, plans, alone):
    told, workers, done = [], [], []
    together = plans("together", keep="last")
    infos = on(
        *(cluster, make_cache(12), together),
        callbacks=Callbacks(
            lambda *found: done.append(found), lambda plan, epoch: told.append((plan.out.name, epoch.epoch))
        ),
        workers=workers.append,
    )
    assert contents(together) == alone
    assert [info.training["seed"] for info in infos] == [1, 1, 2, 2]
    assert sorted(told) == [(name, epoch) for name in sorted(alone) for epoch in (1, 2, 3)]
    assert max(workers) == 2
    assert done[-1] == (36, 36)


@pytest.mark.usefixtures("slow")
def test_decoders_of_a_worker_that_is_lost_go_on_elsewhere(cluster, make_cache, plans, alone):
    together = plans("together", keep="last", save_every=2)
    victims, again = [], []

    def kill(plan, epoch):
        if epoch.epoch == 1 and not victims:
            holder = (plan.out / ".checkpoint.lock").read_text()
            victims.append(int(holder.split()[1]))
            os.kill(victims[0], signal.SIGKILL)

    on(
        cluster,
        make_cache(12),
        together,
        callbacks=Callbacks(each_epoch=kill, beginning=lambda _plan, done, *_: again.append(done)),
    )
    assert contents(together) == alone
    assert len(victims) == 1
    assert len(again) >= 5
    assert again[:4].count(0) >= 2
    assert min(again[4:]) >= 2
    assert not list(Path(together[0].out.parent).rglob("unfinished-*"))


def test_one_that_fails_is_reported_and_the_others_go_on(cluster, make_cache, plans, alone):
    together, dropped = plans("together", keep="last"), []
    broken = Plan(together[2].out, together[2].decoder, together[2].settings.model_copy(update={"max_depth": 0.01}), {})
    together[2:3] = [broken]
    infos = on(
        cluster,
        make_cache(12),
        together,
        callbacks=Callbacks(dropped=lambda plan, error: dropped.append((plan, str(error)[:21]))),
    )
    assert dropped == [(broken, "no pixel of epoch 1 h")]
    assert len(infos) == 3
    rest = [plan for plan in together if plan is not broken]
    assert contents(rest) == {plan.out.name: alone[plan.out.name] for plan in rest}
    with pytest.raises(SpaceClipError, match=r"^1 of 4 decoders could not be trained: .*whole2: no pixel of epoch 1"):
        on(cluster, make_cache(12), together)


@pytest.mark.usefixtures("slow")
def test_an_interrupted_run_keeps_the_states_and_leaves_nothing_to_the_workers(cluster, make_cache, plans, alone):
    together, again = plans("together", keep="last"), []

    def interrupt(_plan, _epoch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on(cluster, make_cache(12), together, callbacks=Callbacks(each_epoch=interrupt))
    plugins: Any = cluster.run(
        lambda dask_worker: [name for name in dask_worker.plugins if name.startswith("spaceclip")]
    )
    assert list(plugins.values()) == [[], []]
    on(cluster, make_cache(12), together, callbacks=Callbacks(beginning=lambda _plan, done, *_: again.append(done)))
    assert contents(together) == alone
    assert max(again) >= 3


def test_a_worker_that_has_another_store_is_named(cluster, make_cache, plans):
    cache = make_cache(12)
    cache.__dict__["digest"] = "another"
    with pytest.raises(SpaceClipError, match=r"^worker .*store.zarr: not what the run trains on; give all"):
        on(cluster, cache, plans("together", keep="last"))


def test_decoders_are_divided_evenly_and_those_of_one_order_stay_together(plans):
    four = plans("any")
    assert shares(four, 1) == [[0, 1], [2, 3]]
    assert shares(four, 2) == [[0, 1], [2, 3]]
    assert shares(four, 3) == [[0, 1], [2], [3]]
    assert shares(four, 9) == [[0], [1], [2], [3]]
    mixed = [four[0], four[2], four[1], four[3]]
    assert shares(mixed, 2) == [[0, 2], [1, 3]]
