"""Extracting the splits of a data set, and what is said of it on the way."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client

    from ..cache import Location
    from ..extract import (
        Backbone,
        BackboneSettings,
        DataSettings,
        Extraction,
        ExtractSettings,
        OnError,
        Prediction,
        Source,
    )

QUARANTINED = 3
"""Exit status where images were quarantined."""

_SHOWN = 3


@dataclass(frozen=True)
class Manner:
    """How to go about it; nothing of this changes a byte of what is kept.

    Attributes:
        on_error: What to do with an image that cannot be used.
        retry_quarantined: Do the shards again that hold quarantined images.
        dry_run: Only say what would be done.
        scheduler: Address of a Dask scheduler to run on.
        workers: Processes of a cluster of this machine's own.
        gpus: Whether each of these has a GPU of its own.
    """

    on_error: "OnError" = "stop"
    retry_quarantined: bool = False
    dry_run: bool = False
    scheduler: str | None = None
    workers: int | None = None
    gpus: bool = False

    @property
    def distributed(self) -> bool:
        """Whether it runs on a cluster."""
        return self.scheduler is not None or self.workers is not None

    @property
    def whose_time(self) -> str:
        """What to say of a predicted time that several processes will share."""
        return "; the time is that of one process" if self.distributed else ""


def run(
    data: "DataSettings",
    sources: "dict[str, Source]",
    backbone: "BackboneSettings",
    settings: "ExtractSettings",
    out: "Location",
    split: str | None,
    device: str,
    manner: Manner,
) -> int:
    """Extract the splits of a data set, or one of them; nothing where it lacks that one.

    Returns:
        Images of these splits that are quarantined.
    """
    from ..extract import describe, keep_freed_memory, load_backbone
    from .device import choose_device

    wanted = {name: source for name, source in sources.items() if split in (None, name)}
    if not wanted:
        return 0
    encoder = load_backbone(
        backbone.name,
        revision=backbone.revision,
        seed=backbone.seed,
        precision=backbone.precision,
        device=choose_device(device),
    )
    encoder.check_layers(settings.layers)
    if encoder.device.type == "cpu":
        keep_freed_memory()
    _check(wanted, encoder, settings, manner)
    if manner.dry_run or len(wanted) > 1:
        _plan(wanted, encoder, settings, out, manner)
    if manner.dry_run:
        return 0
    quarantined = 0
    with _cluster(manner) as client:
        for name, source in wanted.items():
            about = describe(data, name, sources)
            # `all` is what a data set without splits is called; its source goes by `train`.
            place = "cuda" if manner.gpus else device
            job = (client, data, "train" if name == "all" else name, backbone, place) if client else None
            found = _extract_split(name, source, encoder, settings, out, about, manner, job)
            quarantined += len(found.quarantined)
    return quarantined


@contextmanager
def _cluster(manner: Manner) -> "Iterator[Client | None]":
    """The cluster that was asked for; None for this process alone."""
    if not manner.distributed:
        yield None
        return
    from ..extract.cluster import connected, dashboard, local_cluster

    if manner.scheduler is not None:
        cluster = connected(manner.scheduler)
    else:
        cluster = local_cluster(manner.workers or 1, gpus=manner.gpus)
    with cluster as client:
        click.echo(f"dashboard: {dashboard(client)}", err=True)
        yield client


def _check(sources: "dict[str, Source]", encoder: "Backbone", settings: "ExtractSettings", manner: Manner) -> None:
    """Whatever can be known to be wrong with a later split is known before the first one's long work."""
    from ..cache import SpaceClipError
    from ..extract import store_spec

    targets: dict[str, Any] = {}
    said: set[str] = set()
    for name, source in sources.items():
        try:
            # Splits of one folder have the same to say.
            for note in [note for note in source.check() if note not in said]:
                said.add(note)
                click.echo(f"data: {note}", err=True)
        except SpaceClipError as error:
            if manner.on_error == "stop":
                raise
            click.echo(f"{name}: {error}; going on, since bad images are quarantined", err=True)
        targets[name] = store_spec(source, encoder, settings).preprocessing["target_size"]
    if len(set(targets.values())) > 1:
        raise SpaceClipError(
            f"depth of different sizes in the splits, {targets}; give one target_size for all (--size)"
        )


def _plan(
    sources: "dict[str, Source]", encoder: "Backbone", settings: "ExtractSettings", out: "Location", manner: Manner
) -> None:
    """Refuse stores that have no room together, and say what each will take if that is all that is wanted."""
    from ..extract import plan, require_space, room

    plans: list[Prediction] = []
    for name, source in sources.items():
        found = plan(
            *(source, encoder, settings, out, name),
            on_error=manner.on_error,
            retry_quarantined=manner.retry_quarantined,
            timed=manner.dry_run,
        )
        plans.append(found)
        if manner.dry_run:
            precision = encoder.identity["precision"]
            click.echo(f"{found.store}: {found}; on {encoder.device} in {precision}{manner.whose_time}")
    # They lie in one folder, and so on one disk.
    folder, free, needed = plans[0].store.parent, plans[0].free, sum(found.bytes for found in plans)
    if manner.dry_run and len(plans) > 1:
        click.echo(f"{folder}: about {needed / 1e9:.2f} GB in all ({room(free)})")
    require_space(folder, needed, free, len(plans))


def _extract_split(
    name: str,
    source: "Source",
    encoder: "Backbone",
    settings: "ExtractSettings",
    out: "Location",
    about: dict[str, Any],
    manner: Manner,
    job: "tuple[Client, DataSettings, str, BackboneSettings, str] | None",
) -> "Extraction":
    from ..extract import extract as extract_split
    from .progress import progress

    with progress(f"extract {name}", "images") as report:
        note = ""

        def told(done: int, total: int) -> None:
            report(done, total, note)

        def workers(count: int) -> None:
            nonlocal note
            note = f"{count} workers" if count else "waiting for workers"

        fill = None
        if job is not None:
            from ..extract.cluster import fill_on

            fill = fill_on(
                *job, settings, manner.on_error, workers, lambda line: click.echo(f"extract {name}: {line}", err=True)
            )
        found = extract_split(
            *(source, encoder, settings, out, name, about, told),
            on_error=manner.on_error,
            retry_quarantined=manner.retry_quarantined,
            predicted=lambda prediction: click.echo(f"extract {name}: {prediction}{manner.whose_time}", err=True),
            fill=fill,
        )
    if found.ceilings:
        click.echo(f"extract {name}: {found.ceilings}", err=True)
    without = f", {about['without_depth']} without ground truth" if about.get("without_depth") else ""
    depth = f"; depth {found.depth}" if found.depth else ""
    click.echo(
        f"{found.pointer}: {found.images} images{without} ({found.computed} computed now) in {found.store}{depth}"
    )
    if found.quarantined:
        _say_quarantined(found)
    return found


def _say_quarantined(found: "Extraction") -> None:
    bad = found.quarantined
    shown = "; ".join(f"{sample.id}: {sample.reason}" for sample in bad[:_SHOWN])
    more = f"; and {len(bad) - _SHOWN} more (`spaceclip cache info {found.pointer}`)" if len(bad) > _SHOWN else ""
    click.echo(
        f"{found.pointer}: {len(bad)} of {found.images} images quarantined, in no batch: {shown}{more}; mend them and "
        "run the same command with --retry-quarantined",
        err=True,
    )
