"""The feature store: layout, fingerprint, ledger, writer, reader, batches, and its upkeep."""

from .batches import Allocate, Batch, Batches
from .camera import CameraFacts
from .disjoint import require_disjoint
from .encoder_rate import EncoderRate
from .errors import BusyError, DamagedError, SpaceClipError, StoreError, first_line, is_out_of_memory, out_of_memory
from .features import Features
from .format.arrays import POOLED, arrays, layer_array, part_name, parts
from .format.buffers import ShardBuffer, depth_bytes, feature_bytes, feature_objects
from .format.identity import Counts, DepthSpec, Entry, StoreSpec, entries_digest, require_same
from .format.ledger import Quarantined, Record, read_ledger, record_key
from .format.metadata import GROUP, read_attributes
from .format.objects import PlainObject, host_memory
from .format.statistics import MOMENTS, DepthRange, content_hash
from .joined import joined
from .looks import Look, Looks, count_looks, note_looks
from .malloc import keep_freed_memory
from .places.folder import is_begun, write_atomically
from .places.location import Location, Url, locate
from .places.lock import only_writer
from .places.opening import place_at
from .places.place import Stored
from .places.project import project_root
from .pointer import Pointer
from .reader import FeatureCache
from .shuffle import Shuffle
from .sizes import size_text
from .upkeep.channel_statistics import ChannelStatistics, channel_statistics
from .upkeep.copying import Copied, copy
from .upkeep.garbage import Garbage, find_garbage, remove
from .upkeep.growth import (
    CompatibleStore,
    SharedParts,
    compatible_stores,
    link_parts,
    missing_parts,
    shared_parts,
    shared_rows,
)
from .upkeep.repair import Repair, repair
from .upkeep.verify import Problem, Verification, stored_bytes, verify
from .writer import StoreWriter, connections, whole_store

__all__ = [
    "GROUP",
    "MOMENTS",
    "POOLED",
    "Allocate",
    "Batch",
    "Batches",
    "BusyError",
    "CameraFacts",
    "ChannelStatistics",
    "CompatibleStore",
    "Copied",
    "Counts",
    "DamagedError",
    "DepthRange",
    "DepthSpec",
    "EncoderRate",
    "Entry",
    "FeatureCache",
    "Features",
    "Garbage",
    "Location",
    "Look",
    "Looks",
    "PlainObject",
    "Pointer",
    "Problem",
    "Quarantined",
    "Record",
    "Repair",
    "ShardBuffer",
    "SharedParts",
    "Shuffle",
    "SpaceClipError",
    "StoreError",
    "StoreSpec",
    "StoreWriter",
    "Stored",
    "Url",
    "Verification",
    "arrays",
    "channel_statistics",
    "compatible_stores",
    "connections",
    "content_hash",
    "copy",
    "count_looks",
    "depth_bytes",
    "entries_digest",
    "feature_bytes",
    "feature_objects",
    "find_garbage",
    "first_line",
    "host_memory",
    "is_begun",
    "is_out_of_memory",
    "joined",
    "keep_freed_memory",
    "layer_array",
    "link_parts",
    "locate",
    "missing_parts",
    "note_looks",
    "only_writer",
    "out_of_memory",
    "part_name",
    "parts",
    "place_at",
    "project_root",
    "read_attributes",
    "read_ledger",
    "record_key",
    "remove",
    "repair",
    "require_disjoint",
    "require_same",
    "shared_parts",
    "shared_rows",
    "size_text",
    "stored_bytes",
    "verify",
    "whole_store",
    "write_atomically",
]
