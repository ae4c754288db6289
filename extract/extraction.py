"""The extraction of a data set: its splits one after another, on this machine or on a cluster."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol

import torch

from ..cache import Location, SpaceClipError, keep_freed_memory, whole_store
from .computed import begun_with
from .estimate import Prediction, require_space
from .redivision import moved_samples, store_of
from .samples import OnError
from .settings import ExtractSettings, store_spec
from .sources.data_settings import AnyData, describe
from .sources.source import Source
from .split_extraction import Extraction, extract, plan, store_at
from .towers import Backbone, BackboneSettings, load_backbone

if TYPE_CHECKING:
    from distributed import Security

    from .cluster import Cluster


class Report(Protocol):
    """Shows how far the work is."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Done of total, and what else to show."""
        ...


@dataclass(frozen=True)
class RunOptions:
    """How an extraction is carried out; nothing of this changes a byte of what is kept.

    Attributes:
        device: Where the encoder computes in this process.
        worker_device: Where it computes in the workers of a cluster; `auto` takes a worker's GPU, if it has one.
        on_error: What to do with an image that cannot be used.
        retry_quarantined: Do the shards again that hold quarantined images.
        scheduler: Address of a Dask scheduler to run on.
        certificates: To reach that by.
        workers: Processes of a cluster of this machine's own.
        gpus: Whether each of these has a GPU of its own.
    """

    device: torch.device
    worker_device: str = "auto"
    on_error: OnError = "stop"
    retry_quarantined: bool = False
    scheduler: str | None = None
    certificates: "Security | None" = None
    workers: int | None = None
    gpus: bool = False

    @property
    def distributed(self) -> bool:
        """Whether it runs on a cluster."""
        return self.scheduler is not None or self.workers is not None


