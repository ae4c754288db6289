"""What the arms of a study predict of its validation images: where they err, and pictures."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import torch

from ...cache import Features, SpaceClipError
from ...evaluate import (
    DATA_NAMES,
    DepthMaps,
    DepthScale,
    Example,
    ImageScore,
    Protocol,
    Row,
    loader,
    predict,
    ranked,
    scored_once,
)
from ...evaluate.report import ERROR, IMAGE, PREDICTION, TRUTH, Gallery, Picture, Shown, gallery_columns, pictures
from ...train import Checkpoint, load_checkpoint
from .naming import quoted
from .results import StudyResults

VALIDATION = "validation"
Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class DecodedArm:
    """One run of an arm, decoded.

    Attributes:
        name: Of the arm.
        seed: Of the run.
        checkpoint: Its weights.
        row: Its validation scores.
        images: Those of each image.
    """

    name: str
    seed: int
    checkpoint: Checkpoint
    row: Row
    images: Sequence[ImageScore]

    def maps(self, validation: Features, rows: Sequence[int] | None = None) -> Iterator[DepthMaps]:
        """What it predicts of some rows; of all by default."""
        return predict(self.checkpoint.decoder, validation, rows, flip_average=False)


def decode_arms(
    results: StudyResults, folder: Path, validation: Features, device: torch.device, progress: Advance
) -> list[DecodedArm]:
    """The first trained run of each arm, its scores image by image; arms without one are left out.

    The scores stay beside the run, in `validation`; those that are there are not made again.

    Args:
        results: The study's.
        folder: Of the study.
        validation: Its validation features.
        device: Where to decode.
        progress: Called with (images done, images in all).

    Raises:
        SpaceClipError: The features are not those of the study, or a run was trained anew since.
    """
    found, wanted = [store.fingerprint for store in validation.stores], results.stores["val"]
    if found != wanted:
        raise SpaceClipError(
            f"{folder}: these validation features are {', '.join(found)}, those of the study {', '.join(wanted)}; name "
            "its own with --features, or give `spaceclip study` again"
        )
    runs = [(arm.name, run) for arm in results.arms if (run := next((run for run in arm.runs if run.metrics), None))]
    total, done = len(runs) * len(validation.usable), count(1)

    def counted(images: Iterable[DepthMaps]) -> Iterator[DepthMaps]:
        for image in images:
            progress(next(done), total)
            yield image

    decoded = []
    for name, run in runs:
        checkpoint = load_checkpoint(folder / name / f"seed{run.seed}", device)
        if checkpoint.info.metrics != run.metrics:
            raise SpaceClipError(
                f"{checkpoint.path}: was trained anew since the table was written; give `spaceclip study` again"
            )
        maps = counted(predict(checkpoint.decoder, validation, flip_average=False))
        row, images = scored_once(checkpoint.path.parent / VALIDATION, checkpoint, validation, results.protocol, maps)
        decoded.append(DecodedArm(name, run.seed, checkpoint, row, images))
    return decoded


def study_gallery(arms: Sequence[DecodedArm], validation: Features, images: int) -> Gallery:
    """The best, middling and worst images of the first of the arms, each with what every arm predicts.

    Args:
        arms: At least one.
        validation: The validation features.
        images: How many.
    """
    first, protocol = arms[0], arms[0].row.protocol
    groups = ranked(first.images, images)
    names = [image.sample_id for group in groups.values() for image in group]
    rows = {name: row for row, name in enumerate(validation.sample_ids)}
    scale = DepthScale.of((validation.ground_truth(rows[name]) for name in names), "log")
    columns = gallery_columns(2 * len(names) * (1 + len(arms)))
    made: dict[str, list[Picture]] = {name: [] for name in names}
    frames: dict[str, str] = {}
    for arm in arms:
        load = loader(partial(arm.maps, validation), validation, protocol, arm.images)
        for example in load(made):
            name, (height, width) = example.score.sample_id, example.ground_truth.shape
            frames[name] = f"{width} / {height}"
            made[name] += _pictures(example, arm.name, protocol, scale, columns, with_truth=arm is first)
    shown = []
    for group, found in groups.items():
        for image in found:
            name, error = image.sample_id, image.metrics["abs_rel"]
            numbers = f"among the {group} images of {quoted(first.name)}: AbsRel {error:.4f}"
            shown.append(Shown(name, image.scene or "", group, numbers, frames[name], made[name]))
    seeds = ", ".join(f"{arm.name} {arm.seed}" for arm in arms)
    seeds = f"of seed {first.seed}" if len({arm.seed for arm in arms}) == 1 else f"of seeds {seeds}"
    text = (
        f"Validation images of the lowest, the middle and the highest AbsRel of {first.name}, of all "
        f"{len(first.images)}; all runs {seeds}. One scale of metres for all; grey is not known or not scored."
    )
    data = str(validation.about.get("data"))
    return Gallery(shown, text, DATA_NAMES.get(data, data), scale)


def _pictures(
    example: Example, arm: str, protocol: Protocol, scale: DepthScale, columns: int, *, with_truth: bool
) -> Iterator[Picture]:
    name, error = example.score.sample_id, example.score.metrics["abs_rel"]
    kinds = (IMAGE, TRUTH) if with_truth else ()
    made = pictures(example, protocol, scale, columns, (*kinds, PREDICTION, ERROR))
    for kind in kinds:
        yield Picture(made[kind], f"{kind} of {name}", kind)
    yield Picture(made[PREDICTION], f"{PREDICTION} of {name} by {arm}", arm)
    yield Picture(made[ERROR], f"{ERROR} of {name} by {arm}", f"AbsRel {error:.4f}")
