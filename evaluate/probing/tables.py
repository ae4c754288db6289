"""What probes found as tables: in Markdown for people, as csv for programs."""

from collections.abc import Iterable, Iterator, Sequence

from ..csv_text import csv_text
from ..markdown import markdown_table
from .results import PATCH_METRICS, PatchMetrics, Probe, ProbeResults, ridge_text

_SHOWN_PAIRS = 10


def probe_markdown(results: ProbeResults, beside: Sequence[ProbeResults] = ()) -> str:
    """The probes of single layers beside predictions without an image, the best pairs, and what to be careful of."""
    image_free = [[name, "", *_cells(metrics)] for name, metrics in results.baselines.items()]
    header = ["Hidden state", "Ridge", *PATCH_METRICS.values()]
    parts = [
        "\n".join(f"- {line}" for line in results.caption.splitlines()),
        markdown_table(header, [*_rows(results.singles), *image_free]),
    ]
    if pairs := results.pairs:
        parts += [
            f"The {len(pairs[:_SHOWN_PAIRS])} of {len(pairs)} pairs of hidden states with the lowest AbsRel here:",
            markdown_table(["Hidden states", *header[1:]], list(_rows(pairs[:_SHOWN_PAIRS]))),
        ]
    for other in beside:
        parts += [
            f"Beside them, of the same patches, {other.storage} features of {other.backbone.label}:",
            markdown_table(header, list(_rows(other.singles))),
        ]
    parts += [f"Warning: {text}" for text in results.warnings]
    return "\n\n".join(parts) + "\n"


def probe_csv(results: ProbeResults) -> str:
    """A row for each probe and each prediction without an image, with what it was measured under."""
    low, high = results.depth_range
    known = [
        *(results.data, results.name, results.held_out.split, results.held_out.images, results.held_out.patches),
        *(low, high, results.backbone.label, results.backbone.random, results.storage),
    ]
    lines = [
        [" ".join(map(str, probe.layers)), "", probe.ridge, *_values(probe.metrics), *known] for probe in results.probes
    ]
    lines += [["", name, None, *_values(metrics), *known] for name, metrics in results.baselines.items()]
    facts = ("data", "features", "split", "images", "patches", "min_depth", "max_depth", "backbone", "random_backbone")
    return csv_text(["layers", "without_an_image", "ridge", *PATCH_METRICS, *facts, "storage"], lines)


def _rows(probes: Iterable[Probe]) -> Iterator[list[str]]:
    for probe in probes:
        yield [" + ".join(map(str, probe.layers)), ridge_text(probe.ridge), *_cells(probe.metrics)]


def _cells(metrics: PatchMetrics) -> list[str]:
    return [f"{value:.4f}" for value in _values(metrics)]


def _values(metrics: PatchMetrics) -> list[float]:
    return [getattr(metrics, name) for name in PATCH_METRICS]
