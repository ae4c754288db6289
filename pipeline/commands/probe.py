"""`spaceclip probe`: how much depth each layer holds, by linear maps in closed form."""

from typing import TYPE_CHECKING, Any

import click

from ..features import local_copy_option
from ..paths import FEATURES, FOLDER, NEW
from .extract import numbers

if TYPE_CHECKING:
    from ...cache import Location


@click.command()
@click.argument("features", type=FEATURES, nargs=-1, required=True)
@click.option("--out", type=NEW, help="Where the results go. [default: results/<features>-probe]")
@click.option(
    "--split",
    type=click.Choice(["val", "test"]),
    default="val",
    show_default=True,
    help="What is scored; test is a look at the test split.",
)
@click.option("--layers", callback=numbers, help="Hidden states to probe, as 0,6,12. [default: all in the store]")
@click.option("--pairs", is_flag=True, help="Probe each two layers together too.")
@click.option(
    "--ridge",
    "strengths",
    type=float,
    multiple=True,
    help="Strength of the ridge; of several the best on held-out train scenes. [default: 1e-5, 1e-4, ... 1]",
)
@click.option("--max-depth", type=float, help="Farthest depth in metres that counts. [default: 80, as train]")
@click.option(
    "--beside",
    type=FOLDER,
    multiple=True,
    help="Show these probes too: a folder of an earlier run on the same images with another encoder.",
)
@click.option(
    "--views",
    multiple=True,
    help="Draw what every layer makes of so many of the images scored, in views.png; or the id of one, each by itself.",
)
@click.option("--force", is_flag=True, help="Replace the probes that the folder holds.")
@local_copy_option
def probe(features: "tuple[Location, ...]", **options: Any) -> None:
    """Fit a linear map from patch tokens to depth for each layer of FEATURES, and score it on held-out scenes.

    FEATURES is a folder with train.json and val.json; several are read as one. The maps are ridge regressions to the
    log of a patch's mean depth, in closed form, from one pass over the train split.
    """
    from ..probe import TABLE, probe_features

    _, out = probe_features(features, **options)
    click.echo((out / TABLE).read_text(encoding="utf-8"), nl=False)
    views = ", views.png (layers as colours)" if options["views"] else ""
    click.echo(f"{out}: probe.png (figure){views}, probe.csv, probe.md, probe.json")
