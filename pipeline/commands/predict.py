"""`spaceclip predict`: from photographs to depth in metres."""

from pathlib import Path
from typing import Any

import click

from ..paths import NEW, require_writable

UNUSABLE = 3
"""Exit status where images could not be used."""

_KINDS = ("png", "npy", "png16", "ply", "glb", "side", "video")


def kinds(_context: click.Context, _option: click.Parameter, text: str) -> tuple[str, ...]:
    """The formats of an option such as png,npy."""
    found = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    if unknown := [word for word in found if word not in _KINDS]:
        raise click.BadParameter(f"{unknown[0]!r} is no format; choose among {', '.join(_KINDS)}")
    return found


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option("--checkpoint", required=True, help="Folder of a checkpoint, or its id on the Hugging Face hub.")
@click.option("--revision", help="Commit of the checkpoint on the hub.")
@click.option("--backbone", help="Where the encoder is, if not where the checkpoint's record says.")
@click.option("--out", type=NEW, required=True, help="Folder for the outputs; folders of images are mirrored in it.")
@click.option(
    "--save",
    callback=kinds,
    default="png",
    show_default=True,
    help="What to write, as png,npy: png (coloured, with a scale), npy (float32 metres), png16 (16-bit millimetres, or "
    "1/256 m where the range is beyond 65 m), ply and glb (point clouds), side (image beside depth), "
    "video (of videos: the same as one mp4 file). Of a video each frame is written, in one range of colours.",
)
@click.option("--flip-average", is_flag=True, help="Average with the mirrored image: twice the time, more accurate.")
@click.option("--fx", type=float, help="Focal length of the camera in pixels. [default: by EXIF data, else guessed]")
@click.option("--fy", type=float, help="Likewise, down. [default: as --fx]")
@click.option("--cx", type=float, help="Column of the principal point, the first being 0. [default: the middle]")
@click.option("--cy", type=float, help="Row of the principal point. [default: the middle]")
@click.option("--fov-x", type=float, help="Horizontal field of view in degrees, in place of --fx.")
@click.option(
    "--rescale-focal",
    is_flag=True,
    help="Correct depth for another lens than that of the training: multiply it by the ratio of their focal lengths.",
)
@click.option(
    "--smooth",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    help="Of videos: share of the frame before in the depth of pixels whose image did not change, such as 0.8.",
)
@click.option("--frames", type=click.IntRange(1), help="How many to take of a camera (camera:0 among the inputs).")
@click.option("--batch-size", type=click.IntRange(1), help="Images computed together. [default: 8, on a GPU 32]")
@click.option("--device", default="auto", show_default=True)
@click.option("--dry-run", is_flag=True, help="Only say what would be done. Writes nothing.")
def predict(
    inputs: tuple[str, ...],
    checkpoint: str,
    out: Path,
    save: tuple[str, ...],
    dry_run: bool,
    fx: float | None,
    fy: float | None,
    cx: float | None,
    cy: float | None,
    fov_x: float | None,
    **options: Any,
) -> None:
    """Depth in metres of photographs and videos: files, folders of images, patterns in quotes, lists, or camera:0.

    spaceclip predict photo.jpg --checkpoint results/demo --out depth

    A list is a text file (.txt) of one file a line. An interrupted run goes on where it stopped when the same command
    is given again.
    """
    from ..prediction import CameraChoice, predict_inputs

    camera = CameraChoice(fx, fy, cx, cy, fov_x)
    require_writable(out)
    try:
        done = predict_inputs(inputs, checkpoint, out, save, camera=camera, dry_run=dry_run, say=click.echo, **options)
    except OSError as error:
        error.filename = error.filename or str(out)  # a disk that is full names none
        raise
    if done.failed:
        click.get_current_context().exit(UNUSABLE)
