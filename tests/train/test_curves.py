"""Curves for DVCLive and TensorBoard hold the history, each point once."""

import csv
import json

import pytest
import torch
from spaceclip.train import Callbacks, Plan, fit


class Killed(BaseException):
    pass


def dvclive_points(folder):
    """Values by epoch of each curve, of DVCLive's own tables."""
    found = {}
    for file in (folder / "curves/dvclive/plots/metrics").glob("*.tsv"):
        rows = list(csv.DictReader(file.read_text().splitlines(), delimiter="\t"))
        found[file.stem] = [(int(row["step"]), float(row[file.stem])) for row in rows]
    return found


def tensorboard_points(folder):
    """Likewise, as TensorBoard reads its files."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
    events = accumulator(str(folder / "curves/tensorboard")).Reload()
    return {name: [(at.step, at.value) for at in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("log", "points"), [("dvclive", dvclive_points), ("tensorboard", tensorboard_points)])
def test_curves_hold_each_epoch_once_also_after_an_interruption(
    make_cache, tmp_path, small, recipe, monkeypatch, log, points
):
    pytest.importorskip(log)
    monkeypatch.chdir(tmp_path)  # outside a Git repository, whose files DVCLive would leave open
    plan = Plan(tmp_path / "run", small, recipe.model_copy(update={"log": (log,), "epochs": 3}), {})
    seen = []

    def score(candidates):
        return [{"abs_rel": 0.5}] * len(candidates)

    def dying(_plan, epoch):
        seen.append({name: len(rows) for name, rows in points(plan.out).items()})
        if epoch.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        fit(make_cache(), [plan], score=score, device=torch.device("cpu"), callbacks=Callbacks(each_epoch=dying))
    assert [set(lengths.values()) for lengths in seen] == [{1}, {2}]  # they grow with the run
    fit(make_cache(name="same.zarr"), [plan], score=score, device=torch.device("cpu"))
    rows = list(csv.DictReader((plan.out / "history.csv").read_text().splitlines()))
    expected = {name: [(at, pytest.approx(float(row[name]), rel=1e-6)) for at, row in enumerate(rows, 1)]
                for name in rows[0] if name != "epoch"}  # fmt: skip
    assert points(plan.out) == expected
    if log == "dvclive":
        assert json.loads((plan.out / "curves/dvclive/metrics.json").read_text())["step"] == 3


def test_curves_decide_no_number_of_a_run(recipe):
    assert recipe.model_copy(update={"log": ("dvclive",)}).deciding() == recipe.deciding()
