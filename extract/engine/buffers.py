"""The memory of an engine: how much there is, and who waits for it. All of it is used again and again."""

import math

import numpy as np
from numpy.typing import NDArray

from ...cache import PlainObject, StoreSpec, depth_bytes, feature_bytes, feature_objects
from ..reading import decoded_bytes
from ..threads import Channel
from .device import HostDevice


class Buffers:
    """Buffers of fixed number, page-locked where there is a GPU.

    Args:
        device: Gives their memory.
        spec: What the store holds.
        batch: Images that are encoded at once.
        threads: Threads that decode.

    Attributes:
        images: Batches of images [batch, S, S, 3], there at once.
        features: Rooms for the features of a shard each, made when they are needed first.
    """

    def __init__(self, device: HostDevice, spec: StoreSpec, batch: int, threads: int) -> None:
        self._device, self._spec, self._to_be_made = device, spec, _shards(batch, spec.shard)
        self.images: Channel[NDArray[np.uint8]] = Channel()
        self.features: Channel[dict[str, PlainObject]] = Channel()
        shape = (batch, *spec.image_size, 3)
        for _ in range(_batches(batch, threads)):
            self.images.put(device.allocate(math.prod(shape)).reshape(shape))

    def take_features(self) -> dict[str, PlainObject]:
        """Room for the features of one shard, when there is some.

        Raises:
            Closed: The run has ended.
        """
        if not len(self.features) and self._to_be_made:
            self._to_be_made -= 1
            return feature_objects(self._spec, self._device.allocate, self._device.moments)
        return self.features.get()

    def close(self) -> None:
        """End the run: whoever waits is told."""
        self.images.close()
        self.features.close()


def held_bytes(spec: StoreSpec, batch: int, threads: int) -> int:
    """Bytes that an engine holds at most: its buffers, and large pictures while they are decoded."""
    images = _batches(batch, threads) * batch * 3 * math.prod(spec.image_size)
    begun = _shards(batch, spec.shard) + -(-_batches(batch, threads) * batch // spec.shard)
    depth = begun * spec.shard * depth_bytes(spec)
    return images + depth + _shards(batch, spec.shard) * feature_bytes(spec) + decoded_bytes(threads)


def _batches(batch: int, threads: int) -> int:
    """Batches of images: those being decoded, one being encoded, one that has just been."""
    return 2 + max(2, -(-2 * threads // batch))


def _shards(batch: int, shard: int) -> int:
    """Shards whose features are held: of the batch being computed, of the next, which waits for it, being written."""
    return 2 + -(-2 * batch // shard)
