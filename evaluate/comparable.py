"""Which results may stand beside published ones, why others may not, and what a reader of both must know."""

from .protocol import EvaluateSettings, Protocol
from .published import published_columns
from .results import Results, Row

# Of our protocols, the published rows that each may stand beside.
BESIDE = {"paper": "paper", "standard": "reported", "controlled": "controlled"}
HELD_OUT_IMAGES = {"nyu": 2257}
# Of the 697 listed KITTI frames 45 have no ground truth.
_TEST_IMAGES = {"kitti": 652, "nyu": 654}
_HELD_OUT_DEPTH = {"nyu": 10.0}


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
        reasons += _unlike_test_set(data, row)
    else:
        reasons.append(f"other protocol: {protocol.name}")
    return tuple(reasons)


def _unlike_test_set(data: str, row: Row) -> list[str]:
    reasons = [] if row.split == "test" else [f"{row.split} split, not the test set"]
    reasons += _unlike_count(row.images, _TEST_IMAGES[data])
    if row.protocol.name == "paper" and not row.protocol.flip_average:
        known = row.protocol.flip_average is not None
        reasons.append("no flip averaging" if known else "flip averaging not known")
    return reasons


def _unlike_held_out(data: str, row: Row) -> list[str]:
    if data not in HELD_OUT_IMAGES:
        return ["controlled: held-out training scenes, not the test set"]
    reasons, protocol = _unlike_count(row.images, HELD_OUT_IMAGES[data]), row.protocol
    if protocol.crop != "none":
        reasons.append(f"{protocol.crop} crop")
    if protocol.max_depth != _HELD_OUT_DEPTH[data]:
        reasons.append(f"depth to {protocol.max_depth:g} m")
    return reasons


def _unlike_count(images: int, expected: int) -> list[str]:
    if images == expected:
        return []
    return [f"{images:,} of {expected:,} images" if images < expected else f"{images:,} images, not {expected:,}"]


def paper_protocol(data: str) -> Protocol:
    """What SPACE-CLIP's own tables were measured under; whether they are median scaled is not printed."""
    return EvaluateSettings().protocol("paper", {"data": data}, min_depth=0.001, max_depth=1.0)


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


def footnotes(data: str) -> tuple[str, ...]:
    """What a reader of a data set's table must know, a few sentences each."""
    if data not in published_columns():
        return ("Constraint. TFI-FB: text-free inference, frozen backbone. N/A: not said, or no CLIP.",)
    standard = EvaluateSettings().protocol("standard", {"data": data}, min_depth=0.001, max_depth=1.0)
    settings = {made.name: made.setting.partition(": ")[2] for made in (standard, paper_protocol(data))}
    found = [_CONSTRAINT, _PROTOCOL.format(**settings)]
    if data in HELD_OUT_IMAGES:
        found.append(_CONTROLLED.format(images=HELD_OUT_IMAGES[data], max_depth=_HELD_OUT_DEPTH[data]))
    return (*found, _PUBLISHED)
