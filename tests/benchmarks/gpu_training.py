"""The training half of `bench_gpu`: the card against the processor; steps from memory, from a store, resident."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from bench_feed import LAYERS, make_store
from bench_step import Plain, make_batch
from gpu_checks import Setup, WrongError
from spaceclip.cache import Batches
from spaceclip.train import DecoderSettings, DepthDecoder, TrainSettings, autocast, losses
from spaceclip.train.feed import Inputs, allocator, feed
from spaceclip.train.resident import Resident
from spaceclip.train.state import Progress
from spaceclip.train.step import TrainingStep
from spaceclip.train.trainee import Trainee
from torch.utils.flop_counter import FlopCounterMode

RATE = 1e-4
TARGETS = {"times_plain_eager": 5.0, "store_of_memory": 0.9, "resident_of_memory": 0.97, "four_of_one": 0.97}
"""What a card is to reach at least."""

NYU_TRAINING, NYU_VALIDATION, EPOCHS = 21_974, 2_257, 20
"""Of the controlled run of the method's authors: 4,016 to 4,053 s on an RTX 5090, encoder online, float32."""


def _shape(setup: Setup) -> tuple[DecoderSettings, int, tuple[int, int], int]:
    """The decoder, batch size, size of depth and images of the store."""
    if setup.device.type == "cuda":
        return DecoderSettings(), 64, (480, 640), 512
    return DecoderSettings(channels=(8, 8, 6, 4), film_hidden=8), 2, (24, 32), 8


def _compared(setup: Setup, steps: int) -> int:
    """Steps to compare; a few where a processor is compared with itself."""
    return steps if setup.device.type == "cuda" else 3


def _curve(
    device: torch.device, decoder: DecoderSettings, batch: int, size: tuple[int, int], steps: int
) -> list[float]:
    """Losses of some steps on one batch, in float32, without dropout."""
    torch.manual_seed(0)
    model = DepthDecoder(decoder.model_copy(update={"dropout": 0.0})).to(device).train()
    step = TrainingStep(model, TrainSettings(precision="float32"))
    one = make_batch(batch, size, device)
    return [step(one.states, one.pooled, one.target, one.valid, RATE).total.item() for _ in range(steps)]


def losses_agree(setup: Setup) -> str:
    """Twenty float32 steps have the losses that they have on a processor."""
    decoder, _, size, _ = _shape(setup)
    steps = _compared(setup, 20)
    card, host = (_curve(device, decoder, 4, size, steps) for device in (setup.device, torch.device("cpu")))
    first = abs(card[0] - host[0]) / host[0]
    worst = max(abs(one - other) / other for one, other in zip(card, host, strict=True))
    if not (first < 1e-4 and worst < 2e-2):
        raise WrongError(f"the loss is off by {first:.1e} at first, by {worst:.1e} within {steps} steps")
    return f"relative difference {first:.1e} at first, {worst:.1e} at most; losses {host[0]:.3f} to {host[-1]:.3f}"


def no_step_waits(setup: Setup) -> str:
    """Steps wait for nothing on the card; on a processor there is nothing to wait for."""
    decoder, batch, size, _ = _shape(setup)
    trainee, inputs = _trainee(setup, decoder), _inputs(setup, batch, size)
    for _ in range(5):  # the losses' kernels and the graph are compared with PyTorch's at first
        trainee.step(inputs)
    if setup.device.type == "cuda":
        torch.cuda.synchronize(setup.device)
        torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            trainee.step(inputs)
    finally:
        if setup.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    trainee.check()
    return f"{trainee.done} steps"


def graph_agrees(setup: Setup) -> str:
    """Twelve float32 steps with dropout have the same losses as one CUDA graph each and as they are."""
    decoder, _, size, _ = _shape(setup)
    one, curves, said = make_batch(4, size, setup.device), [], ""
    for graph in (False, True):
        trainee = _trainee(setup, decoder, "float32", cuda_graph=graph)
        trainee.decoder.train()
        step = trainee._step
        given = (one.states, one.pooled, one.target, one.valid, RATE)
        curves.append([step(*given).total.item() for _ in range(_compared(setup, 12))])
        said = step.says
    worst = max(abs(found / wanted - 1) for wanted, found in zip(*curves, strict=True))
    if worst > 2e-2 or (setup.device.type == "cuda" and said != "steps: one CUDA graph"):
        raise WrongError(f"losses are off by {worst:.1e}; {said}")
    return f"{said or 'no graph on this device'}; relative difference {worst:.1e}"


CHECKS = {"losses": losses_agree, "no waiting": no_step_waits, "step graph": graph_agrees}


def _trainee(
    setup: Setup, decoder: DecoderSettings, precision: Any = "bfloat16", seed: int = 0, *, cuda_graph: bool = True
) -> Trainee:
    settings = TrainSettings(precision=precision, seed=seed, cuda_graph=cuda_graph)
    return Trainee(decoder, settings, setup.device, 10_000, Progress())


def _inputs(setup: Setup, batch: int, size: tuple[int, int]) -> Inputs:
    one = make_batch(batch, size, setup.device)
    return Inputs(one.states, one.pooled, one.target * one.valid)


def _rate(setup: Setup, step: Callable[[Any], object], inputs: Iterable[Any], batch: int, seconds: float) -> float:
    """Images a second of steps, once the first five are done: what a card tries first is chosen by then."""
    inputs, on_card = iter(inputs), setup.device.type == "cuda"
    for one in itertools.islice(inputs, 5 if on_card else 1):
        step(one)
    _synchronise(setup)
    start, done = time.perf_counter(), 0
    for one in inputs:
        step(one)
        done += 1
        if done % (8 if on_card else 2) == 0:
            _synchronise(setup)
            if time.perf_counter() - start > seconds:
                break
    _synchronise(setup)
    return done * batch / (time.perf_counter() - start)


