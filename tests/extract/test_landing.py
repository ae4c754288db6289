import pytest
import torch
from spaceclip.extract.towers import land


def _gaps(shape):
    """Room for float16 rows with a gap after each, as between the chunks of a shard."""
    size = torch.Size(shape[1:]).numel()
    return torch.zeros(shape[0], size + 2, dtype=torch.float16)[:, :size].unflatten(1, shape[1:])


def test_every_bfloat16_there_is_lands_as_torch_converts_it():
    every = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16).view(16, 64, 64)
    values = torch.cat([every[:, :1], every], 1)[:, 1:]
    out = _gaps((16, 64, 64))
    land(out, values)
    assert torch.equal(out.view(torch.int16), every.to(torch.float16).view(torch.int16))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("images", [1, 4, 7])
def test_batches_of_any_size_and_precision_land_whole(dtype, images):
    values = (torch.randn(images, 5, 6, generator=torch.Generator().manual_seed(images)) * 1000).to(dtype)
    out = _gaps((images, 5, 6))
    land(out, values)
    assert torch.equal(out, values.to(torch.float16))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_float16_cannot_hold_becomes_infinite_which_no_store_takes(dtype):
    out = _gaps((1, 1, 4))
    land(out, torch.tensor([[[70_000.0, -70_000.0, float("nan"), 65_000.0]]]).to(dtype))
    assert out.isfinite().flatten().tolist() == [False, False, False, True]


def test_a_batch_of_another_size_is_refused():
    with pytest.raises((ValueError, RuntimeError)):
        land(_gaps((8, 1, 2)), torch.zeros(4, 1, 2, dtype=torch.bfloat16))
