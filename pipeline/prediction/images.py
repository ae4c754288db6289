"""Depth of many images: decode, compute and write at once, in bounded memory."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from torch import Tensor

from ...cache import SpaceClipError
from ...extract import read_image
from .inputs import Input
from .intrinsics import Intrinsics
from .job import THREADS, Job, Prepared
from .pool import Pool
from .record import version_of

_KEPT_PIXELS = 1_000_000
"""Larger pictures are decoded again when they are shown: those that wait for their turn would fill the memory."""
_PIXELS_AT_ONCE = 50_000_000
"""That are brought to their own size and encoded together; each takes some 20 bytes."""


@dataclass
class Done:
    """What became of images, or of the frames of a video.

    Attributes:
        written: Those whose outputs were written.
        whole: Those whose outputs were there.
        failed: Why others could not be used, a line each.
        cameras: Of how many of those that could.
        factors: What their depth was multiplied by.
    """

    written: int = 0
    whole: int = 0
    failed: list[str] = field(default_factory=list)
    cameras: Counter[Intrinsics] = field(default_factory=Counter)
    factors: set[float] = field(default_factory=set)


def images_left(job: Job, inputs: Sequence[Input]) -> list[Input]:
    """The images that have no outputs yet, or those of another version."""
    return [one for one in inputs if not _is_whole(job, one)]


def first_whole(job: Job, inputs: Sequence[Input]) -> Input | None:
    """The first image that has its outputs."""
    return next((one for one in inputs if _is_whole(job, one)), None)


def _is_whole(job: Job, one: Input) -> bool:
    return job.record.holds(one.name, job.endings(), version_of(one.path))


def predict_images(
    job: Job, inputs: Sequence[Input], report: Callable[[int, int], None], say: Callable[[str], None]
) -> Done:
    """Predict the images that are left.

    Args:
        job: What is to be done.
        inputs: The images.
        report: Called with images done, and how many there are.
        say: Called with a line on each image that cannot be used.

    Raises:
        SpaceClipError: The model cannot be loaded.
        OSError: An output cannot be written.
    """
    left = images_left(job, inputs)
    done = Done(whole=len(inputs) - len(left))
    report(done.whole, len(inputs))

    lock = Lock()

    def give_up(why: str) -> None:
        say(why)
        done.failed.append(why)

    def usable(outcomes: Iterator[Prepared | str]) -> Iterator[Prepared]:
        for outcome in outcomes:
            if isinstance(outcome, Prepared):
                yield outcome
            else:
                with lock:
                    give_up(outcome)

    def write(one: Prepared, depth: Tensor) -> None:
        try:
            _write(job, one, depth)
        except SpaceClipError as error:
            with lock:
                give_up(str(error))
        else:
            with lock:
                done.cameras[one.camera] += 1
                done.factors.add(one.factor)
                done.written += 1

    with Pool(THREADS, "decode") as readers, Pool(THREADS, "write", _PIXELS_AT_ONCE) as writers:
        prepared = readers.map(lambda one: _prepared(job, one), left, 2 * job.model.batch_size)
        for number, (one, depth) in enumerate(job.depths(usable(prepared), job.model.batch_size), 1):
            if number == 1:  # nothing is left behind where the encoder cannot be had
                job.record.begin(job.settings)
            writers.submit(write, one, depth, weight=math.prod(one.camera.size))
            report(done.whole + done.written + len(done.failed), len(inputs))
    report(done.whole + done.written + len(done.failed), len(inputs))
    return done


def _prepared(job: Job, one: Input) -> Prepared | str:
    """The image; or why it cannot be used."""
    version = version_of(one.path)  # before it is read, so that what changes meanwhile is done again
    try:
        job.check_name(one)
        picture = read_image(one.path, upright=True)
        camera, factor = job.camera_of(picture)
    except SpaceClipError as error:
        return str(error) if str(one.path) in str(error) else f"{one.path}: {error}"
    keep = job.shows_image and picture.width * picture.height <= _KEPT_PIXELS
    return Prepared(one, version, job.model.prepare(picture), np.asarray(picture) if keep else None, camera, factor)


def _write(job: Job, one: Prepared, depth: Tensor) -> None:
    """Write the outputs of an image.

    Raises:
        SpaceClipError: It is read again, and is no more or another one.
        OSError: One cannot be written.
    """
    image = one.image
    if image is None and job.shows_image:
        image = np.asarray(read_image(one.input.path, upright=True))
        if version_of(one.input.path) != one.version:
            raise SpaceClipError(f"{one.input.path} changed while it was read: run the same command again")
    job.record.discard_others(one.input.name, one.version)
    job.write(job.depth_map(one, depth, image), one)
