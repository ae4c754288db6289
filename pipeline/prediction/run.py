"""Depth of images and videos into a folder, as a user asks for it."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from ...cache import SpaceClipError
from ...extract import counted
from ..progress import progress
from .cameras import said_of
from .files import VIDEO, said_of_kinds
from .images import Done, first_whole, images_left, predict_images
from .inputs import Input, find_inputs
from .intrinsics import Intrinsics
from .job import Job
from .model import SpaceClip
from .video import VideoDone, VideoPrediction


def predict_inputs(
    given: Sequence[str],
    checkpoint: str,
    out: Path,
    kinds: Sequence[str],
    *,
    revision: str | None = None,
    backbone: str | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    dry_run: bool = False,
    say: Callable[[str], None],
    **options: Any,
) -> Done:
    """Predict images and videos of files, folders, patterns and lists into a folder.

    Args:
        given: See `find_inputs`.
        checkpoint: Folder, or hub id.
        out: Folder for the outputs.
        kinds: Of `FORMATS`, and `VIDEO`.
        revision: Of the checkpoint on the hub.
        backbone: See `SpaceClip.from_pretrained`.
        device: Likewise.
        batch_size: Images computed together; chosen by the device if not given.
        dry_run: Only say what would be done.
        say: Called with each line that a user should know.
        options: Others of `Job`.

    Raises:
        SpaceClipError: There is no image, no checkpoint or no encoder, or the folder holds something else.
        OSError: An output cannot be written.
    """
    inputs = find_inputs(given, out, say)
    images, videos = ([one for one in inputs if one.is_video is wanted] for wanted in (False, True))
    model = SpaceClip.from_pretrained(checkpoint, revision=revision, backbone=backbone, device=device)
    model.batch_size = batch_size or model.batch_size
    job = Job(model, out, kinds, **options)
    _check(job, images, videos)
    if dry_run:
        return _planned(job, images, videos, say)
    job.record.discard_begun(one.name for one in inputs)
    done = Done()
    if images:
        with progress("predict", "images") as report:
            done = predict_images(job, images, report, say)
    said = []
    for prediction in _readable(job, videos, done, say):
        with progress(prediction.input.path.name, "frames") as report:
            found = prediction.run(report)
        done.cameras[found.camera] += found.frames - found.whole
        said.append(_said_of_video(job, prediction, found))
        if found.broken:
            say(found.broken)
            done.failed.append(found.broken)
    if done.cameras:
        say(f"{checkpoint}: trained on {model.taught_by}")
    for line in (
        *said_of(done.cameras, model.training_camera, rescaled=job.rescale_focal, drawn=job.shows_points),
        *said,
    ):
        say(line)
    if images:
        failed = len(images) - done.whole - done.written
        whole = f", {done.whole} were there" if done.whole else ""
        unusable = f", {failed} could not be used" if failed else ""
        kinds, first = _kinds(job, job.image_kinds, done.factors), first_whole(job, images)
        where = f"; the first: {out / (first.name + job.endings()[0])}" if first else ""
        say(f"{out}: {done.written} of {counted(len(images), 'image')} written ({kinds}){whole}{unusable}{where}")
    return done


def _readable(job: Job, videos: Sequence[Input], done: Done, say: Callable[[str], None]) -> Iterator[VideoPrediction]:
    """The predictions of the videos that can be read; of each other a line."""
    for one in videos:
        try:
            prediction = VideoPrediction(job, one)
        except SpaceClipError as error:
            say(str(error))
            done.failed.append(str(error))
            continue
        yield prediction


def _check(job: Job, images: Sequence[Input], videos: Sequence[Input]) -> None:
    """Refuse what cannot be before anything is done."""
    inputs = (*images, *videos)
    job.check(inputs)
    if not videos and (unfit := "--save video" if VIDEO in job.kinds else "--smooth" if job.smooth else ""):
        raise SpaceClipError(f"{unfit} is of videos, and {images[0].path} is none: leave it out, or give a video")
    if images and not job.image_kinds:
        raise SpaceClipError(
            f"--save video is of videos, and {images[0].path} is none: say what to write of it (--save png,video)"
        )
    cameras = [one for one in inputs if one.is_camera]
    if cameras and not job.frames:
        raise SpaceClipError(f"{cameras[0].path} never ends: say how many frames to take (--frames)")
    if job.frames and len(cameras) < len(inputs):
        raise SpaceClipError("--frames is of cameras, and other inputs are given: predict them by themselves")
    if job.rescale_focal and job.model.training_camera is None:
        job.model.rescaling(Intrinsics.guessed((1, 1)))  # says why not


def _planned(job: Job, images: Sequence[Input], videos: Sequence[Input], say: Callable[[str], None]) -> Done:
    kinds = f"{', '.join(job.kinds)} of each, on {job.model.device}"
    left = len(images_left(job, images))
    if images:
        say(f"{job.out}: {counted(len(images), 'image')}, {left} to do; {kinds}")
    done = Done(whole=len(images) - left)
    for prediction in _readable(job, videos, done, say):
        rows, finished = prediction.whole()
        frames = counted(len(rows), "frame") if finished else f"about {counted(prediction.clip.about, 'frame')}"
        say(f"{job.out / prediction.input.name}: {frames}, {len(rows)} are there; {kinds}")
    return done


def _kinds(job: Job, kinds: Sequence[str], factors: Collection[float]) -> str:
    farthest = job.model.depth_range[1]
    return said_of_kinds(kinds, farthest, farthest * max(factors, default=1))


def _said_of_video(job: Job, prediction: VideoPrediction, found: VideoDone) -> str:
    unchanged, flicker, smoothed = found.change
    whole = f", {found.whole} were there" if found.whole else ""
    colours = "" if found.colours is None else "; colours span {:.2f} to {:.2f} m".format(*found.colours)
    still = "no pixel of the picture stands still"
    if unchanged:
        where = f"where the picture stands still ({unchanged:.0%} of its pixels)"
        filtered = f", with --smooth {job.smooth:g} by {smoothed:.4f} m" if job.smooth else ""
        still = f"{where}, depth changes by {flicker:.4f} m a frame{filtered}"
    kinds = _kinds(job, job.kinds, {prediction.factor})
    return (
        f"{job.out / prediction.input.name}: {found.frames - found.whole} of {counted(found.frames, 'frame')} written "
        f"({kinds}){whole}{colours}; flicker: {still}"
    )
