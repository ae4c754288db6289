"""What to keep of each image, and what the store that follows from it will hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from dask.system import CPU_COUNT
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

from ..cache import DepthSpec, SpaceClipError, StoreSpec, out_of_memory
from .sources.source import Source
from .towers import Backbone, device_lost, is_device_lost

# Beyond, Python's own part of decoding, which one thread at a time can do, is what binds.
_MOST_THREADS = 64


class ExtractSettings(BaseModel):
    """What to keep of each image, and how to go about it.

    Attributes:
        layers: Hidden states to keep.
        views: `plain`, or `plain` and `flipped` (the encoder's view of the mirrored image).
        target_size: (height, width) that images and depth are brought to first; None where all depth maps agree.
        batch_size: Images in one forward pass, of one view; if not given, that of the store or chosen by itself.
        shard: Images in one stored object. A run that is killed loses at most the shard it was at.
        threads: Threads that decode images; chosen by each process for itself if not given (see `threads_here`).
        store: Folder or URL (`s3://bucket/features`) that stores go into, where they do not lie beside their pointers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: tuple[int, ...] = Field(default=(0, 1, 2, 3, 6, 9, 12), min_length=1)
    views: tuple[Literal["plain", "flipped"], ...] = Field(default=("plain", "flipped"), min_length=1)
    target_size: tuple[PositiveInt, PositiveInt] | None = None
    batch_size: PositiveInt | None = None
    shard: PositiveInt = 64
    threads: PositiveInt | None = None
    store: str | None = None

    @field_validator("layers", "views")
    @classmethod
    def _each_once(cls, names: tuple[int | str, ...]) -> tuple[int | str, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"{', '.join(map(str, names))} names one twice: expected each once")
        return names

    def threads_here(self, sharing: int = 1) -> int:
        """Threads that decode in this process: as asked, or one a core but for an eighth that drives device and disk.

        Args:
            sharing: Processes that share the cores which this one may use.
        """
        cores = max(1, CPU_COUNT // sharing)
        return self.threads or min(cores - cores // 8, _MOST_THREADS)


@contextmanager
def computing(backbone: Backbone, settings: ExtractSettings) -> Iterator[None]:
    """Context in which memory that runs out, or a card that is lost, is one line.

    Raises:
        SpaceClipError: It did, or it is.
    """
    batch = settings.batch_size or "chosen by itself"
    remedy = (
        f"give it more, or lower batch_size (now {batch}) or shard (now {settings.shard} images), then run the same "
        "command again to go on from what is saved"
    )
    with out_of_memory(remedy):
        try:
            yield
        except Exception as error:
            if is_device_lost(error):
                raise device_lost(backbone.device, error) from error
            raise


def store_spec(source: Source, backbone: Backbone, settings: ExtractSettings) -> StoreSpec:
    """What the store of a source will hold.

    Raises:
        SpaceClipError: Depth maps of several sizes and no target size.
    """
    depth = _depth_spec(source, settings.target_size)
    target = depth.size if depth else settings.target_size
    return StoreSpec(
        backbone=backbone.identity,
        preprocessing={"target_size": target, "resample": "bicubic", "mean": backbone.mean, "std": backbone.std},
        layers=settings.layers,
        views=settings.views,
        patches=backbone.patches,
        channels=backbone.channels,
        image_size=(backbone.input_size, backbone.input_size),
        depth=depth,
        entries=source.entries,
        shard=settings.shard,
    )


def _depth_spec(source: Source, target: tuple[int, int] | None) -> DepthSpec | None:
    if source.depth_unit is None:
        return None
    sizes = [size for size in source.depth_sizes() if size is not None]
    found = sorted(set(sizes))
    if not found:
        raise SpaceClipError(
            "none of these images has depth, while others of the data set do; give depth for some of them"
        )
    if target is None and len(found) > 1:
        listed = ", ".join(f"{height} x {width} ({sizes.count((height, width))})" for height, width in found[:4])
        raise SpaceClipError(
            f"depth maps of {len(found)} sizes: {listed}; training needs one, "
            "give it as target_size (--size HEIGHT WIDTH)"
        )
    size = target or found[0]
    native = None if found == [size] else (max(height for height, _ in found), max(width for _, width in found))
    return DepthSpec(source.depth_unit, size, native, source.depth_counts)
