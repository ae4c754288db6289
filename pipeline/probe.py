"""Probes as a user asks for them: of folders of features, by their paths."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pydantic import ValidationError

from ..cache import SpaceClipError, require_disjoint, write_atomically
from ..evaluate import (
    STRENGTHS,
    FeatureViews,
    ProbeResults,
    named_rows,
    probe_csv,
    probe_figure,
    probe_layers,
    probe_markdown,
    spread_rows,
    views_figure,
)
from ..train import TrainSettings
from .features import open_training, open_validation, split_pointers
from .paths import require_writable
from .progress import progress

if TYPE_CHECKING:
    from ..cache import Features, Location

PROBE, TABLE, CSV, FIGURE, VIEWS = "probe.json", "probe.md", "probe.csv", "probe.png", "views.png"


def probe_features(
    folders: "Sequence[Location]",
    out: Path | None = None,
    *,
    split: str = "val",
    layers: Sequence[int] | None = None,
    pairs: bool = False,
    strengths: Sequence[float] = (),
    max_depth: float | None = None,
    beside: Sequence[Path] = (),
    views: Sequence[str] = (),
    local_copy: Path | None = None,
    force: bool = False,
) -> tuple[ProbeResults, Path]:
    """Probe the layers of folders of features, and write what was found: `probe.json`, `.md`, `.csv` and `.png`.

    Args:
        folders: Each with the pointers of the train split, and of the one that is scored.
        out: Folder for the results; by default `results/<features>-probe`, on another split than `val` with its name.
        split: What is scored: `val` or `test`.
        layers: Hidden states; all by default.
        pairs: Probe each two layers together too.
        strengths: Of the ridge, to choose from; by default `STRENGTHS`.
        max_depth: Depths that count lie strictly below, metres; by default what training takes.
        beside: Folders of finished probes of the same images by other encoders, to be shown too.
        views: Ids of images of the split to draw all layers of, in `views.png`; or how many, spread over the split.
        local_copy: Folder that keeps what is read of a bucket.
        force: Replace finished probes.

    Returns:
        What was found, and the folder.

    Raises:
        SpaceClipError: The features cannot be probed (see `probe_layers`), lack a split, or their splits share scenes;
            the folder holds finished probes; or what shall stand beside is none, or of other images.
    """
    name, defaults = folders[0].name, TrainSettings()
    out = out or Path("results") / f"{name}-probe{'' if split == 'val' else f'-{split}'}"
    require_writable(out)
    if (out / PROBE).exists() and not force:
        raise SpaceClipError(f"{out} holds finished probes: give another --out, or --force to replace them")
    others = [read_probes(folder) for folder in beside]
    training = open_training(folders, None, local_copy)
    lacking = [str(folder) for folder in folders if split not in split_pointers(folder)]
    held_out = None if lacking else open_validation(folders, training, local_copy, split=split)
    if held_out is None:
        raise SpaceClipError(
            f"{', '.join(lacking) or folders[0]}: has no {split} split; hold scenes out (data.split.{split}) and "
            "extract again, or give another --split"
        )
    shown = _shown_rows(held_out, views)
    require_disjoint({"train": training, split: held_out})
    results = probe_layers(
        training,
        held_out,
        layers,
        split=split,
        name=name,
        pairs=pairs,
        strengths=tuple(strengths) or STRENGTHS,
        depth_range=(defaults.min_depth, defaults.max_depth if max_depth is None else max_depth),
        beside=others,
        by=str(out),
        progress=progress,
    )
    out.mkdir(parents=True, exist_ok=True)
    for file in (PROBE, VIEWS):  # the first is written last: it says that the others are whole
        (out / file).unlink(missing_ok=True)
    if shown:
        layers = [probe.layers[0] for probe in results.singles]
        drawn = FeatureViews.of(held_out, shown, layers)
        write_atomically(out / VIEWS, views_figure(drawn, results.views_caption))
    for file, content in (
        (TABLE, probe_markdown(results, others).encode()),
        (CSV, probe_csv(results).encode()),
        (FIGURE, probe_figure(results, others)),
        (PROBE, results.model_dump_json(indent=1).encode() + b"\n"),
    ):
        write_atomically(out / file, content)
    return results, out


def _shown_rows(held_out: "Features", views: Sequence[str]) -> list[int]:
    if len(views) != 1 or not views[0].isdecimal():
        return named_rows(held_out, views)
    if not int(views[0]):
        raise SpaceClipError("--views 0 draws nothing: give how many images to draw, or leave it out")
    rows = spread_rows(held_out, int(views[0]))
    if len(rows) < int(views[0]):
        click.echo(f"--views {views[0]}: all {len(rows)} images of the split are drawn, there are no more", err=True)
    return rows


def read_probes(folder: Path) -> ProbeResults:
    """What `spaceclip probe` has left in a folder.

    Raises:
        SpaceClipError: It holds no probes, or such as this version cannot read.
    """
    try:
        return ProbeResults.model_validate_json((folder / PROBE).read_bytes())
    except (OSError, ValidationError) as error:
        raise SpaceClipError(f"{folder / PROBE}: no probes can be read; run spaceclip probe --out {folder}") from error
