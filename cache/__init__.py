"""The feature store: layout, fingerprint, ledger, writer, reader, batches and verification."""

from .batches import Allocate, Batch, Batches
from .disjoint import require_disjoint
from .errors import SpaceClipError, StoreError
from .ledger import write_atomically
from .pointer import Pointer
from .reader import FeatureCache
from .spec import DepthSpec, Entry, StoreSpec
from .verify import Problem, Verification, stored_bytes, verify
from .writer import StoreWriter

__all__ = [
    "Allocate",
    "Batch",
    "Batches",
    "DepthSpec",
    "Entry",
    "FeatureCache",
    "Pointer",
    "Problem",
    "SpaceClipError",
    "StoreError",
    "StoreSpec",
    "StoreWriter",
    "Verification",
    "require_disjoint",
    "stored_bytes",
    "verify",
    "write_atomically",
]
