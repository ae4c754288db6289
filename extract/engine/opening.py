"""From an encoder to the device that it is on."""

from ...cache import StoreSpec
from ..towers import Backbone
from .device import HostDevice


def device_of(backbone: Backbone, spec: StoreSpec) -> HostDevice:
    """The device that an encoder is on, for a store."""
    if backbone.device.type == "cuda":
        from .cuda import CudaDevice

        return CudaDevice(backbone, spec)
    return HostDevice(backbone, spec)
