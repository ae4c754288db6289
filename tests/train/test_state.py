import errno
from pathlib import Path

import pytest
import torch
from spaceclip.cache import SpaceClipError, write_atomically
from spaceclip.train import state as state_module
from spaceclip.train.sealed import seal
from spaceclip.train.state import STATE, Progress, StateFolder, code, deciding_code

ROOT = Path(state_module.__file__).parents[1].resolve()


@pytest.fixture
def state(tmp_path):
    folder = StateFolder(tmp_path, {"seed": 1})
    row: dict[str, float | None] = {"epoch": 3, "loss": 0.1 + 0.2, "val_raw": None}
    weights = {"a": torch.arange(3.0), "b": torch.tensor(7)}
    folder.save(Progress(3, [row], {"epoch": 2, "weights": "ema", "metrics": {"abs_rel": 0.25}}, weights, weights))
    return folder


def test_a_state_comes_back_as_it_was(state):
    found = state.load()
    assert (found.steps, found.history[0]["loss"]) == (3, 0.1 + 0.2)
    assert torch.equal(found.tensors["a"], torch.arange(3.0))
    assert found.kept["b"].item() == 7


@pytest.mark.parametrize("name", [STATE, "tensors-*", "kept-*"])
@pytest.mark.parametrize("damage", ["bit", "torn", "gone"])
def test_a_damaged_state_says_what_to_do(state, name, damage):
    (file,) = state.path.glob(name)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content if damage == "bit" else content[: len(content) // 2])
    if (name, damage) == (STATE, "gone"):
        assert state.load().steps == 0
        return
    with pytest.raises(
        SpaceClipError, match=rf"{state.path}: .* damaged \(.*\); delete that folder, then run the same"
    ):
        state.load()


def test_a_state_of_another_version_says_what_to_do(state):
    (state.path / STATE).write_bytes(seal({"steps": 3, "history": []}))
    with pytest.raises(
        SpaceClipError,
        match=rf"^{state.path}: the state .* another version of SpaceCLIP \(format 1, expected 2\); finish it with",
    ):
        state.load()


def test_a_second_state_of_the_same_step_leaves_the_first_whole_until_it_is_written(state, monkeypatch):
    def full(path, content):
        if path.name == STATE:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_atomically(path, content)

    monkeypatch.setattr("spaceclip.train.state.write_atomically", full)
    other = {"a": torch.ones(3)}
    with pytest.raises(OSError, match="No space left"):
        state.save(Progress(3, [], None, other, other))
    assert torch.equal(state.load().tensors["a"], torch.arange(3.0))


@pytest.mark.parametrize("name", ["cache/shuffle.py", "cache/batches.py", "train/step.py"])
def test_a_run_does_not_go_on_with_other_code_of_the_order_or_the_step(tmp_path, monkeypatch, name):
    def other(files):
        return "\n".join(code([file]) + ("changed" if file.resolve() == ROOT / name else "") for file in files)

    before = StateFolder(tmp_path, {"seed": 1}).path
    monkeypatch.setattr(state_module, "code", other)
    monkeypatch.setattr(state_module, "deciding_code", deciding_code.__wrapped__)
    assert StateFolder(tmp_path, {"seed": 1}).path != before
