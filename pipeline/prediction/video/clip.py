"""A video file: its frames in order, upright, each with its time."""

import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ....cache import SpaceClipError
from ....extract import counted
from ..inputs import CAMERA

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_CUT_SECONDS = 0.25
"""What ends by more than this before its header says was cut short."""
_MOST_PIXELS = 2**26
_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


@dataclass(frozen=True)
class Frame:
    """A frame of a video.

    Attributes:
        number: From 1.
        ticks: When it is shown, in the video's `time_base`.
        seconds: Likewise.
    """

    number: int
    ticks: int
    seconds: float
    _frame: "VideoFrame"

    def picture(self) -> Image.Image:
        """The frame as RGB, turned as the video asks."""
        picture = Image.fromarray(self._frame.to_ndarray(format="rgb24"))
        turn = _TURNS.get(round(self._frame.rotation) % 360)
        return picture if turn is None else picture.transpose(turn)


class Clip:
    """A video file, or what a camera sees.

    Args:
        path: The file, or `camera:0`.
        most: Frames that are read at most; a camera never ends.

    Attributes:
        path: The file.
        time_base: Seconds of a tick.
        first: Its first frame, upright.
        seconds: How long it is by its header; None where that does not say.
        about: About how many frames it has; 0 where its header does not say.
        broken: Why the frames that were read last ended early; None if they did not.

    Raises:
        SpaceClipError: It is no video, holds none, or is cut short.
    """

    def __init__(self, path: Path, most: int | None = None) -> None:
        self.path, self.most, self.broken = path, most, None
        with self._opened() as (container, stream):
            self.time_base, self._size = stream.time_base or Fraction(1, 1000), (stream.height, stream.width)
            self.seconds = _seconds(container, stream)
            self._rate = stream.average_rate or Fraction(25)
            self.about = most or round((self.seconds or 0) * self._rate)
        height, width = self._size
        if height * width > _MOST_PIXELS:
            raise SpaceClipError(f"{path} has frames of {height} x {width}: expected at most {_MOST_PIXELS:,} pixels")
        frames = self.frames()
        first = next(frames, None)
        frames.close()
        if first is None:
            raise SpaceClipError(self.broken or f"{path} has no frame")
        self.first = first.picture()

    def frames(self) -> Generator[Frame]:
        """Its frames, up to where it is broken; a time that does not increase is set a tick after the one before."""
        from av.error import FFmpegError

        self.broken, why, number, ticks, end = None, "", 0, None, Fraction(0)
        with self._opened() as (container, stream):
            start = (stream.start_time or 0) * self.time_base
            try:
                for frame in _decoded(container, stream):
                    if frame.is_corrupt or (frame.height, frame.width) != self._size:
                        why = "damaged data" if frame.is_corrupt else f"then {frame.height} x {frame.width} pixels"
                        break
                    if frame.pts is None:
                        frame.pts = round(number / self._rate / self.time_base)
                    ticks = frame.pts if ticks is None else max(ticks + 1, frame.pts)
                    number += 1
                    end = (ticks + (frame.duration or 0)) * self.time_base - start
                    yield Frame(number, ticks, float(ticks * self.time_base), frame)
                    if number == self.most:
                        return
            except FFmpegError as error:
                why = str(error.strerror)
        if not why and self.seconds is not None and end < self.seconds - _CUT_SECONDS:
            why = "cut short"
        if why:
            whole = "" if self.seconds is None else f" of {self.seconds:.2f}"
            self.broken = f"{self.path}: broken after {counted(number, 'frame')}, {float(end):.2f}{whole} s ({why})"

    @contextmanager
    def _opened(self) -> "Iterator[tuple[InputContainer, VideoStream]]":
        import av
        from av.error import FFmpegError

        try:
            name, device = _place(self.path)
            # No list of files elsewhere.
            options = None if device else {"protocol_whitelist": "file"}
            container = av.open(name, format=device, options=options, metadata_errors="ignore")
        except FFmpegError as error:
            if isinstance(error, FileNotFoundError | PermissionError):
                raise SpaceClipError(f"{self.path} cannot be read ({error.strerror}): check the path") from error
            raise SpaceClipError(
                f"{self.path} cannot be read as a video ({error.strerror}): damaged, cut short or none; copy it again"
            ) from error
        with container:
            if not container.streams.video:
                raise SpaceClipError(f"{self.path} holds no video: {counted(len(container.streams), 'other stream')}")
            stream = container.streams.video[0]
            if not stream.codec_context:
                raise SpaceClipError(
                    f"{self.path} is of a coding that is not known, or damaged: copy it again, or convert it to mp4"
                )
            yield container, stream


def _place(path: Path) -> tuple[str, str | None]:
    """What FFmpeg calls a file or camera, and what kind of device it is."""
    if not str(path).startswith(CAMERA):
        return f"file:{path}", None  # else it takes a name with a colon for a protocol
    number = str(path).removeprefix(CAMERA)
    devices = {"darwin": (number, "avfoundation"), "win32": (f"video={number}", "dshow")}
    return devices.get(sys.platform, (f"/dev/video{number}", "v4l2"))


def _decoded(container: "InputContainer", stream: "VideoStream") -> "Iterator[VideoFrame]":
    """Frames up to where the decoder fails, those too that wait in it for their turn."""
    from av.error import FFmpegError

    stream.thread_type = "SLICE"  # with threads by frame, those under way are lost at a broken one
    try:
        yield from container.decode(stream)
    except FFmpegError:
        with suppress(FFmpegError):
            yield from stream.decode(None)
        raise


def _seconds(container: "InputContainer", stream: "VideoStream") -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if not container.duration or len(container.streams) > 1:  # that of the file is its longest stream's
        return None
    # Matroska's ends when the last frame does, whenever the first begins.
    start = max(0, container.start_time or 0) if "matroska" in container.format.name else 0
    return (container.duration - start) / 1_000_000
