"""Parameters, arithmetic, latency and memory of the variants, as a table and as JSON."""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ...evaluate import markdown_table
from ...extract import counted
from .memory import peak_memory, said_of_memory
from .source import ALONE, SEPARATE, SHARED, VARIANTS, Networks, Source, Variant

_AUTHORS = {ALONE.name: (3.368, 346.9), SHARED.name: (5.200, 468.1), SEPARATE.name: (8.512, 796.1)}
"""Milliseconds and MiB at batch 1 on their unnamed GPU (arXiv 2601.17657)."""
_MIB, _WARM_UP = 2**20, 3


@dataclass(frozen=True)
class Row:
    """A variant with batches of one size.

    Attributes:
        variant: Its name.
        batch: Images of a batch.
        parameters: Weights.
        gflop: Floating-point operations of an image, 2 for a multiplication and addition, in 1e9.
        p50_ms: Median of the latency of a batch.
        p90_ms: Its 90th percentile.
        memory_mib: Memory at its peak.
    """

    variant: str
    batch: int
    parameters: int
    gflop: float
    p50_ms: float
    p90_ms: float
    memory_mib: float


@dataclass(frozen=True)
class Cost:
    """What was measured.

    Attributes:
        encoder: Its name, weights and precision.
        decoder: Its precision.
        machine: Device, threads, versions.
        memory: What is measured of memory.
        repeats: Rounds, each a pass of each variant.
        rows: A row for each batch size and variant.
        added_latency: By batch size, (shared - alone) / alone: the p10, p50 and p90 over the rounds.
        memory_ratio: By batch size, shared / separate.
        is_the_authors: Whether encoder and decoder are of the sizes that the authors measured.
    """

    encoder: str
    decoder: str
    machine: str
    memory: str
    repeats: int
    rows: list[Row]
    added_latency: dict[int, list[float]]
    memory_ratio: dict[int, float]
    is_the_authors: bool

    def json(self) -> dict[str, Any]:
        """All of it, with the authors' numbers where they are of the same sizes."""
        authors = {name: {"p50_ms": ms, "memory_mib": mib} for name, (ms, mib) in _AUTHORS.items()}
        return {**asdict(self), "authors": authors if self.is_the_authors else None}

    def markdown(self) -> str:
        """A table, beside the authors' numbers where they are of the same sizes, and what it was measured on."""
        header = ["", "batch", "M weights", "GFLOP/image", "ms p50", "ms p90", "peak MiB"]
        rows = [
            [
                row.variant,
                f"{row.batch}",
                f"{row.parameters / 1e6:.2f}",
                f"{row.gflop:.1f}",
                f"{row.p50_ms:.1f}",
                f"{row.p90_ms:.1f}",
                f"{row.memory_mib:.1f}",
            ]
            for row in self.rows
        ]
        latency = memory = machine = ""
        others = ["the authors' numbers are left out: they are of CLIP ViT-B/16 and the paper's decoder"]
        if self.is_the_authors:
            header += ["authors' ms", "their MiB"]
            for row, cells in zip(self.rows, rows, strict=True):
                cells += [f"{number}" if row.batch == 1 else "" for number in _AUTHORS[row.variant]]
            (alone, _), (shared, shared_mib), (_, separate_mib) = _AUTHORS.values()
            latency, memory = f"; authors' {shared / alone - 1:.2f}", f"; authors' {shared_mib / separate_mib:.2f}"
            machine, others = "; the authors' is an unnamed GPU, at batch 1", []
        added = [
            f"{middle:.2f} at batch {batch} (p10 {low:.2f}, p90 {high:.2f}"
            + (
                ": noise, since zero lies between; give more --repeats, or a machine at rest)"
                if low <= 0 <= high
                else ")"
            )
            for batch, (low, middle, high) in self.added_latency.items()
        ]
        ratio = [f"{number:.2f} at batch {batch}" for batch, number in self.memory_ratio.items()]
        return "\n".join(
            [
                markdown_table(header, rows),
                "",
                f"latency, (shared - alone) / alone: {', '.join(added)}{latency}",
                f"memory, shared / separate: {', '.join(ratio)}{memory}",
                f"encoder: {self.encoder}; decoder: {self.decoder}",
                f"time: of a batch; p50 and p90 of {counted(self.repeats, 'round')}, each the three in turn",
                f"machine: {self.machine}{machine}",
                f"memory: {self.memory}",
                *others,
            ]
        )


