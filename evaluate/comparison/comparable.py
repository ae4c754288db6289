"""Which results may stand beside published ones, why others may not, and what a reader of both must know."""

from collections.abc import Iterator
from math import isclose
from typing import cast

from ..facts import CheckpointFacts
from ..protocol import EvaluateSettings, Protocol, ProtocolName
from ..results import Results, Row
from ..scoring import WHOLE
from .published import published, published_columns, published_test_sets

# Of our protocols, the published rows that each may stand beside.
BESIDE = {"paper": "paper", "standard": "reported", "controlled": "controlled"}


def unlike(results: Results, row: Row) -> tuple[str, ...]:
    """Why a row may stand beside no published row, a few words each; empty if it may beside those of its protocol."""
    data, protocol = results.data, row.protocol
    if not published_columns(data):
        return ("no published rows of this data set",)
    reasons = []
    if results.backbone and results.backbone.random:
        reasons.append("random encoder weights")
    if results.backbone and results.backbone.embedded:
        reasons.append("a small encoder trained on rendered scenes")
    if protocol.median_scaling:
        reasons.append("median scaled")
    if protocol.name == "validation":
        reasons.append("validation: held-out training images, by which weights are chosen")
    elif protocol.name not in BESIDE:
        reasons.append(f"other protocol: {protocol.name}")
    elif not any(line.protocol == BESIDE[protocol.name] for line in published(data)):
        reasons.append(f"no published rows of the {protocol.name} protocol")
    else:
        reasons += _unlike_images(data, row)
        reasons += _unlike_setting(protocol, published_protocol(protocol.name, data))
        if protocol.name != "standard":
            reasons += _unlike_study(results, row)
    return tuple(reasons)


def _unlike_images(data: str, row: Row) -> Iterator[str]:
    expected = published_test_sets()[data]
    if row.split != "test":
        yield f"{row.split} split, not the test set"
    if row.images != expected.images:
        few = f"{row.images:,} of {expected.images:,} images"
        yield few if row.images < expected.images else f"{row.images:,} images, not {expected.images:,}"
    if row.distinct != row.images:
        known = row.distinct is not None
        yield f"{row.distinct:,} of {row.images:,} images distinct" if known else "images not known to be distinct"
    if row.list_sha256 not in expected.lists:
        found = f"SHA-256 {row.list_sha256[:12]}" if row.list_sha256 else "none"
        yield f"images not by the released test list ({found})"


def _unlike_setting(protocol: Protocol, published: Protocol) -> Iterator[str]:
    """What of the pixels scored differs; which depth is the truth is for a footnote, published rows do not say it."""
    if protocol.crop != published.crop:
        yield "no crop" if protocol.crop == "none" else f"{protocol.crop} crop"
    if (protocol.min_depth, protocol.max_depth) != (published.min_depth, published.max_depth):
        yield f"depth from {protocol.min_depth:g} to {protocol.max_depth:g} m"
    if protocol.size != published.size:
        yield "truth at another size"
    if protocol.kb_crop:
        yield "KB-cropped frames"


def _unlike_study(results: Results, row: Row) -> Iterator[str]:
    """How SPACE-CLIP's own rows came to be: flips, the choice of weights, and in the controlled runs the pixels."""
    model, controlled = results.model, row.protocol.name == "controlled"
    if not row.protocol.flip_average:
        known = row.protocol.flip_average is not None
        yield "no flip averaging" if known else "flip averaging not known"
    if isinstance(model, CheckpointFacts):
        if not controlled and model.chosen != "last":
            yield "checkpoint chosen on validation, not the final one"
        if controlled:
            yield from _unlike_choice(results.data, model)
    if controlled:
        yield from _unlike_pixels(results.data, row)


def _unlike_choice(data: str, model: CheckpointFacts) -> Iterator[str]:
    if model.chosen != "best" or model.validation is None:
        yield "final checkpoint, not chosen on held-out scenes"
        return
    different = _unlike_setting(model.validation, published_protocol("controlled", data))
    yield from (f"weights chosen under another setting: {reason}" for reason in different)
    expected = published_test_sets()[data].chosen_on
    if model.validation_images != expected:
        yield f"weights chosen on {model.validation_images or 'unknown'} images, not {expected:,}"


