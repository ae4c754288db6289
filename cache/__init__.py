"""The feature store: layout, fingerprint, ledger, writer, reader, batches, and its upkeep."""

from .adopt import Offer, adopt, known_rows, missing_parts, offers
from .batches import Allocate, Batch, Batches
from .channels import ChannelStatistics, channel_statistics
from .copying import Copied, copy
from .disjoint import require_disjoint
from .errors import SpaceClipError, StoreError
from .folder import write_atomically
from .garbage import Garbage, find_garbage, remove
from .ledger import Quarantined, Record
from .like import LikeStore, like_stores
from .location import Location, Url, locate
from .lock import only_writer, sweep
from .place import place_at
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
    "LikeStore",
    "Location",
    "Offer",
    "Pointer",
    "Problem",
    "Quarantined",
    "Record",
    "Repair",
    "SpaceClipError",
    "StoreError",
    "StoreSpec",
    "StoreWriter",
    "Url",
    "Verification",
    "adopt",
    "channel_statistics",
    "copy",
    "find_garbage",
    "known_rows",
    "like_stores",
    "locate",
    "missing_parts",
    "offers",
    "only_writer",
    "place_at",
    "remove",
    "repair",
    "require_disjoint",
    "stored_bytes",
    "sweep",
    "verify",
    "write_atomically",
]
