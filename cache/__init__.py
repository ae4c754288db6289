"""The feature store: layout, fingerprint, ledger, writer, reader, batches, and its upkeep."""

from .adopt import adopt, adoptable
from .batches import Allocate, Batch, Batches
from .channels import ChannelStatistics, channel_statistics
from .copying import Copied, copy
from .disjoint import require_disjoint
from .errors import SpaceClipError, StoreError
from .garbage import Garbage, find_garbage, remove
from .ledger import Quarantined, write_atomically
from .lock import only_writer, sweep
from .pointer import Pointer
from .reader import FeatureCache
from .repair import Repair, repair
from .spec import DepthSpec, Entry, StoreSpec
from .verify import Problem, Verification, stored_bytes, verify
from .writer import StoreWriter

__all__ = [
    "Allocate",
    "Batch",
    "Batches",
    "ChannelStatistics",
    "Copied",
    "DepthSpec",
    "Entry",
    "FeatureCache",
    "Garbage",
    "Pointer",
    "Problem",
    "Quarantined",
    "Repair",
    "SpaceClipError",
    "StoreError",
    "StoreSpec",
    "StoreWriter",
    "Verification",
    "adopt",
    "adoptable",
    "channel_statistics",
    "copy",
    "find_garbage",
    "only_writer",
    "remove",
    "repair",
    "require_disjoint",
    "stored_bytes",
    "sweep",
    "verify",
    "write_atomically",
]
