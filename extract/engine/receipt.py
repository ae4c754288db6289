"""What each stage of an extraction did, how much of it was waiting, which one binds, and what would help."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from dask.system import CPU_COUNT

DECODE, ENCODE, WRITE = "decoding", "encoding", "writing"

_BOUND = 0.7
"""A stage that is busy for less of the time does not bind."""


class Span(NamedTuple):
    """Time in which one thread worked for a stage, in seconds of `time.perf_counter`."""

    stage: str
    thread: str
    start: float
    stop: float


@dataclass(frozen=True)
class StageReceipt:
    """What one stage did.

    Attributes:
        threads: Threads that work for it, or devices.
        busy: Seconds that they worked, added up; for a GPU those that it computed.
        cpu: Seconds of processor time of its threads.
    """

    threads: int
    busy: float
    cpu: float = 0.0

    def rate(self, images: int) -> float:
        """Images a second, were it never kept waiting."""
        return images * self.threads / self.busy


@dataclass(frozen=True)
class Receipt:
    """What an extraction reached, and what each of its stages could.

    Attributes:
        images: Images computed.
        bytes: Bytes written.
        seconds: From the first decoded to the last committed.
        stages: By name.
        device: The encoder's device: `cpu`, `cuda` or `mps`.
        cores: Cores that the process may use.
        workers: Processes.
        encoded: Images that went through the encoder, each view of one by itself.
    """

    images: int
    bytes: int
    seconds: float
    stages: dict[str, StageReceipt]
    device: str = "cpu"
    cores: int = CPU_COUNT
    workers: int = 1
    encoded: int = 0

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """From what `dataclasses.asdict` made of one."""
        stages = {name: StageReceipt(**stage) for name, stage in fields["stages"].items()}
        return cls(**{**fields, "stages": stages})

    @property
    def rates(self) -> dict[str, float]:
        """Images a second of each stage, were it never kept waiting."""
        return {name: stage.rate(self.images) for name, stage in self.stages.items() if stage.busy}

    @property
    def busy(self) -> dict[str, float]:
        """Share of the time that each stage was busy, 0 to 1."""
        return {name: stage.busy / stage.threads / self.seconds for name, stage in self.stages.items()}

    @property
    def alone(self) -> float:
        """Seconds an image, by the slowest stage; on a processor, whose cores all stages share, by all together."""
        stages = self.stages.values()
        if self.device != "cpu":
            return max(stage.busy / stage.threads for stage in stages) / self.images
        host = sum(stage.cpu for name, stage in self.stages.items() if name != ENCODE) / self.cores
        return (self.stages[ENCODE].busy + host) / self.images

    @property
    def binding(self) -> str:
        """The stage that waits least."""
        return max(self.busy, key=self.busy.__getitem__)

    @property
    def share(self) -> float:
        """What was reached of the binding stage's rate, 0 to 1."""
        return self.images / self.seconds / self.rates[self.binding]

    @property
    def advice(self) -> str:
        """Which stage binds, and what would help."""
        name, busy = self.binding, self.busy[self.binding]
        stage, rates = self.stages[name], self.rates
        if busy < _BOUND:
            return (
                f"no stage binds ({name} was busiest, {busy:.0%}): start and end took most of a short run, or others "
                "use the machine"
            )
        ceiling = min((rate for other, rate in rates.items() if other != name), default=rates[name])
        held = f"{name} binds, busy {busy:.0%}"
        if name == ENCODE:
            return (
                f"{held}: {'a GPU would help, or more cores' if self.device == 'cpu' else 'the host keeps up with it'}"
            )
        if name == WRITE:
            speed = self.bytes / 1e6 * self.workers / (stage.busy / stage.threads)
            return f"{held} ({speed:,.0f} MB/s): a faster disk would give up to {ceiling:,.0f} images/s"
        if name == DECODE and self.device != "cpu":
            more = max(1, round(stage.threads * (ceiling / rates[name] - 1)))
            return f"{held} in {stage.threads} threads: {more} more cores would give about {ceiling:,.0f} images/s"
        return f"{held}: more cores would help"

    def __str__(self) -> str:
        stages = ", ".join(f"{name} {rate:,.1f} (busy {self.busy[name]:.0%})" for name, rate in self.rates.items())
        # On a processor the encoder's own threads are the device.
        host = [stage.cpu for name, stage in self.stages.items() if name != ENCODE or self.device != "cpu"]
        cpu = 1000 * sum(host) / self.images
        return (
            f"{self.images / self.seconds:,.1f} images/s, {self.bytes / 1e6 / self.seconds:,.0f} MB/s; alone: {stages} "
            f"images/s; the host's threads took {cpu:.1f} ms an image; {self.advice}"
        )


