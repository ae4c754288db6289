"""Which results may stand beside published ones, why others may not, and what a reader of both must know."""

from typing import Literal

from ..protocol import EvaluateSettings, Protocol
from ..results import CheckpointFacts, Results, Row
from .published import published_columns

# Of our protocols, the published rows that each may stand beside.
BESIDE = {"paper": "paper", "standard": "reported", "controlled": "controlled"}
HELD_OUT_IMAGES = {"nyu": 2257}
# Of the 697 listed KITTI frames 45 have no ground truth.
_TEST_IMAGES = {"kitti": 652, "nyu": 654}


def unlike(results: Results, row: Row) -> tuple[str, ...]:
    """Why a row may stand beside no published row, a few words each; empty if it may beside those of its protocol."""
    data, protocol = results.data, row.protocol
    if data not in published_columns():
        return ("no published rows of this data set",)
    reasons = []
    if results.backbone and results.backbone.random:
        reasons.append("random encoder weights")
    if protocol.median_scaling:
        reasons.append("median scaled")
    if protocol.name == "controlled":
        reasons += _unlike_held_out(data, row)
    elif protocol.name in BESIDE:
        reasons += _unlike_test_set(results, row)
    else:
        reasons.append(f"other protocol: {protocol.name}")
    return tuple(reasons)


def _unlike_test_set(results: Results, row: Row) -> list[str]:
    data, name = results.data, "paper" if row.protocol.name == "paper" else "standard"
    reasons = [] if row.split == "test" else [f"{row.split} split, not the test set"]
    reasons += _unlike_count(row.images, _TEST_IMAGES[data])
    reasons += _unlike_setting(row.protocol, published_protocol(name, data))
    if name == "paper" and not row.protocol.flip_average:
        known = row.protocol.flip_average is not None
        reasons.append("no flip averaging" if known else "flip averaging not known")
    if name == "paper" and isinstance(results.model, CheckpointFacts) and results.model.chosen != "last":
        reasons.append("checkpoint chosen on validation, not the final one")
    return reasons


def _unlike_setting(protocol: Protocol, published: Protocol) -> list[str]:
    """What of the pixels scored differs; which depth is the truth is for a footnote, published rows do not say it."""
    reasons = []
    if protocol.crop != published.crop:
        reasons.append("no crop" if protocol.crop == "none" else f"{protocol.crop} crop")
    if (protocol.min_depth, protocol.max_depth) != (published.min_depth, published.max_depth):
        reasons.append(f"depth from {protocol.min_depth:g} to {protocol.max_depth:g} m")
    if protocol.size != published.size:
        reasons.append("truth at another size")
    if protocol.kb_crop:
        reasons.append("KB-cropped frames")
    return reasons


def _unlike_held_out(data: str, row: Row) -> list[str]:
    if data not in HELD_OUT_IMAGES:
        return ["controlled: held-out training scenes, not the test set"]
    # What is printed of the published rows fits the paper's protocol: native size, no crop, to 10 m.
    return [
        *_unlike_count(row.images, HELD_OUT_IMAGES[data]),
        *_unlike_setting(row.protocol, published_protocol("paper", data)),
    ]


def _unlike_count(images: int, expected: int) -> list[str]:
    if images == expected:
        return []
    return [f"{images:,} of {expected:,} images" if images < expected else f"{images:,} images, not {expected:,}"]


def published_protocol(name: Literal["paper", "standard"], data: str) -> Protocol:
    """What published tables were measured under; whether SPACE-CLIP's own are median scaled is not printed."""
    return EvaluateSettings().protocol(name, {"data": data}, min_depth=0.001, max_depth=1.0)


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
    "controlled: {images:,} images of scenes held out of the training list. Crop and flip averaging of the published "
    "rows are not printed; a row of ours counts as comparable with no crop, to {max_depth:g} m."
)
_PUBLISHED = (
    "Published numbers are as printed, not measured again; - is not reported. SPACE-CLIP's headline numbers may have "
    "chosen their checkpoint on the test split, and may have used median scaling."
)


_TRUTH = (
    "Depth. Published NYU rows do not say whether their truth is raw or in-painted, nor whether the white border of "
    "the labelled images was blackened; ours name their depth, and leave the images as released."
)


def footnotes(data: str) -> tuple[str, ...]:
    """What a reader of a data set's table must know, a few sentences each."""
    if data not in published_columns():
        return ("Constraint. TFI-FB: text-free inference, frozen backbone. N/A: not said, or no CLIP.",)
    made = [published_protocol(name, data) for name in ("paper", "standard")]
    settings = {protocol.name: protocol.setting.partition(": ")[2] for protocol in made}
    found = [_CONSTRAINT, _PROTOCOL.format(**settings)]
    if data in HELD_OUT_IMAGES:
        cap = published_protocol("paper", data).max_depth
        found.append(_CONTROLLED.format(images=HELD_OUT_IMAGES[data], max_depth=cap))
    if data == "nyu":
        found.append(_TRUTH)
    return (*found, _PUBLISHED)
