"""A host's image processor beside what extraction does to an image."""

from typing import Any

from ...cache import SpaceClipError
from .backbone import RGB

_BICUBIC = 3


def normalisation(processor: Any, input_size: int) -> tuple[RGB, RGB]:
    """Mean and standard deviation of the channels, 0 to 1, of a processor that does as extraction does.

    That brings the whole frame to the input size, bicubically and without a crop.

    Args:
        processor: An image processor of transformers, or a processor that has one.
        input_size: Side of the encoder's input in pixels.

    Raises:
        SpaceClipError: Names the first thing that it does otherwise.
    """
    processor = getattr(processor, "image_processor", processor)
    if not hasattr(processor, "to_dict"):
        raise SpaceClipError(
            f"the image processor is a {type(processor).__name__}: expected one of transformers, or none (None)"
        )
    found = processor.to_dict()
    square = {"height": input_size, "width": input_size}
    expected: dict[str, Any] = {"do_rescale": True, "do_normalize": True, "do_pad": False, "do_center_crop": False}
    if found.get("do_resize"):
        expected |= {"size": square, "resample": _BICUBIC}
    if found.get("do_center_crop") and found.get("size") == found.get("crop_size") == square:
        del expected["do_center_crop"]  # of the whole frame
    for name, value in expected.items():
        if (found.get(name) or False) != value:
            raise SpaceClipError(
                f"the image processor has {name} {found.get(name)}, expected {value}: features are of whole frames at "
                f"{input_size} x {input_size}, bicubic; set it so, or leave the processor out and give it such frames"
            )
    if abs(found["rescale_factor"] * 255 - 1) > 1e-6:
        raise SpaceClipError(f"the image processor has rescale_factor {found['rescale_factor']}, expected 1/255")
    return tuple(found["image_mean"]), tuple(found["image_std"])