def together(workers: Sequence[Receipt], images: int, seconds: float) -> Receipt | None:
    """The receipt of several workers. None where they said nothing.

    Args:
        workers: Each worker's own.
        images: Images computed by all.
        seconds: That the run took, its waiting for workers and for their encoders included.
    """
    if not workers or not images:
        return None
    stages = {
        name: StageReceipt(
            sum(worker.stages[name].threads for worker in workers),
            sum(worker.stages[name].busy for worker in workers),
            sum(worker.stages[name].cpu for worker in workers),
        )
        for name in workers[0].stages
    }
    size, cores, encoded = (sum(getattr(one, name) for one in workers) for name in ("bytes", "cores", "encoded"))
    return Receipt(images, size, seconds, stages, workers[0].device, cores, len(workers), encoded)


@dataclass
class Stage:
    """Adds up the time that a stage is busy; from any thread.

    Attributes:
        name: Of the stage.
        threads: Threads that work for it, or devices.
        spans: Gets each piece of work, where a trace is wanted.
    """

    name: str
    threads: int
    spans: list[Span] | None = None
    _busy: float = 0.0
    _cpu: float = 0.0
    _lock: Any = field(default_factory=threading.Lock)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count the time of a `with` block."""
        start, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            self.add(start, time.perf_counter(), time.thread_time() - cpu)

    def add(self, start: float, stop: float, cpu: float = 0.0) -> None:
        """Count a piece of work."""
        with self._lock:
            self._busy += stop - start
            self._cpu += cpu
            if self.spans is not None:
                self.spans.append(Span(self.name, threading.current_thread().name, start, stop))

    def receipt(self) -> StageReceipt:
        """What it did until now."""
        return StageReceipt(self.threads, self._busy, self._cpu)


class Meter:
    """The stages of one engine, and what they achieved.

    Args:
        threads: Threads by stage.
        device: The encoder's device.
        trace: Whether each piece of work is kept, for a picture of who waits for whom.
    """

    def __init__(self, threads: dict[str, int], device: str, *, trace: bool = False) -> None:
        self.spans: list[Span] | None = [] if trace else None
        self.stages = {name: Stage(name, count, self.spans) for name, count in threads.items()}
        self._device, self._lock = device, threading.Lock()
        self._images = self._bytes = self._encoded = 0
        # Never the time of day: clocks are set back while a run of days goes on.
        self._start: float | None = None

    def begin(self) -> None:
        """From now on time counts."""
        if self._start is None:
            self._start = time.perf_counter()

    def stored(self, images: int, views: int, size: int) -> None:
        """Count images that are done, the views of each that were encoded, and the bytes that were stored of them."""
        with self._lock:
            self._images += images
            self._encoded += images * views
            self._bytes += size

    def receipt(self) -> Receipt | None:
        """What was measured until now; None where nothing was done."""
        if self._start is None or not self._images:
            return None
        stages = {name: stage.receipt() for name, stage in self.stages.items()}
        seconds = time.perf_counter() - self._start
        return Receipt(self._images, self._bytes, seconds, stages, self._device, encoded=self._encoded)
