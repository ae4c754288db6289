"""Pictures of a page, as addresses that hold them."""

import io
from base64 import b64encode
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from .examples import Example
from .panels import DEPTH_COLOURS, ERROR_COLOURS, HIGHEST_ERROR, UNKNOWN, DepthScale, panels
from .protocol import Protocol

KINDS = IMAGE, TRUTH, PREDICTION, ERROR = "Image", "Ground truth", "Prediction", "Relative error"

_STOPS = 9
_QUALITY = 75


def pictures(
    example: Example, protocol: Protocol, scale: DepthScale, columns: int, kinds: Collection[str] = KINDS
) -> dict[str, str]:
    """Addresses of what is shown of an image that was scored, by kind.

    Args:
        example: The image.
        protocol: How it was scored.
        scale: The colours of depth.
        columns: About how wide in pixels.
        kinds: Of `KINDS`.
    """
    shown = panels(example, protocol, columns)
    made = {
        IMAGE: lambda: shown.image,
        TRUTH: lambda: coloured(scale(shown.truth), DEPTH_COLOURS),
        PREDICTION: lambda: coloured(scale(shown.prediction), DEPTH_COLOURS),
        ERROR: lambda: coloured(shown.error / HIGHEST_ERROR, ERROR_COLOURS),
    }
    return {kind: picture_address(made[kind]()) for kind in kinds}


def picture_address(picture: NDArray[np.uint8], *, lossless: bool = False) -> str:
    """Of a picture [h, w, 3], as WebP."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(content, "webp", quality=_QUALITY, lossless=lossless)
    return f"data:image/webp;base64,{b64encode(content.getvalue()).decode()}"


def gradient(colours: str) -> str:
    """The colours of a map from its first to its last, as CSS knows them."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return ", ".join(to_hex(colormaps[colours](share)) for share in np.linspace(0, 1, _STOPS))


def coloured(values: NDArray[np.floating], colours: str) -> NDArray[np.uint8]:
    """Values [h, w] between 0 and 1 in colours [h, w, 3]; grey where they are NaN."""
    from matplotlib import colormaps

    known = np.isfinite(values)
    rgb = colormaps[colours](np.where(known, values, 0).clip(0, 1), bytes=True)[..., :3]
    return np.where(known[..., None], rgb, np.uint8(255 * UNKNOWN))
