"""Metric depth from a frozen CLIP vision encoder.

The names of `__all__` are imported when they are first used: `import spaceclip.cache` shall not wait for PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cache import SpaceClipError
    from .pipeline.host import AttachedDecoder, attach
    from .pipeline.prediction import CameraChoice, DepthMap, Intrinsics, SpaceClip
    from .pipeline.prediction.auto_classes import register_auto_classes

    __version__: str

__all__ = [
    "AttachedDecoder",
    "CameraChoice",
    "DepthMap",
    "Intrinsics",
    "SpaceClip",
    "SpaceClipError",
    "__version__",
    "attach",
    "register_auto_classes",
]

_ELSEWHERE = {
    "AttachedDecoder": ".pipeline.host",
    "SpaceClipError": ".cache",
    "attach": ".pipeline.host",
    "register_auto_classes": ".pipeline.prediction.auto_classes",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    return getattr(import_module(_ELSEWHERE.get(name, ".pipeline.prediction"), __name__), name)
