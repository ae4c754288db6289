"""What a store says of the camera of its images with depth; metres hang on it."""

from typing_extensions import TypedDict


class CameraFacts(TypedDict):
    """The camera that images with depth were taken with, as far as it is known.

    Attributes:
        focal: Least, median and greatest focal length across, in pixels of images of `size`.
        size: (height, width) that most of them have.
        images: Of how many it is known.
    """

    focal: list[float]
    size: list[int]
    images: int
