"""What a run on a cluster computes with, chosen from what its workers say; no GPU is needed."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from spaceclip.cache import SpaceClipError
from spaceclip.cache.cluster import Chosen, Environment, choose_environment, cores_here
from spaceclip.cache.cluster import environment as module
from spaceclip.extract.cluster.environment import device_here, environment_here
from spaceclip.extract.towers import device_kind


def asked() -> Environment:
    """Made-up workers do not call it."""
    raise NotImplementedError


LIBRARIES = (("torch", "2.9.0"), ("transformers", "5.1.0"), ("Pillow", "12.0.0"), ("numcodecs", "0.16.3"))
CPU = Environment("cpu x86_64 AVX512", "bfloat16", LIBRARIES)
MPS = Environment("mps", "float32", LIBRARIES)
AMPERE, HOPPER = (Environment(f"cuda sm_{number}", "float16", LIBRARIES) for number in (80, 90))
OLDER = replace(AMPERE, libraries=(*LIBRARIES[:2], ("Pillow", "11.1.0"), LIBRARIES[3]))


class Workers:
    """A client of made-up workers, which may have to be waited for."""

    scheduler = SimpleNamespace(address="tcp://head:8786")

    def __init__(self, answers, late=False):
        self.answers, self.late = answers, late

    def run(self, _ask, *_given, on_error):
        assert on_error == "return"
        return {} if self.late else dict(self.answers)

    def wait_for_workers(self, _count):
        self.late = False


def workers(*environments, machine="node"):
    return {
        f"tcp://{number}": (found, f"{machine}{number} ff") if isinstance(found, Environment) else found
        for number, found in enumerate(environments)
    }


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch):
    monkeypatch.setattr(module, "_JOIN_SECONDS", 0)


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ([CPU, CPU], CPU),
        ([CPU, CPU, MPS], MPS),
        ([CPU, CPU, MPS, AMPERE], AMPERE),
        ([CPU, AMPERE, HOPPER, HOPPER], HOPPER),
        ([OLDER, AMPERE, AMPERE, OLDER, AMPERE], AMPERE),
    ],
)
def test_the_best_device_decides_and_then_the_most_workers(there, chosen):
    said = []
    found = choose_environment(Workers(workers(*there)), asked, say=said.append)
    assert found.environment == chosen
    assert len(said) == (len(set(there)) > 1)


@pytest.mark.parametrize(
    ("there", "line"),
    [
        ((CPU, AMPERE, CPU), "2 on cpu x86_64 AVX512 in bfloat16, 1 on {0}: the run takes those on {0}"),
        ((AMPERE, OLDER, AMPERE), "2 on {0} with {1}, 1 on {0} with {2}: the run takes those on {0} with {1}"),
    ],
)
def test_in_what_workers_differ_is_one_line(there, line):
    said = []
    choose_environment(Workers(workers(*there)), asked, say=said.append)
    assert said == ["the workers differ, " + line.format("cuda sm_80 in float16", "Pillow 12.0.0", "Pillow 11.1.0")]


def test_a_store_that_was_begun_decides_before_the_better_device():
    there = Workers(workers(CPU, AMPERE, HOPPER, HOPPER))
    begun = {"float16": "cuda sm_80", "bfloat16": None}
    assert choose_environment(there, asked, begun.get).environment == AMPERE
    begun = {"float16": None, "bfloat16": "cpu x86_64 AVX512"}
    assert choose_environment(there, asked, begun.get).environment == CPU
    begun = {"float16": "cuda sm_120", "bfloat16": None}  # of which none is here: the store will refuse
    assert choose_environment(there, asked, begun.get).environment == HOPPER


def test_a_first_worker_is_waited_for_with_a_line():
    said = []
    assert choose_environment(Workers(workers(CPU), late=True), asked, say=said.append).environment == CPU
    assert said == ["no worker is here: waiting for some (`dask worker tcp://head:8786`)"]


def test_workers_that_cannot_answer_are_passed_over_while_others_can():
    broken = SpaceClipError("it has no CUDA device (torch 2.9.0), the run asks for cuda\nand more")
    assert choose_environment(Workers(workers(broken, HOPPER)), asked).environment == HOPPER
    with pytest.raises(SpaceClipError, match=r"^no worker can take part \(it has no CUDA device") as caught:
        choose_environment(Workers(workers(broken, broken)), asked)
    assert "\n" not in str(caught.value)


def test_workers_share_the_cores_that_they_have_in_common(monkeypatch):
    shared = {f"tcp://{number}": (CPU, "node1 ff") for number in range(3)}
    bound = {f"tcp://1{number}": (CPU, f"node2 {number}") for number in range(4)}
    other = {"tcp://20": (AMPERE, "node1 ff")}
    chosen = choose_environment(Workers(shared | bound), asked)
    for cores, count in {"node1 ff": 3, "node2 1": 1, "node3 that joined since": 3}.items():
        monkeypatch.setattr(module, "cores_here", lambda cores=cores: cores)
        assert chosen.sharing_here() == count
    assert choose_environment(Workers(shared | other), asked).sharing == {"node1 ff": 1}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (AMPERE, "it computes on cuda sm_80, the run on cuda sm_90"),
        (replace(OLDER, device=HOPPER.device), "it has Pillow 11.1.0, the run 12.0.0: install the same version"),
    ],
)
def test_another_environment_than_the_run_s_is_refused_by_name(found, reason):
    with pytest.raises(SpaceClipError) as caught:
        found.require(HOPPER)
    assert str(caught.value) == reason
    HOPPER.require(HOPPER)


def test_what_a_process_says_of_itself(monkeypatch):
    assert environment_here("cpu", "float32").precision == "float32"
    assert environment_here("auto", "auto").device == device_kind(device_here("auto"))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert environment_here("cpu", "auto").precision == "bfloat16"
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _process: {0, 4}, raising=False)
    assert cores_here().endswith(" 11")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SpaceClipError, match="it has no CUDA device"):
        device_here("cuda")
    assert Chosen(CPU, (), {"elsewhere": 2}).sharing_here() == 2