def _unlike_pixels(data: str, row: Row) -> Iterator[str]:
    """Counts that differ from the pinned ones, the first alone; the truth is then not what was published on."""
    found = {WHOLE: row.pixels} | {name: region.pixels for name, region in row.regions.items()}
    for region, expected in published_test_sets()[data].pixels.items():
        if found.get(region) != expected:
            painted = row.protocol.truth is not None and "in-painted" in row.protocol.truth
            cause = "in-painted depth" if painted else "another depth or border"
            count = "an unknown number of" if found.get(region) is None else f"{found[region]:,}"
            yield f"{count} {region.replace('_', ' ')} pixels, not {expected:,}: {cause}"
            return


def scored_otherwise(row: Row, other: Row) -> tuple[str, ...]:
    """In what a row's images, pixels or truth are not those of another row of its protocol, a few words each."""
    reasons = list(_unlike_setting(row.protocol, other.protocol))
    if row.protocol.truth != other.protocol.truth:
        reasons.append(f"truth {row.protocol.truth or 'not named'}, not {other.protocol.truth or 'not named'}")
    if row.images != other.images:
        reasons.append(f"{row.images:,} images, not {other.images:,}")
    elif None not in (ids := (row.samples_sha256, other.samples_sha256)) and ids[0] != ids[1]:
        reasons.append("other images")
    if row.pixels != other.pixels:
        reasons.append(f"{row.pixels:,} valid pixels, not {other.pixels:,}")
    elif any(row.regions[name].pixels != other.regions[name].pixels for name in row.regions.keys() & other.regions):
        reasons.append("other boundaries")
    if row.mean_depth and other.mean_depth and not isclose(row.mean_depth, other.mean_depth, rel_tol=1e-6):
        reasons.append(f"a mean true depth of {row.mean_depth:.6g} m, not {other.mean_depth:.6g} m")
    return tuple(reasons)


def published_protocol(name: str, data: str) -> Protocol:
    """What rows beside our protocol of that name were measured under; median scaling of the paper's is not printed."""
    return EvaluateSettings().protocol(cast("ProtocolName", name), {"data": data}, min_depth=0.001, max_depth=1.0)


_CONSTRAINT = (
    "Constraint. TFI-FB: text-free inference, frozen backbone. TC-FB: text-conditioned, frozen backbone. TC-BU: "
    "text-conditioned, backbone updated. N/A: no CLIP text-vision constraint applies. SPACE-CLIP's label is its "
    "paper's; those of other methods are ours, by what each does."
)
_PROTOCOL = (
    "Protocol. paper: {paper}, final checkpoint, with flip averaging. reported: each method's own, nearest to standard "
    "({standard}). Beside: the published rows whose protocol, images and kind of weights a row of ours shares; it can "
    "be compared with no others."
)
_CONTROLLED = (
    "Protocol. controlled: {controlled}, with flip averaging, no median scaling; the {images} test images, {pixels:,} "
    "valid pixels of raw depth; weights chosen on {chosen_on:,} images of scenes held out of the training list, under "
    "the same crop and without flips. Boundary: where neighbours' log depths differ by more than 0.05. Beside: only "
    "where all of this is so."
)
_PUBLISHED = "Published numbers are as printed, not measured again; - is not reported."
_HEADLINE = (
    "SPACE-CLIP's headline numbers may have chosen their checkpoint on the test split, and may have used median "
    "scaling."
)
_TRUTH = (
    "Depth. Published NYU rows do not say whether their truth is raw or in-painted, nor whether the white border of "
    "the labelled images was blackened; ours name their depth, and leave the images as released."
)


def footnotes(data: str, study: str = "") -> tuple[str, ...]:
    """What a reader of a table must know, a few sentences each.

    Args:
        data: Kind of the data set.
        study: Protocol of the published rows, where they have a table of their own.
    """
    if not published_columns(data):
        return ("Constraint. TFI-FB: text-free inference, frozen backbone. N/A: not said, or no CLIP.",)
    made = [published_protocol(name, data) for name in BESIDE]
    settings = {protocol.name: protocol.setting.partition(": ")[2] for protocol in made}
    if study:
        scored = published_test_sets()[data]
        facts = {"images": scored.images, "chosen_on": scored.chosen_on, "pixels": scored.pixels[WHOLE]}
        return (_CONSTRAINT, _CONTROLLED.format(**settings, **facts), _PUBLISHED)
    truth = (_TRUTH,) if data == "nyu" else ()
    return (_CONSTRAINT, _PROTOCOL.format(**settings), *truth, f"{_PUBLISHED} {_HEADLINE}")
