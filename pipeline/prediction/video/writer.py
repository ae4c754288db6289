"""Pictures as a video file, each shown at its time."""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from av.video.stream import VideoStream

_CODEC = "libx264"
_OPTIONS = {"crf": "18", "bf": "0"}
"""Without B-frames, whose order of decoding would shorten the duration that the file states."""
_BT709 = 1


class VideoWriter:
    """Writes an mp4 file, whole or not at all: it has its name once the `with` block ends well.

    Args:
        path: The file.
        time_base: Seconds of a tick.
    """

    def __init__(self, path: Path, time_base: Fraction) -> None:
        self.path, self._part, self._time_base = path, path.with_name(f"{path.name}.part"), time_base
        self._stream: VideoStream | None = None

    def __enter__(self) -> Self:
        import av

        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = av.open(f"file:{self._part}", "w", format="mp4")
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if self._stream and not kind:
                self._file.mux(self._stream.encode(None))
            self._file.close()
            if self._stream and not kind:
                self._part.replace(self.path)
        finally:
            self._part.unlink(missing_ok=True)

    def add(self, picture: Image.Image, ticks: int) -> None:
        """Show a picture from then on; all are of one size, and each comes after the one before."""
        from av import VideoFrame

        # Of each 2 x 2 pixels one colour is stored.
        pixels = np.asarray(picture)
        pixels = np.pad(pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), "edge")
        stream = self._stream = self._stream or self._new_stream(pixels.shape[0], pixels.shape[1])
        frame = VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p", dst_colorspace="ITU709")
        frame.pts, frame.time_base = ticks, self._time_base
        self._file.mux(stream.encode(frame))

    def _new_stream(self, height: int, width: int) -> "VideoStream":
        stream = self._file.add_stream(_CODEC, options=_OPTIONS)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.time_base = stream.codec_context.time_base = self._time_base
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = context.color_range = _BT709
        return stream
