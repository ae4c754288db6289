"""How fast each stage of an extraction could go by itself, measured while all of them run."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

DECODE, ENCODE, WRITE = "decoding", "encoding", "writing"


@dataclass(frozen=True)
class Ceilings:
    """What an extraction reached, and what each of its stages would reach were it never kept waiting.

    Attributes:
        images: Images computed.
        seconds: From the first decoded to the last committed.
        rates: Images a second of each stage while it was busy; all decoding threads together.
        megabytes: Megabytes a second of the writing, likewise.
    """

    images: int
    seconds: float
    rates: dict[str, float]
    megabytes: float

    @property
    def binding(self) -> str:
        """The slowest stage."""
        return min(self.rates, key=self.rates.__getitem__)

    @property
    def share(self) -> float:
        """What was reached of the slowest stage's rate, 0 to 1."""
        return self.images / self.seconds / self.rates[self.binding]

    def __str__(self) -> str:
        stages = ", ".join(f"{stage} {rate:,.1f}" for stage, rate in self.rates.items())
        return (
            f"{self.images / self.seconds:,.1f} images/s; alone: {stages} images/s ({self.megabytes:,.0f} MB/s); "
            f"{self.binding} binds, {self.share:.0%} of it reached"
        )


def together(workers: Sequence[Ceilings], images: int, seconds: float) -> Ceilings | None:
    """Of several workers: what each stage would reach adds up. None where they said nothing.

    Args:
        workers: Each worker's own.
        images: Images computed by all.
        seconds: That the run took, its waiting for workers and for their encoders included.
    """
    if not workers or not images:
        return None
    rates = {stage: sum(worker.rates[stage] for worker in workers) for stage in workers[0].rates}
    return Ceilings(images, seconds, rates, sum(worker.megabytes for worker in workers))


class Stages:
    """Adds up the time that each stage is busy; from any thread.

    Args:
        threads: Threads that decode.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._seconds = {DECODE: 0.0, ENCODE: 0.0, WRITE: 0.0}
        self._images = self._bytes = 0
        # Never the time of day: clocks are set back while a run of days goes on.
        self._start = time.perf_counter()

    @contextmanager
    def busy(self, stage: str) -> Iterator[None]:
        """Count the time of a `with` block for a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[stage] += time.perf_counter() - start

    def stored(self, images: int, size: int) -> None:
        """Count images that are done, and the bytes that were stored of them."""
        with self._lock:
            self._images += images
            self._bytes += size

    def ceilings(self) -> Ceilings | None:
        """What was measured since this was made; None where nothing was done."""
        if not self._images or not all(self._seconds.values()):
            return None
        rates = {stage: self._images / seconds for stage, seconds in self._seconds.items()}
        rates[DECODE] *= min(self._threads, self._images)
        megabytes = self._bytes / 1e6 / self._seconds[WRITE]
        return Ceilings(self._images, time.perf_counter() - self._start, rates, megabytes)
