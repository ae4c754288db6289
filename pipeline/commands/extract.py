"""`spaceclip extract`: from images to a feature store."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..features import LOCATION

if TYPE_CHECKING:
    from ...cache import Location
    from ...extract import BackboneSettings, ExtractSettings, FolderData, OnError


def _numbers(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    try:
        return tuple(int(number) for number in text.split(",")) if text else None
    except ValueError:
        raise click.BadParameter(f"{text!r} is no list of numbers such as 0,1,2") from None


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="Experiment file; the other way is --images.")
@click.option("--split", help="Only this split: train, val, test or all.")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of images.")
@click.option("--depth", type=click.Path(path_type=Path), help="Folder of depth maps, a tree parallel to the images.")
@click.option(
    "--depth-scale", type=float, help="Stored depth values of one metre: 1000 for millimetres, 256 for KITTI."
)
@click.option("--depth-pattern", help="Depth file of an image, made of {parent} {stem} {name} {number}.")
@click.option(
    "--manifest", type=click.Path(path_type=Path), help="List (image [depth [focal]]), csv or jsonl of the files."
)
@click.option("--scene", help="Regular expression on the id whose first group names the scene; else the folder does.")
@click.option("--size", type=int, nargs=2, help="HEIGHT WIDTH that images and depth are brought to first.")
@click.option("--val", type=float, default=0.0, help="Share held out for validation.")
@click.option("--test", type=float, default=0.0, help="Share held out for testing.")
@click.option(
    "--split-by",
    type=click.Choice(["scene", "ratio", "column"]),
    help="Divide by scenes, samples, or the list's split column. [default: the column if there is one, else scenes]",
)
@click.option("--seed", type=int, default=42, show_default=True, help="Of the held-out shares.")
@click.option("--nan-is-invalid", is_flag=True, help="Read NaN and infinite depth as not measured.")
@click.option("--allow-far", is_flag=True, help="Accept a median depth over 200 m or under 0.05 m.")
@click.option("--max-pixels", type=int, help="Refuse larger pictures. [default: what Pillow takes for a bomb]")
@click.option("--backbone", help="Hub id, local folder, or random:<hub id>. [default: the paper's CLIP ViT-B/16]")
@click.option("--revision", help="Commit of the backbone on the hub.")
@click.option("--precision", help="auto, float32, bfloat16 or float16.")
@click.option("--layers", callback=_numbers, help="Hidden states to keep, as 0,1,2. [default: the paper's seven]")
@click.option("--batch-size", type=int, help="Images in one forward pass.")
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
@click.option("--scheduler", metavar="ADDRESS", help="Run on this Dask cluster, such as tcp://host:8786.")
@click.option("--workers", type=click.IntRange(min=1), help="Run on so many processes of this machine.")
@click.option("--gpus", is_flag=True, help="With --workers: a GPU for each.")
@click.option("--dry-run", is_flag=True, help="Only say what it would take: images, bytes, time. Writes nothing.")
def extract(
    config: Path | None,
    split: str | None,
    device: str,
    out: "Location | None",
    store: str | None,
    on_error: "OnError",
    retry_quarantined: bool,
    dry_run: bool,
    scheduler: str | None,
    workers: int | None,
    gpus: bool,
    **options: Any,
) -> None:
    """Run the frozen encoder once over every image and store its features.

    Either an experiment file:  spaceclip extract --config configs/demo.yaml

    or any folder of images:    spaceclip extract --images DIR --out features/mine [--depth DIR --depth-scale 1000]

    An interrupted run goes on where it stopped when the same command is given again.
    """
    # Threads that wait for one another shall not spin on cores that decoding needs; it counts when PyTorch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from ...cache import Pointer, SpaceClipError
    from ...evaluate import split_of
    from ...extract import SPLITS, open_splits
    from ..config import load_experiment
    from ..extraction import QUARANTINED, Manner, run

    given = [f"--{name.replace('_', '-')}" for name in options if _is_given(name)]
    if config is not None:
        if given:
            raise click.UsageError(f"{given[0]} and --config: an experiment's settings stand in its file")
        experiment = load_experiment(config)
        data, backbone, settings = experiment.data, experiment.backbone, experiment.extract
        out = out or Path("features") / config.stem
    elif options["images"] is None or out is None:
        raise click.UsageError("give --config, or --images and --out")
    else:
        experiment = None
        data, backbone, settings = _from_options(options)
    if store is not None:
        settings = settings.model_copy(update={"store": store})
    sources = open_splits(data)
    if config is None and list(sources) == ["train"]:
        sources = {"all": sources["train"]}
    # DVC asks for each split by name, whether an experiment's data set has it or not.
    if split not in (None, *sources) and (experiment is None or split not in SPLITS):
        raise SpaceClipError(f"--split {split}: the data set has no such split, it has {', '.join(sources)}")
    if (gpus and workers is None) or (scheduler and workers):
        raise click.UsageError("give --scheduler ADDRESS, or --workers N, with --gpus if each shall have one")
    manner = Manner(on_error, retry_quarantined, dry_run, scheduler, workers, gpus)
    quarantined = run(data, sources, backbone, settings, out, split, device, manner)
    if experiment is not None and not dry_run:
        # DVC's stages are the same for every data set: it finds a pointer for each split, if only to none.
        for name in SPLITS:
            if name not in sources and split in (None, name):
                Pointer.absent().write(out / f"{name}.json")
                click.echo(f"{out / f'{name}.json'}: none, the data set has no {name} split")
        for name in ("val", "test"):
            needing = [protocol for protocol in experiment.evaluate.protocols if split_of(protocol) == name]
            if name not in sources and needing:
                message = f"the {' and '.join(needing)} protocol of {config} will find no {name} split to score"
                click.echo(message, err=True)
    if quarantined:
        click.get_current_context().exit(QUARANTINED)


def _is_given(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def _from_options(options: dict[str, Any]) -> "tuple[FolderData, BackboneSettings, ExtractSettings]":
    from ...extract import BackboneSettings, ExtractSettings, FolderData
    from ..config import check_settings

    def chosen(**names: Any) -> dict[str, Any]:
        return {name: value for name, value in names.items() if value is not None}

    keep = (
        "images",
        "depth",
        "depth_scale",
        "depth_pattern",
        "manifest",
        "scene",
        "nan_is_invalid",
        "allow_far",
        "max_pixels",
    )
    shares = {"by": options["split_by"], "val": options["val"], "test": options["test"], "seed": options["seed"]}
    data = check_settings(FolderData, chosen(split=shares, **{name: options[name] for name in keep}), "options")
    backbone = chosen(name=options["backbone"], revision=options["revision"], precision=options["precision"])
    settings = chosen(layers=options["layers"], target_size=options["size"] or None, batch_size=options["batch_size"])
    return (
        data,
        check_settings(BackboneSettings, backbone, "options"),
        check_settings(ExtractSettings, settings, "options"),
    )
