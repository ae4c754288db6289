"""`spaceclip study`: arms of one experiment, times seeds, compared on validation."""

from pathlib import Path
from time import monotonic

import click

from ..clusters import ClusterChoice, cluster_options
from ..features import local_copy_option
from ..paths import FILE, NEW

FAILED = 3
"""Exit status where runs failed and the others are done."""


@click.command()
@click.argument("file", metavar="STUDY.yaml", type=FILE)
@click.option("--out", type=NEW, help="Where runs and tables go. [default: results/<study>]")
@click.option("--device", default="auto", show_default=True)
@cluster_options
@click.option("--dry-run", is_flag=True, help="Only say arms, steps, time, memory, and what is done. Writes nothing.")
@local_copy_option
def study(
    file: Path,
    out: Path | None,
    device: str,
    dry_run: bool,
    local_copy: Path | None,
    cluster: ClusterChoice,
) -> None:
    """Train every arm of a study with every seed, compare them on the validation split, score all on test once.

    An arm is the base experiment with settings of its own. The arms of one seed see the same batches, and are trained
    on one read of the features. An interrupted study goes on when the same command is given again; what is done of it
    is not done again, so that arms and seeds can be added. The test split is scored by the evaluate settings of the
    base when no run is left to train, each run once. Where runs failed, or cannot be scored, the exit
    status is 3.
    """
    from ...evaluate import REPORT
    from ...extract import duration
    from ..study import FILES, outlook, prepare, run_study
    from .show import print_study

    began = monotonic()
    design, out = prepare(file, local_copy), out or Path("results") / file.stem
    if dry_run:
        for line in outlook(design, out, "cpu" if cluster else device):
            click.echo(line)
        return
    results = run_study(
        *(design, out),
        device=device,
        cluster=cluster,
        local_copy=local_copy,
        say=lambda line: click.echo(line, err=True),
    )
    print_study(results)
    click.echo(f"{out}: {', '.join(file for file in FILES if file != REPORT)}; took {duration(monotonic() - began)}")
    click.echo(f"next: spaceclip report {out}")
    if any(run.status == "failed" or (results.test and not run.test) for arm in results.arms for run in arm.runs):
        click.get_current_context().exit(FAILED)
