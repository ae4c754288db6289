import platform

import pytest
import torch
from spaceclip.cache import SpaceClipError, is_out_of_memory
from spaceclip.extract import load_backbone
from spaceclip.extract.towers import device_kind, device_lost, is_device_lost

CARD = torch.device("cuda", 1)


def test_the_kind_of_a_processor_is_its_instructions(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    plain = f"cpu {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    assert device_kind(torch.device("cpu")) == plain
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert device_kind(torch.device("cpu")) == f"{plain} AMX"


def test_the_kind_of_a_card_is_its_compute_capability(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", {CARD: (9, 0), torch.device("cuda", 0): (8, 9)}.get)
    assert [device_kind(torch.device("cuda", number)) for number in (0, 1)] == ["cuda sm_89", "cuda sm_90"]
    assert device_kind(torch.device("mps")) == "mps"


@pytest.fixture
def precision_switches():
    """What decides how float32 is computed, by name, as it stood; put back afterwards."""
    backends = torch.backends
    switches = {"cuda.matmul": backends.cuda.matmul}
    if hasattr(backends, "fp32_precision"):
        cudnn, mkldnn = backends.cudnn, backends.mkldnn
        switches |= {"cudnn.conv": cudnn.conv, "cudnn.rnn": cudnn.rnn}
        switches |= {f"mkldnn.{name}": getattr(mkldnn, name) for name in ("matmul", "conv", "rnn")}
    else:
        pytest.skip("these switches came with torch 2.9")
    before = {name: switch.fp32_precision for name, switch in switches.items()}
    yield switches
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = before["cudnn.conv"] == "tf32"  # else the old name and the new one disagree
    for name, switch in switches.items():
        switch.fp32_precision = before[name]


def test_float32_is_float32_whichever_switch_was_set_before(tiny_config, precision_switches):
    for switch in precision_switches.values():
        switch.fp32_precision = "tf32"
    load_backbone(f"random:{tiny_config}", precision="float32")
    assert {name: switch.fp32_precision for name, switch in precision_switches.items()} == dict.fromkeys(
        precision_switches, "ieee"
    )
    # The old names still answer, which they refuse where the two disagree.
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"


class AcceleratorError(RuntimeError):
    """As torch has it since 2.8."""


@pytest.mark.parametrize(
    ("error", "memory", "lost"),
    [
        (MemoryError(), True, False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True, False),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"), True, False),
        (AcceleratorError("CUDA error: out of memory"), True, False),
        (AcceleratorError("the card is gone"), False, True),
        (RuntimeError("CUDA error: unspecified launch failure\nCompile with ..."), False, True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False, True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False, False),
        (ValueError("CUDA error: out of memory"), False, False),
    ],
)
def test_memory_that_ran_out_is_told_from_a_card_that_failed(monkeypatch, error, memory, lost):
    monkeypatch.setattr(torch, "AcceleratorError", AcceleratorError, raising=False)
    assert (is_out_of_memory(error), is_device_lost(error)) == (memory, lost)


def test_a_card_that_failed_is_one_line():
    told = device_lost(CARD, RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA"))
    assert isinstance(told, SpaceClipError)
    assert str(told) == (
        "cuda:1 failed in mid-run and answers no more (CUDA error: unspecified launch failure); what is committed is "
        "safe: look at the card with nvidia-smi, then run the same command again to go on"
    )
