"""What workers compute with: asked of them before a run, and one kind chosen for all of it."""

import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from dask.system import CPU_COUNT

from ..errors import SpaceClipError, first_line

_BEST = ("cuda", "rocm", "mps", "cpu")
_JOIN_SECONDS = 3.0


@dataclass(frozen=True, order=True)
class Environment:
    """What decides the bits that a worker computes.

    Attributes:
        device: Kind of its device (see `device_kind`).
        precision: That it computes in.
        libraries: Versions of those that matter, by name.
    """

    device: str
    precision: str
    libraries: tuple[tuple[str, str], ...]

    def require(self, run: "Environment") -> None:
        """Refuse another environment than the run's.

        Raises:
            SpaceClipError: It is another; says in what.
        """
        if self.device != run.device:
            raise SpaceClipError(f"it computes on {self.device}, the run on {run.device}")
        for (name, found), (_, wanted) in zip(self.libraries, run.libraries, strict=True):
            if found != wanted:
                raise SpaceClipError(f"it has {name} {found}, the run {wanted}: install the same version")


@dataclass(frozen=True)
class Chosen:
    """What a run computes with.

    Attributes:
        environment: Of all its workers; others are refused.
        workers: Addresses of those that have it, of all that were asked.
        sharing: How many workers share some cores, by their name (see `cores_here`).
    """

    environment: Environment
    workers: tuple[str, ...]
    sharing: Mapping[str, int]

    def sharing_here(self) -> int:
        """How many workers share this process's cores; on a machine that has joined since, as many as on others."""
        return self.sharing.get(cores_here()) or max(self.sharing.values())

    def threads_here(self) -> int:
        """How many threads of this process leave the others that share its cores theirs."""
        return max(1, CPU_COUNT // self.sharing_here())


def cores_here() -> str:
    """Names the machine and the cores of it that this process may use, as SLURM or a container has it."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(CPU_COUNT)
    return f"{os.uname().nodename} {sum(1 << core for core in cores):x}"


def choose_environment(
    client: Any,
    here: Callable[[], Environment],
    begun: Callable[[str], str | None] = lambda _precision: None,
    say: Callable[[str], None] = lambda _line: None,
) -> Chosen:
    """Ask the workers what they compute with, and choose what the run does; waits for a first worker.

    A store that was begun decides; then the better device, CUDA before MPS before processors; then the most workers.

    Args:
        client: Of the cluster, a `distributed.Client`.
        here: What a worker calls to learn its environment.
        begun: The kind of device that a store of a precision was begun on, if there is one.
        say: Called with a line where workers differ, or none is here.

    Raises:
        SpaceClipError: No worker has such a device, or none can load this version of spaceclip.
    """
    answers = _answers(client, here, say)
    found = {worker: answer for worker, answer in answers.items() if not isinstance(answer, Exception)}
    if not found:
        reason = first_line(next(iter(answers.values())))
        raise SpaceClipError(
            f"no worker can take part ({reason}): mend that, install this version of spaceclip on all of them, and "
            "start them anew"
        )
    counts = Counter(environment for environment, _ in found.values())
    stores = {environment.precision: begun(environment.precision) for environment in counts}

    def preference(environment: Environment) -> tuple[bool, int, int, Environment]:
        device, wanted = environment.device, stores[environment.precision]
        return wanted != device, _BEST.index(device.partition(" ")[0]), -counts[environment], environment

    chosen = min(counts, key=preference)
    if len(counts) > 1:
        kinds = ", ".join(
            f"{count} on {_described(environment, counts)}" for environment, count in counts.most_common()
        )
        say(f"the workers differ, {kinds}: the run takes those on {_described(chosen, counts)}")
    alike = {worker: cores for worker, (environment, cores) in found.items() if environment == chosen}
    return Chosen(chosen, tuple(alike), Counter(alike.values()))


def _described(environment: Environment, among: Collection[Environment]) -> str:
    """An environment, its libraries as far as they tell it from others."""
    differ = [each for each in environment.libraries if any(each not in other.libraries for other in among)]
    return " with ".join([f"{environment.device} in {environment.precision}", *map(" ".join, differ)])


def _answer(here: Callable[[], Environment]) -> tuple[Environment, str]:
    return here(), cores_here()


def _answers(client: Any, here: Callable[[], Environment], say: Callable[[str], None]) -> dict[str, Any]:
    """What each worker says, or how it failed to."""
    while not (answers := client.run(_answer, here, on_error="return")):
        say(f"no worker is here: waiting for some (`dask worker {client.scheduler.address}`)")
        client.wait_for_workers(1)
        time.sleep(_JOIN_SECONDS)  # those that were started with it join too
    return answers