@dataclass(frozen=True)
class DatasetExtraction:
    """The extraction of a data set.

    Attributes:
        data: The data set.
        sources: All its splits, by name; one that is not divided may go by `all`.
        wanted: Names of the splits to extract.
        backbone: The frozen encoder.
        settings: What to keep.
        folder: Where stores and pointers go.
        options: How it is carried out.
        say: Called with each line that a user should know on the way.
        progress: Makes the progress bar of a piece of work, from its name and unit.
    """

    data: AnyData
    sources: Mapping[str, Source]
    wanted: tuple[str, ...]
    backbone: BackboneSettings
    settings: ExtractSettings
    folder: Location
    options: RunOptions
    say: Callable[[str], None]
    progress: Callable[[str, str], AbstractContextManager[Report]]

    def plan(self) -> Iterator[Prediction]:
        """What each split will take; nothing is written. Of a cluster no time is said, since it hangs on its workers.

        Raises:
            SpaceClipError: Bad input, or, after the last, too little room for all of them together.
        """
        self._check()
        with self._cluster() as cluster:
            yield from self._plans(cluster, timed=cluster is None, say=self.say)

    def run(self) -> Iterator[Extraction]:
        """Extract each split, after everything that can be known to be wrong with any of them is known.

        Pointers to stores of other samples or settings are replaced, or removed, with the first of them: an
        interrupted run leaves none of the old beside the new.

        Raises:
            SpaceClipError: As `extract`.
        """
        if not self.wanted:
            return
        self._check()
        with self._cluster() as cluster:
            if len(self.wanted) > 1:
                list(self._plans(cluster, timed=False))
            outdated = self._outdated()
            for name in self.wanted:
                with self.progress(f"extract {name}", "images") as report:
                    found = self._extract(name, cluster, report, outdated)
                yield found

    def _outdated(self) -> dict[str, Location]:
        """The pointers that will mean other stores, by split."""
        pointers = {name: self.folder / f"{name}.json" for name in self.wanted}
        stores = {name: store for name, file in pointers.items() if (store := store_of(file))}
        return {
            name: pointers[name]
            for name, store in stores.items()
            if store.fingerprint != store_spec(self.sources[name], self._encoder, self.settings).fingerprint
        }

    def _plans(
        self, cluster: "Cluster | None", *, timed: bool, say: Callable[[str], None] = lambda _line: None
    ) -> Iterator[Prediction]:
        plans: list[Prediction] = []
        for name in self.wanted:
            found = plan(
                *(self.sources[name], self._encoder, self.settings, self.folder, name),
                on_error=self.options.on_error,
                retry_quarantined=self.options.retry_quarantined,
                timed=timed,
                say=say,
                settle=cluster.settle if cluster else None,
            )
            plans.append(found)
            yield found
        if plans:
            # They lie in one folder, and so on one disk.
            needed = sum(found.bytes for found in plans)
            require_space(plans[0].store.parent, needed, plans[0].free, len(plans))

    @property
    def conditions(self) -> str:
        """What a plan is for: the device, if it is this process's, and the precision."""
        device = "the cluster" if self.options.distributed else self._encoder.device
        return f"on {device} in {self._encoder.identity['precision']}"

    @cached_property
    def _encoder(self) -> Backbone:
        """The encoder of this process; of a cluster it is loaded for its identity alone, and computes nothing."""
        settings, distributed = self.backbone, self.options.distributed
        if self.options.device.type == "cpu" and not distributed:
            keep_freed_memory()
        encoder = load_backbone(
            settings.name,
            revision=settings.revision,
            seed=settings.seed,
            precision="float32" if distributed else settings.precision,
            device="cpu" if distributed else self.options.device,
        )
        encoder.check_layers(self.settings.layers)
        return encoder

    def _check(self) -> None:
        targets = {}
        notes: dict[str, None] = {}
        for name in self.wanted:
            source = self.sources[name]
            try:
                notes |= dict.fromkeys(source.check())
            except SpaceClipError as error:
                if self.options.on_error == "stop":
                    raise
                self.say(f"{name}: {error}; going on, since bad images are quarantined")
            targets[name] = store_spec(source, self._encoder, self.settings).preprocessing["target_size"]
        for note in notes:
            self.say(f"data: {note}")
        if moved := moved_samples(self.folder, self.sources):
            self.say(f"data: {moved}")
        if len(set(targets.values())) > 1:
            raise SpaceClipError(
                f"depth of different sizes in the splits, {targets}; give one target_size for all (--size)"
            )

    @contextmanager
    def _cluster(self) -> "Iterator[Cluster | None]":
        """The cluster that was asked for; None for this process alone."""
        options = self.options
        if not options.distributed:
            yield None
            return
        from ..cache.cluster import choose_environment, dashboard, reached
        from .cluster import Cluster, encoders_kept, environment_here

        connection = reached(
            options.scheduler, options.certificates, options.workers or 1, gpus=options.gpus, say=self.say
        )
        with connection as client, encoders_kept(client):
            if link := dashboard(client):
                self.say(f"dashboard: {link}")
            device = "cuda" if options.gpus else options.worker_device
            here = partial(environment_here, device, self.backbone.precision)
            chosen = choose_environment(client, here, self._begun_on, self.say)
            self._encoder.identity["precision"] = chosen.environment.precision
            yield Cluster(client, self.data, self.backbone, device, chosen, self.settings, options.on_error)

    def _begun_on(self, precision: str) -> str | None:
        """The kind of device that one of the stores was begun on and has yet to be finished."""
        self._encoder.identity["precision"] = precision
        for name in self.wanted:
            spec = store_spec(self.sources[name], self._encoder, self.settings)
            store = store_at(self.folder, name, spec, self.settings)
            if whole_store(store, spec) is None and (begun := begun_with(store)):
                return begun["device"]
        return None

    def _extract(
        self, name: str, cluster: "Cluster | None", report: Report, outdated: dict[str, Location]
    ) -> Extraction:
        note = ""
        changes = outdated.pop(name, None) is not None

        def count_workers(count: int) -> None:
            nonlocal note
            note = f"{count} workers" if count else "waiting for workers"

        def say(line: object) -> None:
            self.say(f"extract {name}: {line}")

        found = extract(
            *(self.sources[name], self._encoder, self.settings, self.folder, name),
            {**describe(self.data, name, self.sources), "hidden_states": self._encoder.depth + 1},
            lambda done, total: report(done, total, note),
            on_error=self.options.on_error,
            retry_quarantined=self.options.retry_quarantined,
            say=say,
            predicted=say,
            # A data set that is not divided is its training split to whoever opens it.
            fill=cluster.fill("train" if name == "all" else name, count_workers, say) if cluster else None,
            settle=cluster.settle if cluster else None,
            outdated=tuple(outdated.values()) if changes else (),
        )
        if found.receipt:
            say(found.receipt)
        return found
