"""What can go wrong around `spaceclip train` is one line that says what to do, and loses nothing."""

import json
import resource
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from spaceclip.train.step import TrainingStep
from warm import Forked

CONFIG = ("--config", "configs/tiny.yaml")


def only_line(result):
    (line,) = result.output.splitlines()
    return line


@pytest.mark.parametrize("name", ["cuda:9", "cuda:-1", "cuda:x", "cpu:1", "mps", "tpu"])
def test_a_device_that_is_not_there_is_named_beside_those_that_are(extracted, spaceclip, monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    line = only_line(spaceclip("train", *CONFIG, "--device", name, fails=True))
    assert line == (
        f"Error: device {name!r}: not on this machine, which has cuda, cuda:0, cuda:1, cpu; choose among those"
    )
    assert not Path("results").exists()


def test_layers_that_the_store_lacks_are_named_beside_those_that_it_holds(extracted, spaceclip):
    line = only_line(spaceclip("train", *CONFIG, "--set", "decoder.semantic_layers=[12, 9, 1, 0]", fails=True))
    assert line.endswith(
        "lacks the hidden states [9, 12], it holds [0, 1, 2, 3]; its encoder has 0 to 3; choose among those"
    )
    assert not Path("results/tiny").exists()


def test_features_that_are_not_there_are_named_with_the_whole_command_that_makes_them(extracted, spaceclip):
    Path("features/tiny/train.json").unlink()
    remedy = "run `spaceclip extract --config configs/tiny.yaml` to make it"
    assert only_line(spaceclip("train", *CONFIG, fails=True)).endswith(remedy)
    only_there = only_line(spaceclip("train", "--features", "features/tiny", "--out", "results/mine", fails=True))
    assert only_there.endswith("run `spaceclip extract` to make it")


def killed_after(monkeypatch, steps):
    step, done = TrainingStep.__call__, []

    def interrupted(self, *args):
        done.append(1)
        if len(done) == steps + 1:
            signal.raise_signal(signal.SIGINT)
        return step(self, *args)

    monkeypatch.setattr(TrainingStep, "__call__", interrupted)
    return done


def test_a_state_of_another_version_is_refused_and_stays(extracted, spaceclip, monkeypatch):
    killed_after(monkeypatch, 4)
    spaceclip("train", *CONFIG, fails=True)
    (folder,) = Path("results/tiny").glob("unfinished-*")
    monkeypatch.setattr("spaceclip.train.state._FORMAT", 3)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    line = only_line(spaceclip("train", *CONFIG, fails=True))
    assert line.startswith(f"Error: {folder}: the state of an interrupted run, written by another version of SpaceCLIP")
    assert line.endswith("or delete that folder, then run the same command again to start from the first step")
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_a_state_of_other_code_is_told_of_and_stays(extracted, spaceclip, monkeypatch):
    killed_after(monkeypatch, 4)
    spaceclip("train", *CONFIG, fails=True)
    (folder,) = Path("results/tiny").glob("unfinished-*")
    monkeypatch.setattr("spaceclip.train.state.deciding_code", lambda: "other code")
    told = spaceclip("train", *CONFIG).output
    assert f"starting from the first step: {folder} is of other settings, features or code, and stays" in told
    assert folder.exists()


def test_a_full_disk_leaves_the_state_before(extracted, spaceclip, monkeypatch):
    spaceclip("train", *CONFIG, "--out", "whole")
    full, calls = TrainingStep.__call__, []
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def filling(self, *args):
        calls.append(1)
        if len(calls) == 5:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
        return full(self, *args)

    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        monkeypatch.setattr(TrainingStep, "__call__", filling)
        told = spaceclip("train", *CONFIG, fails=True).output
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert told.splitlines()[-1] == (
        "Error: results/tiny: cannot be written to (File too large); what was saved before is whole: make room there, "
        "then run the same command again to go on from it"
    )
    assert "going on after step 3 of 9" in spaceclip("train", *CONFIG).output
    whole, resumed = (Path(out, "checkpoint.safetensors").read_bytes() for out in ("whole", "results/tiny"))
    assert whole == resumed


# A second signal comes while the reader of batches is being closed.
TRAINING = """
import sys, time
from spaceclip.pipeline.cli import main
from spaceclip.train import reading
from spaceclip.train.step import TrainingStep
feed, step = reading.feed, TrainingStep.__call__

def closed_slowly(batches, device):
    try:
        yield from feed(batches, device)
    except GeneratorExit:
        print("closing", flush=True)
        time.sleep({closing})

def slowly(self, *arguments):
    print("step", flush=True)
    time.sleep(0.05)
    return step(self, *arguments)

reading.feed, TrainingStep.__call__ = closed_slowly, slowly
sys.argv = ["spaceclip", "train", "--config", "configs/tiny.yaml", "--epochs", "1000", "--set", "train.save_every=1"]
main()
"""


@pytest.mark.parametrize(("signals", "closing"), [(1, 0), (2, 60)])
def test_ctrl_c_once_or_twice_is_one_line_and_the_state_stays(extracted, signals, closing):
    with Forked("-c", TRAINING.format(closing=closing)) as run:
        for _ in range(5):
            assert run.stdout.readline() == "step\n"
        run.send_signal(signal.SIGINT)
        while signals == 2 and run.stdout.readline() == "step\n":
            pass
        if signals == 2:
            time.sleep(0.1)
            run.send_signal(signal.SIGINT)
        code, told = run.wait(timeout=30), run.stderr.read().splitlines()
    assert (code, [line for line in told if not line.startswith("epoch")]) == (
        130,
        ["spaceclip: interrupted; run the same command again to go on from what is saved"],
    )
    (folder,) = Path("results/tiny").glob("unfinished-*")
    assert json.loads((folder / "state.json").read_bytes())["steps"] >= 4


def test_curves_that_cannot_be_written_are_named_with_their_extra_before_the_first_step(
    extracted, spaceclip, monkeypatch
):
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    for package in ("dvclive", "tensorboard"):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules, f"{package}.live", raising=False)  # it is found without its package
        line = only_line(spaceclip("train", *CONFIG, "--set", f"train.log=[{package}]", fails=True))
        assert line == f"Error: {package} is not installed, which this needs: pip install 'spaceclip[curves]'"
    assert not Path("results").exists()
