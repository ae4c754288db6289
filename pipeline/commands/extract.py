"""`spaceclip extract`: from images to a feature store."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..clusters import ClusterChoice, cluster_options
from ..paths import FILE, FOLDER, LOCATION, require_writable
from .settings import set_option

if TYPE_CHECKING:
    from ...cache import Location
    from ...extract import DatasetExtraction, Extraction
    from ..config import Experiment

QUARANTINED = 3
"""Exit status where images were quarantined."""

_SHOWN = 3

_SETTINGS = {
    "val": "data.split.val",
    "test": "data.split.test",
    "seed": "data.split.seed",
    "split_by": "data.split.by",
    "backbone": "backbone.name",
    "revision": "backbone.revision",
    "precision": "backbone.precision",
    "layers": "extract.layers",
    "batch_size": "extract.batch_size",
    "size": "extract.target_size",
}
"""The settings that options stand for; those of the other options are of `data`, by the same name."""


def _setting(option: str) -> str:
    return _SETTINGS.get(option, f"data.{option}")


@contextmanager
def _as_options(names: Iterable[str]) -> Iterator[None]:
    """Errors that name a setting name its option instead: `--split-by ratio` for `data.split.by: ratio`."""
    from ...cache import SpaceClipError

    options = {_setting(name): f"--{name.replace('_', '-')}" for name in names}
    known = "|".join(re.escape(setting) for setting in options)
    try:
        yield
    except SpaceClipError as error:
        # An option's value follows without a colon, unlike what is said of it.
        text = re.sub(rf"\b({known}): (?=(?:scene|ratio|column)\b)", r"\1 ", str(error))
        error.args = (re.sub(rf"\b({known})\b", lambda found: options[found[1]], text),)
        raise


def numbers(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """The numbers of an option such as 0,1,2."""
    try:
        return None if text is None else tuple(int(number) for number in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is no list of numbers such as 0,1,2") from None


@click.command()
@click.option("--config", type=FILE, help="Experiment file; the other way is --images.")
@click.option("--split", help="Only this split: train, val, test or all.")
@click.option("--images", type=FOLDER, help="Folder of images.")
@click.option("--image-pattern", help="Which files below --images to take. [default: **/*]")
@click.option("--depth", type=FOLDER, help="Folder of depth maps, a tree parallel to the images.")
@click.option(
    "--depth-scale", type=float, help="Stored depth values of one metre: 1000 for millimetres, 256 for KITTI."
)
@click.option("--depth-pattern", help="Depth file of an image, made of {parent} {stem} {name} {number}.")
@click.option("--manifest", type=FILE, help="List (image [depth [focal]]), csv or jsonl of the files.")
@click.option("--scene", help="Regular expression on the id whose first group names the scene; else the folder does.")
@click.option("--size", type=int, nargs=2, help="HEIGHT WIDTH that images and depth are brought to first.")
@click.option("--val", type=float, help="Share held out for validation. [default: none]")
@click.option("--test", type=float, help="Share held out for testing. [default: none]")
@click.option(
    "--split-by",
    type=click.Choice(["scene", "ratio", "column"]),
    help="Divide by scenes, samples, or the list's split column. [default: the column if there is one, else scenes]",
)
@click.option("--seed", type=int, help="Of the held-out shares: data.split.seed. [default: 42]")
@click.option("--nan-is-invalid", is_flag=True, default=None, help="Read NaN and infinite depth as not measured.")
@click.option("--allow-far", is_flag=True, default=None, help="Accept a median depth over 200 m or under 0.05 m.")
@click.option("--max-pixels", type=int, help="Refuse larger pictures. [default: what Pillow takes for a bomb]")
@click.option(
    "--backbone",
    help="Hub id, local folder or embedded:clip-tiny; random:<any of these, or a config.json> for random weights. "
    "[default: the paper's CLIP ViT-B/16]",
)
@click.option(
    "--host", help="PKG:CALLABLE that makes a model whose own, perhaps fine-tuned, CLIP tower is the backbone."
)
@click.option("--revision", help="Commit of the backbone on the hub.")
@click.option("--precision", help="auto, float32, bfloat16 or float16.")
@click.option("--layers", callback=numbers, help="Hidden states to keep, as 0,1,2. [default: the paper's seven]")
@click.option("--batch-size", type=int, help="Images in one forward pass.")
@set_option
@click.option("--device", default="auto", show_default=True)
@click.option(
    "--out", type=LOCATION, help="Where stores and their pointers go, a folder or URL. [default: features/<experiment>]"
)
@click.option("--store", help="Where the stores alone go, if apart: a folder, or s3://bucket/prefix, gs:// or az://.")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "quarantine"]),
    default="stop",
    show_default=True,
    help="At an image that cannot be used: stop, or record it, leave it out of batches, and exit with status 3.",
)
@click.option("--retry-quarantined", is_flag=True, help="Do the shards again that hold quarantined images.")
@cluster_options
@click.option("--dry-run", is_flag=True, help="Only say what it would take: images, bytes, time. Writes nothing.")
def extract(
    config: Path | None,
    split: str | None,
    device: str,
    out: "Location | None",
    store: str | None,
    dry_run: bool,
    on_error: Any,
    retry_quarantined: bool,
    cluster: ClusterChoice,
    assignments: tuple[str, ...],
    host: str | None,
    **options: Any,
) -> None:
    """Run the frozen encoder once over every image and store its features.

    Either an experiment file:  spaceclip extract --config configs/demo.yaml

    or any folder of images:    spaceclip extract --images DIR --out features/mine [--depth DIR --depth-scale 1000]

    An option that is a setting wins over the experiment's file.

    An interrupted run goes on where it stopped when the same command is given again.
    """
    # Threads that wait for one another shall not spin on cores that decoding needs; it counts when PyTorch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    folder = out or (Path("features") / config.stem if config else None)
    if folder is None or not (config or options["images"]):
        raise click.UsageError("give --config, or --images and --out")
    from ...cache import SpaceClipError, locate
    from ...extract import HOST, SPLITS, DatasetExtraction, RunOptions, open_splits
    from ..config import Experiment, apply_options, chosen_options, load_experiment
    from ..device import choose_device
    from ..progress import progress

    if host is not None:
        if options["backbone"]:
            raise click.UsageError("--backbone and --host both name the encoder: give one of them")
        options["backbone"] = HOST + host
    chosen = chosen_options(assignments, {_setting(name): options[name] for name in options})
    with nullcontext() if config else _as_options(options):
        if config is None:
            experiment = apply_options(Experiment, {"data": {"kind": "folder"}}, chosen)
        else:
            experiment = load_experiment(config, chosen)
        settings = experiment.extract
        if store is not None:
            settings = settings.model_copy(update={"store": store})
        for place in (folder, *([locate(settings.store)] if settings.store else [])):
            require_writable(place)
        sources = open_splits(experiment.data)
    if not config and list(sources) == ["train"]:
        sources = {"all": sources["train"]}
    wanted = tuple(name for name in sources if split in (None, name))
    # DVC expects a pointer of each split, whether the data set has it or not.
    absent = [name for name in SPLITS if config and name not in sources and split in (None, name)]
    if not wanted and not absent:
        raise SpaceClipError(f"--split {split}: the data set has no such split, it has {', '.join(sources)}")
    # The workers of a cluster may have what this machine lacks.
    here = choose_device("cpu" if cluster.scheduler else device)
    run = DatasetExtraction(
        data=experiment.data,
        sources=sources,
        wanted=wanted,
        backbone=experiment.backbone,
        settings=settings,
        folder=folder,
        options=RunOptions(here, device, on_error, retry_quarantined, **vars(cluster)),
        say=lambda line: click.echo(line, err=True),
        progress=progress,
    )
    if dry_run:
        _print_plan(run)
        return
    quarantined = [_print(found) for found in run.run()]
    _leave_absent(folder, absent, experiment, config)
    if any(quarantined):
        click.get_current_context().exit(QUARANTINED)


def _print_plan(run: "DatasetExtraction") -> None:
    from ...cache import size_text
    from ...extract import room

    plans = []
    for found in run.plan():
        plans.append(found)
        click.echo(f"{found.store}: {found}; {run.conditions}")
    if len(plans) > 1:
        needed = sum(found.bytes for found in plans)
        click.echo(f"{plans[0].store.parent}: about {size_text(needed)} in all ({room(plans[0].free)})")


def _print(found: "Extraction") -> bool:
    """Say what was done; returns whether images were quarantined."""
    click.echo(str(found))
    if bad := found.quarantined:
        shown = "; ".join(f"{sample.id}: {sample.reason}" for sample in bad[:_SHOWN])
        more = f"; and {len(bad) - _SHOWN} more (`spaceclip cache info {found.pointer}`)" if len(bad) > _SHOWN else ""
        click.echo(
            f"{found.pointer}: {len(bad)} of {found.images} images quarantined, in no batch: {shown}{more}; mend them "
            "and run the same command with --retry-quarantined",
            err=True,
        )
    return bool(bad)


def _leave_absent(folder: "Location", absent: list[str], experiment: "Experiment", config: Path | None) -> None:
    """Leave pointers to none: DVC's stages are the same for every data set, and it finds a pointer for each split."""
    from ...cache import Pointer
    from ...evaluate import split_of

    for name in absent:
        Pointer.absent().write(folder / f"{name}.json")
        click.echo(f"{folder / f'{name}.json'}: none, the data set has no {name} split")
        if needing := [protocol for protocol in experiment.evaluate.protocols if split_of(protocol) == name]:
            click.echo(f"the {' and '.join(needing)} protocol of {config} will find no {name} split to score", err=True)
