"""The one engine: in a process of its own, in a Dask worker, and to find out beforehand how long it will take."""

from .buffers import held_bytes
from .device import HostDevice
from .engine import Engine
from .opening import device_of
from .receipt import ENCODE, Receipt, together
from .shards import ShardUnderWay
from .sinks import StoreSink, WeighingSink

__all__ = [
    "ENCODE",
    "Engine",
    "HostDevice",
    "Receipt",
    "ShardUnderWay",
    "StoreSink",
    "WeighingSink",
    "device_of",
    "held_bytes",
    "together",
]
