"""Results as files: everything, plain numbers, and a table with a line for each image."""

import csv
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..cache import SpaceClipError, write_atomically
from .boundary import REGIONS
from .csv_text import csv_text
from .facts import CheckpointFacts
from .metrics import METRICS
from .results import Results, Row
from .scoring import Scores
from .text import printable

RESULTS = "results.json"
NUMBERS = "metrics.json"
PER_IMAGE = "per_image.csv"
PER_SCENE = "per_scene.csv"
FIGURE = "predictions.png"
ERRORS = "errors.png"
REPORT = "report.html"
FILES = (RESULTS, NUMBERS, PER_IMAGE, PER_SCENE, FIGURE, ERRORS, REPORT)

_SHOWN = ("abs_rel", "rmse", "delta1")
_BOUNDARY = "boundary_0.05"


def write_results(folder: Path, results: Results, scores: Sequence[Scores]) -> None:
    """Write `results.json` (all), `metrics.json` (a few numbers, for DVC), `per_image.csv` and `per_scene.csv`.

    Each file appears whole or not at all; `results.json` comes last. An earlier result goes first, with its figures.

    Args:
        folder: Where to.
        results: What was found.
        scores: Of each row of the results, in their order.
    """
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    for name, text in (
        (PER_IMAGE, _per_image(results, scores)),
        (PER_SCENE, _per_scene(results)),
        (NUMBERS, json.dumps(_numbers(results), indent=2) + "\n"),
        (RESULTS, json.dumps(results.model_dump(), indent=2, ensure_ascii=False) + "\n"),
    ):
        write_atomically(folder / name, printable(text).encode())


def read_results(folder: Path) -> Results:
    """Read what `write_results` wrote; `folder` may also be its `results.json`.

    Raises:
        SpaceClipError: There is no result, or it is not one of this version's.
    """
    path = folder / RESULTS if folder.suffix != ".json" else folder
    if not path.is_file():
        raise SpaceClipError(f"{path} is not there, expected the result of an evaluation: run `spaceclip evaluate`")
    try:
        # Not by pydantic's own parser: it refuses the names of files that are no UTF-8.
        return Results.model_validate(json.loads(path.read_bytes()))
    except ValidationError as error:
        fault = error.errors()[0]
        reason = f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
    except (ValueError, RecursionError) as error:
        reason = f"its JSON: {error}"
    raise SpaceClipError(f"{path} is no valid result, {reason}; evaluate again with --force")


def read_metrics(folder: Path, images: int) -> list[dict[str, float]]:
    """The metrics of each image of the first row, in the order of the split, from `per_image.csv`.

    Args:
        folder: Of the result.
        images: How many the row is of.

    Raises:
        SpaceClipError: The table is not there, or not that of this result.
    """
    path = folder / PER_IMAGE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            found = [{name: float(line[name]) for name in METRICS} for line in islice(csv.DictReader(file), images)]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise SpaceClipError(f"{path} cannot be read ({error}); evaluate again with --force") from error
    if len(found) < images:
        raise SpaceClipError(f"{path} has {len(found)} lines, expected one of each of {images} images; evaluate again")
    return found


def _numbers(results: Results) -> dict[str, dict[str, float]]:
    """Few numbers of each protocol's first variant, by the protocol's name: `dvc exp show` has a column for each."""
    firsts: dict[tuple[str, str], Row] = {}
    for row in results.rows:
        firsts.setdefault((row.protocol.name, row.split), row)
    names = [name for name, _ in firsts]
    return {
        name if names.count(name) == 1 else f"{name}_{split}": {
            **{metric: row.metrics[metric] for metric in _SHOWN},
            **({"boundary": boundary["abs_rel"]} if (boundary := row.regions[_BOUNDARY].metrics) else {}),
            "images": row.images,
            "skipped": len(row.skipped),
            "quarantined": len(row.quarantined),
        }
        for (name, split), row in firsts.items()
    }


def _per_image(results: Results, scores: Sequence[Scores]) -> str:
    columns = [f"{region}_{name}" for region in REGIONS for name in METRICS]
    lines: list[list[Any]] = []
    for row, found in zip(results.rows, scores, strict=True):
        for image in found.images:
            regions = [image.regions.get(region) or {} for region in REGIONS]
            lines.append(
                [*_named(results, row), image.sample_id, image.scene or "", image.pixels]
                + [image.metrics[name] for name in METRICS]
                + [region.get(name, "") for region in regions for name in METRICS]
            )
    return csv_text([*_NAMED, "sample_id", "scene", "pixels", *METRICS, *columns], lines)


def _per_scene(results: Results) -> str:
    lines = [
        [*_named(results, row), scene, mean.images, *(mean.metrics[name] for name in METRICS)]
        for row in results.rows
        for scene, mean in row.scenes.items()
    ]
    return csv_text([*_NAMED, "scene", "images", *METRICS], lines)


_NAMED = (
    *("data", "protocol", "split", "crop", "min_depth", "max_depth", "size", "kb_crop", "truth"),
    *("flip_average", "median_scaling", "model", "weights", "backbone", "random_backbone"),
    *("features", "quarantined"),
)


def _named(results: Results, row: Row) -> list[Any]:
    """What a line was measured under, for each line: a table is cut up and pasted together elsewhere."""
    protocol, model, backbone = row.protocol, results.model, results.backbone
    size = "native" if protocol.size is None else "{}x{}".format(*protocol.size)
    flip = "" if protocol.flip_average is None else protocol.flip_average
    bounds = (protocol.min_depth, protocol.max_depth)
    weights = f"{model.weights} of epoch {model.epoch}" if isinstance(model, CheckpointFacts) else ""
    origin = [model.path, weights, backbone.label if backbone else "", backbone.random if backbone else ""]
    truth = [protocol.crop, *bounds, size, protocol.kb_crop, protocol.truth or ""]
    return [
        results.data,
        protocol.name,
        row.split,
        *truth,
        flip,
        protocol.median_scaling,
        *origin,
        row.storage or "",
        len(row.quarantined),
    ]
