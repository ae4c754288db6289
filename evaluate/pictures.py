"""Pictures of a page, as addresses that hold them."""

import io
from base64 import b64encode

import numpy as np
from numpy.typing import NDArray

from .examples import Example
from .panels import DEPTH_COLOURS, ERROR_COLOURS, HIGHEST_ERROR, UNKNOWN, DepthScale, panels
from .protocol import Protocol

_STOPS = 9


def png_address(content: bytes) -> str:
    """Of a PNG file."""
    return f"data:image/png;base64,{b64encode(content).decode()}"


def thumbnails(example: Example, protocol: Protocol, scale: DepthScale) -> list[tuple[str, str]]:
    """Name and address of the image, the truth, the prediction and the error of an image that was scored."""
    shown = panels(example, protocol)
    pictures = {
        "Image": shown.image,
        "Ground truth": coloured(scale(shown.truth), DEPTH_COLOURS),
        "Prediction": coloured(scale(shown.prediction), DEPTH_COLOURS),
        "Relative error": coloured(shown.error / HIGHEST_ERROR, ERROR_COLOURS),
    }
    return [(name, _jpeg_address(picture)) for name, picture in pictures.items()]


def gradient(colours: str) -> str:
    """The colours of a map from its first to its last, as CSS knows them."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return ", ".join(to_hex(colormaps[colours](share)) for share in np.linspace(0, 1, _STOPS))


def coloured(values: NDArray[np.float64], colours: str) -> NDArray[np.uint8]:
    """Values [h, w] between 0 and 1 in colours [h, w, 3]; grey where they are NaN."""
    from matplotlib import colormaps

    known = np.isfinite(values)
    rgb = colormaps[colours](np.where(known, values, 0).clip(0, 1), bytes=True)[..., :3]
    return np.where(known[..., None], rgb, np.uint8(255 * UNKNOWN))


def _jpeg_address(picture: NDArray[np.uint8]) -> str:
    from matplotlib.image import imsave

    content = io.BytesIO()
    imsave(content, np.ascontiguousarray(picture), format="jpeg", pil_kwargs={"quality": 88})
    return f"data:image/jpeg;base64,{b64encode(content.getvalue()).decode()}"
