"""`spaceclip report`: one page to look at."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..features import local_copy_option
from ..paths import FEATURES, FOLDER

if TYPE_CHECKING:
    from ...cache import Location


@click.command()
@click.argument("folder", metavar="RUN|STUDY", type=FOLDER)
@click.option("--features", type=FEATURES, help="The folder of all splits. [default: as the run or the study's base]")
@click.option("--images", type=click.IntRange(min=1), help="How many the gallery shows. [default: 15]")
@click.option("--device", default="auto", show_default=True)
@local_copy_option
def report(folder: Path, features: "Location | None", images: int | None, device: str, local_copy: Path | None) -> None:
    """Write report.html into the folder of a run or of a study: one page, which needs nothing beside it.

    RUN is a folder that `spaceclip evaluate` wrote. Its numbers stay; only the images of the gallery are decoded again.

    STUDY is one that `spaceclip study` wrote. One run of each arm is decoded, on validation images alone.
    """
    from ...evaluate import SHOWN
    from ..report import write_report

    click.echo(write_report(folder, features, images=images or SHOWN, device=device, local_copy=local_copy))