def measure_cost(
    source: Source,
    batches: Sequence[int],
    repeats: int,
    report: Callable[[int, int], None],
    say: Callable[[str], None] = lambda _line: None,
) -> Cost:
    """Measure all variants.

    Args:
        source: Where the networks come from.
        batches: Sizes of batches.
        repeats: Passes of each variant.
        report: Called with rounds done, and how many there are.
        say: Called with a line for each part of the work.

    Raises:
        SpaceClipError: There is no such checkpoint, encoder, device or precision.
    """
    networks = source.load(SEPARATE)
    encoder, decoder = networks.encoders[0], networks.decoder
    assert decoder is not None
    batches = sorted(set(batches))
    times, arithmetic = {}, {}
    for number, batch in enumerate(batches):
        say(f"cost: time of a batch of {batch}: {_WARM_UP} rounds to warm up, then {repeats}")
        images = networks.images(batch)
        arithmetic[batch] = [_flop(networks, variant, images) / batch / 1e9 for variant in VARIANTS]
        done = number * repeats
        times[batch] = _milliseconds(
            networks, images, repeats, lambda n, done=done: report(done + n, len(batches) * repeats)
        )
    memory = []
    for variant in VARIANTS:
        say(f"cost: memory of {variant.name}")
        memory.append([peak / _MIB for peak in peak_memory(source, variant, batches)])
    rows = [
        Row(
            variant.name,
            batch,
            networks.parameters(variant),
            arithmetic[batch][number],
            float(np.quantile(times[batch][:, number], 0.5)),
            float(np.quantile(times[batch][:, number], 0.9)),
            memory[number][at],
        )
        for at, batch in enumerate(batches)
        for number, variant in enumerate(VARIANTS)
    ]
    identity = encoder.identity
    return Cost(
        encoder=f"{identity['name']}, {identity['revision']}, {identity['precision']}",
        decoder=("" if isinstance(source.given, str) else "random weights, ")
        + str(decoder.dtype).removeprefix("torch."),
        machine=_machine(encoder.device),
        memory=said_of_memory(encoder.device),
        repeats=repeats,
        rows=rows,
        added_latency={
            batch: np.quantile(found[:, 1] / found[:, 0] - 1, (0.1, 0.5, 0.9)).tolist()
            for batch, found in times.items()
        },
        memory_ratio={batch: memory[1][at] / memory[2][at] for at, batch in enumerate(batches)},
        is_the_authors=networks.are_the_authors,
    )


def _milliseconds(
    networks: Networks, images: torch.Tensor, repeats: int, report: Callable[[int], None]
) -> NDArray[np.float64]:
    """Of each round [R, 3] the time of each variant, one after the other, so that all see the same machine."""
    found = np.zeros((_WARM_UP + repeats, len(VARIANTS)))
    for number in range(len(found)):
        for at, variant in enumerate(VARIANTS):
            start = time.perf_counter()
            networks.compute(variant, images)
            found[number, at] = 1000 * (time.perf_counter() - start)
        report(max(0, number + 1 - _WARM_UP))
    return found[_WARM_UP:]


def _flop(networks: Networks, variant: Variant, images: torch.Tensor) -> int:
    """Counted; attention is written out, since not every fused kernel of it is known to the counter."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        networks.compute(variant, images)
    return counter.get_total_flops()


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    threads = torch.get_num_threads()
    name = named[0] if named else platform.processor() or platform.machine()
    return f"{name}, {device.type}, {threads} thread{'s' * (threads > 1)}, torch {torch.__version__}"
