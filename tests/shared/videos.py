"""Small videos."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

MILLISECOND = Fraction(1, 1000)


def write_video(
    path: Path | str, pictures: Sequence[NDArray[np.uint8]], times: Sequence[int] | None = None, **container: Any
) -> None:
    """Write pictures [H, W, 3], shown at times in milliseconds, losing next to nothing of them."""
    with av.open(str(path), "w", **container) as file:
        stream = file.add_stream("libx264", options={"crf": "2", "preset": "ultrafast"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv444p"
        stream.time_base = stream.codec_context.time_base = MILLISECOND
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = times[number] if times else 40 * number, MILLISECOND
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