def _synchronise(setup: Setup) -> None:
    if setup.device.type == "cuda":
        torch.cuda.synchronize(setup.device)


def measure_training(setup: Setup, seconds: float) -> dict[str, Any]:
    """Images a second of a step on features in memory, in a warm store and resident, and of four decoders at once."""
    decoder, batch, size, count = _shape(setup)
    fixed = itertools.repeat(_inputs(setup, batch, size))
    bare = _trainee(setup, decoder)
    found: dict[str, Any] = {"batch": batch, "size": f"{size[0]} x {size[1]}"}
    memory = [_rate(setup, bare.step, fixed, batch, seconds) for _ in range(2)]
    plain_batch = make_batch(batch, size, setup.device)
    plain = Plain(DepthDecoder(decoder).to(setup.device).train())
    found["plain_eager_float32"] = _rate(setup, plain, itertools.repeat(plain_batch), batch, seconds)
    exact = _trainee(setup, decoder, "float32")
    found["float32"] = _rate(setup, exact.step, fixed, batch, seconds)
    eager = _trainee(setup, decoder, cuda_graph=False)
    found["without_graph"] = _rate(setup, eager.step, fixed, batch, seconds)
    found["pytorch_losses"] = _without_kernels(_rate, setup, eager.step, fixed, batch, seconds)
    found["matmul_share"] = memory[-1] * _step_operations(setup, decoder, batch, size) / _matmul_rate(setup)
    del plain, plain_batch, exact, eager
    cache = make_store(setup.place / "features.zarr", count, size)
    batches = Batches(cache, batch, LAYERS, seed=1, allocate=allocator(setup.device))

    def endless(epoch: Callable[[int], Iterable[Inputs]]) -> Iterable[Inputs]:
        return itertools.chain.from_iterable(epoch(number) for number in itertools.count())

    def read(number: int) -> Iterable[Inputs]:
        return feed(batches.epoch(number), setup.device)

    for number in range(2):  # both views of nearly all, checked and warm
        for _ in read(number):
            pass
    store = _rate(setup, bare.step, endless(read), batch, seconds)
    kept = Resident(batches, setup.device)
    resident = _rate(setup, bare.step, endless(kept.epoch), batch, seconds)
    memory.append(_rate(setup, bare.step, fixed, batch, seconds))
    found["in_memory"] = statistics.median(memory)
    found["from_store"], found["resident"] = store, resident
    four = [_trainee(setup, decoder, seed=seed) for seed in range(4)]

    def all_of_them(inputs: Inputs) -> None:
        for trainee in four:
            trainee.step(inputs)

    found["four_on_one_read"] = 4 * _rate(setup, all_of_them, endless(read), batch, seconds)
    found |= {
        "times_plain_eager": found["in_memory"] / found["plain_eager_float32"],
        "store_of_memory": store / found["in_memory"],
        "resident_of_memory": resident / found["in_memory"],
        "four_of_one": found["four_on_one_read"] / found["in_memory"],
        # A validation pass is a third of a step, twice: raw and averaged weights.
        "controlled_run_s": EPOCHS * (NYU_TRAINING / store + 2 * NYU_VALIDATION / (3 * store)),
    }
    found |= _controlled_part(setup, bare, endless(read), batch, size, found["controlled_run_s"])
    found |= {
        "graph_of_eager": found["in_memory"] / found["without_graph"],
        "triton_of_pytorch_losses": found["without_graph"] / found["pytorch_losses"],
    }
    if setup.device.type == "cuda":
        found["memory_GB"] = torch.cuda.max_memory_allocated(setup.device) / 1e9
    return found


def _without_kernels(work: Callable[..., float], *arguments: Any) -> float:
    """Do it with PyTorch's losses, Triton or not."""
    tried = losses._tried_kernels
    losses._tried_kernels = lambda _device: None
    try:
        return work(*arguments)
    finally:
        losses._tried_kernels = tried


def _matmul_rate(setup: Setup) -> float:
    """Operations a second of large bfloat16 matrix products, which no step can do more of."""
    side = 8192 if setup.device.type == "cuda" else 256
    one = torch.randn(side, side, device=setup.device, dtype=torch.bfloat16)
    return _rate(setup, lambda _: one @ one, itertools.repeat(None), 2 * side**3, 0.5)


def _step_operations(setup: Setup, decoder: DecoderSettings, batch: int, size: tuple[int, int]) -> float:
    """Operations of a step's matrix products and convolutions, both ways, an image."""
    trainee = _trainee(setup, decoder, cuda_graph=False)
    with FlopCounterMode(display=False) as counter:
        trainee.step(_inputs(setup, batch, size))
    return counter.get_total_flops() / batch


def _controlled_part(
    setup: Setup, trainee: Trainee, inputs: Iterable[Inputs], batch: int, size: tuple[int, int], predicted: float
) -> dict[str, float]:
    """A tenth of the controlled run, or what takes some 40 s: steps from the store, and decoding for validation."""
    share = min(0.1, 40 / predicted) if setup.device.type == "cuda" else 1e-5
    steps = max(1, round(share * EPOCHS * NYU_TRAINING / batch))
    passes = max(1, round(share * EPOCHS * 2 * NYU_VALIDATION / batch))
    start = time.perf_counter()
    for one in itertools.islice(inputs, steps):
        trainee.step(one)
    shown, model = _inputs(setup, batch, size), trainee.average.model
    with torch.inference_mode(), autocast("bfloat16", setup.device):
        for _ in range(passes):
            model(shown.states, shown.pooled, size)
    _synchronise(setup)
    return {"controlled_share": share, "controlled_run_measured_s": (time.perf_counter() - start) / share}
