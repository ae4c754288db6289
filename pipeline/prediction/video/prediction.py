"""Depth of a video's frames, one after the other: decode, compute and write at once, in bounded memory."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count, islice, takewhile

import numpy as np
from PIL import Image
from torch import Tensor

from ..files import FILM_SUFFIX, FORMATS, TABLE_SUFFIX, VIDEO
from ..inputs import Input
from ..intrinsics import Intrinsics
from ..job import THREADS, Job, Prepared
from ..pool import Pool
from ..record import version_of
from ..rendering import colour_span, side_by_side
from .clip import Clip, Frame
from .flicker import Change, TemporalFilter, mean_change
from .frame_table import FrameTable, Row
from .writer import VideoWriter

_BYTES_WAITING, _PIXELS_AT_ONCE = 2**29, 50_000_000
"""Of frames that wait for their turn; of those that are written together, each taking some 20 bytes."""
_DECODED_AHEAD = 4
_SAMPLED = 8


@dataclass(frozen=True)
class VideoDone:
    """What became of a video.

    Attributes:
        frames: That it has, as far as it can be read.
        whole: Of these, those whose outputs were there.
        camera: Of all of them.
        change: Of its depth where its image did not change.
        colours: Depths in metres that the colours span; None where nothing was drawn.
        broken: Why it ended early; None if it did not.
    """

    frames: int
    whole: int
    camera: Intrinsics
    change: Change
    colours: tuple[float, float] | None = None
    broken: str | None = None


@dataclass(frozen=True)
class _Frame(Prepared):
    number: int
    ticks: int
    seconds: float

    @property
    def place(self) -> str:
        return _place(self.number)


class VideoPrediction:
    """The prediction of a video.

    Args:
        job: What is to be done.
        one: The video.

    Raises:
        SpaceClipError: It cannot be read, or not be of the camera given.
    """

    def __init__(self, job: Job, one: Input) -> None:
        job.check_name(one)
        self.version = version_of(one.path)
        self.job, self.input, self.clip = job, one, Clip(one.path, job.frames)
        self.camera, self.factor = job.camera_of(self.clip.first)
        self._table = FrameTable(job.out / f"{one.name}{TABLE_SUFFIX}")
        self._film = job.out / f"{one.name}{FILM_SUFFIX}" if VIDEO in job.kinds else None
        self._keeps_images = job.shows_image or self._film is not None
        self._is_coloured = self._film or any(FORMATS[kind].is_coloured for kind in job.image_kinds)

    def whole(self) -> tuple[list[Row], bool]:
        """The first frames, those that need not be done again; and whether that is all of them."""
        (rows, complete), name, record = self._table.read(), self.input.name, self.job.record
        there = (record.holds(name, self.job.endings(_place(number)), self.version) for number in count(1))
        found = [row for row, _ in takewhile(lambda each: each[1], zip(rows, there, strict=False))]
        if complete and len(found) == len(rows) and record.holds(name, self.job.video_endings, self.version):
            return found, True
        # A filter needs all frames before, as the video does that they go into.
        return [] if self._film or self.job.smooth else found, False

    def run(self, report: Callable[[int, int], None]) -> VideoDone:
        """Predict the frames that are left.

        Args:
            report: Called with frames done, and about how many there are.

        Raises:
            SpaceClipError: The model cannot be loaded, or memory ran out.
            OSError: An output cannot be written.
        """
        rows, finished = self.whole()
        done = VideoDone(len(rows), len(rows), self.camera, mean_change([row.change for row in rows[1:]]))
        if finished:
            return done
        self.job.model.prepare(self.clip.first)  # nothing is left behind where the encoder cannot be had
        record = self.job.record
        record.begin(self.job.settings)
        record.discard_others(self.input.name, self.version)
        camera = {**asdict(self.camera), "factor": self.factor}
        record.add(self.input.name, self.job.video_endings, self.version, camera)
        about, colours = self._survey() if self._is_coloured else (self.clip.about, None)
        report(len(rows), about)
        pixels, batch = self.clip.first.height * self.clip.first.width, self.job.model.batch_size
        waiting = max(1, min(2 * batch, _BYTES_WAITING // (3 * pixels))) if self._keeps_images else 2 * batch
        with ExitStack() as stack:
            decoder, preparers, writers = (
                stack.enter_context(Pool(threads, name))
                for threads, name in ((1, "decode"), (THREADS, "prepare"), (THREADS, "write"))
            )
            # The frame before the first that is written is only compared with.
            frames = islice(self.clip.frames(), max(0, len(rows) - 1), None)
            prepared = preparers.map(self._prepared, _ahead(decoder, frames), waiting)
            depths = self._filtered(prepared, min(batch, waiting), len(rows))
            film = stack.enter_context(VideoWriter(self._film, self.clip.time_base)) if self._film else None
            table = stack.enter_context(self._table.begin(rows))
            write, at_once = partial(self._written, colours=colours), min(2 * THREADS, _PIXELS_AT_ONCE // pixels)
            for frame, change, picture in writers.map(write, depths, max(1, at_once)):
                if film and picture:
                    film.add(picture, frame.ticks)
                rows.append(Row(frame.seconds, change))
                table.add(rows[-1])
                report(frame.number, max(about, frame.number))
        if not self.clip.broken:
            self._table.finish()
        change = mean_change([row.change for row in rows[1:]])
        return replace(done, frames=len(rows), change=change, colours=colours, broken=self.clip.broken)

    def _survey(self) -> tuple[int, tuple[float, float]]:
        """How many frames there are, and what their colours shall span: the depths of some from all over the video."""
        kept, step, number = [], 1, 0
        # What a camera will see is not known: its colours are those of what it sees at first.
        for frame in islice(self.clip.frames(), 2 * _SAMPLED - 1 if self.input.is_camera else None):
            number = frame.number
            if (number - 1) % step == 0:
                kept.append(self._prepared(frame))
                if len(kept) == 2 * _SAMPLED:
                    kept, step = kept[::2], 2 * step
        depths = [depth.numpy() for _, depth in self.job.depths(kept, self.job.model.batch_size)]
        low, high = colour_span(np.stack(depths), self.job.model.depth_range)
        return self.clip.most or number, (low * self.factor, high * self.factor)

    def _prepared(self, frame: Frame) -> _Frame:
        picture = frame.picture()
        image = np.asarray(picture) if self._keeps_images else None
        pixels = self.job.model.prepare(picture)
        at = frame.number, frame.ticks, frame.seconds
        return _Frame(self.input, self.version, pixels, image, self.camera, self.factor, *at)

    def _filtered(self, frames: Iterator[_Frame], batch: int, whole: int) -> Iterator[tuple[_Frame, Tensor, Change]]:
        """The depth of the frames that are to be written."""
        temporal = TemporalFilter(self.job.smooth)
        for frame, depth in self.job.depths(frames, batch):
            smoothed, change = temporal(frame.pixels, depth * self.factor)
            if frame.number > whole:
                yield frame, smoothed / self.factor, change

    def _written(
        self, found: tuple[_Frame, Tensor, Change], *, colours: tuple[float, float] | None
    ) -> tuple[_Frame, Change, Image.Image | None]:
        """Write the outputs of a frame; returns what its video shows of it."""
        frame, depth, change = found
        facts = {"Frame": str(frame.number), "Time": f"{frame.seconds:.6f} s"}
        facts |= {"Smoothed": f"{self.job.smooth:g}"} if self.job.smooth else {}
        plain = self.job.depth_map(frame, depth, frame.image)
        drawn = replace(plain, colours=colours, facts={**plain.facts, **facts})
        self.job.write(drawn, frame)
        return frame, change, side_by_side(drawn) if self._film else None


def _place(number: int) -> str:
    return f"/{number:06d}"


def _ahead(decoder: Pool, frames: Iterator[Frame]) -> Iterator[Frame]:
    """Frames that are decoded before they are asked for."""
    decoded = decoder.map(lambda _: next(frames, None), count(), _DECODED_AHEAD)
    while (frame := next(decoded)) is not None:
        yield frame
