import pytest
import torch
from spaceclip.cache import SpaceClipError
from spaceclip.train.state import STATE, Progress, StateFolder


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


@pytest.mark.parametrize("name", [STATE, "tensors-000003.safetensors", "kept-000003.safetensors"])
@pytest.mark.parametrize("damage", ["bit", "torn", "gone"])
def test_a_damaged_state_says_what_to_do(state, name, damage):
    file = state.path / name
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
