"""A store's metadata, all of which follows from what it is: each `zarr.json`, and the list of samples."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DamagedError, StoreError, UnreadableError
from ..places.place import Place
from .arrays import ArrayLayout, identity_arrays
from .identity import FORMAT, Entry, StoreSpec, entries_digest, fingerprint
from .ledger import FOLDER
from .parsing import parse_json

ATTRIBUTE = "spaceclip"
GROUP = "zarr.json"
SAMPLES = "samples.jsonl"


def attributes_of(spec: StoreSpec, about: Mapping[str, Any]) -> dict[str, Any]:
    """What a store says of itself, sealed with a SHA-256."""
    fields = {"format": FORMAT, "fingerprint": spec.fingerprint, "identity": spec.identity, "about": dict(about)}
    return {**fields, "sha256": _seal(fields)}


def read_attributes(place: Place) -> dict[str, Any] | None:
    """What a store says of itself: format, fingerprint, identity, about. None where nothing was created yet.

    Raises:
        DamagedError: The metadata of a store is cut short or altered.
        UnreadableError: The place gives no answer.
        StoreError: The place is something else, or holds a store of another format.
    """
    file = f"{place.location}/{GROUP}"
    try:
        content = parse_json(place.read(GROUP))
        attributes = content["attributes"].get(ATTRIBUTE)
        is_group = content["zarr_format"] == 3 and content["node_type"] == "group"
        is_ours = attributes is not None or bool(place.names(FOLDER))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnreadableError.of(file, error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(
            f"{file}: not the metadata of a Zarr group ({error}); a feature store was expected, and if it is one the "
            "same `spaceclip extract` mends it"
        ) from error
    if not is_ours:
        raise StoreError(f"{place.location}: a Zarr group, but no feature store; give another path")
    damaged = f"{file}: the {{}}; it is damaged or was altered by hand: the same `spaceclip extract` mends it"
    if not isinstance(attributes, dict) or not is_group:
        raise DamagedError(damaged.format("description of the store is gone"))
    number = attributes.get("format")
    if attributes.get("sha256") != _seal(attributes) and not (number == 1 and "sha256" not in attributes):
        raise DamagedError(damaged.format("metadata does not match its SHA-256"))
    if number != FORMAT:
        raise StoreError(
            f"{place.location}: a store of format {number}, this version reads {FORMAT}; run the same `spaceclip "
            "extract`, which makes one beside it, or use the version that made this one"
        )
    if fingerprint(attributes.get("identity", {})) != attributes.get("fingerprint") or "about" not in attributes:
        raise DamagedError(damaged.format("identity does not match its fingerprint"))
    return attributes


def metadata_files(attributes: Mapping[str, Any]) -> dict[str, bytes]:
    """The content of each `zarr.json` of a store by key, as the installed Zarr writes it; the group's comes last."""
    import zarr
    from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec

    files: dict[str, Any] = {}
    identity = attributes["identity"]
    root = zarr.create_group(files, zarr_format=3, attributes={ATTRIBUTE: dict(attributes)})
    for name, array in identity_arrays(identity).items():
        coders = [BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")] if array.compressed else []
        root.create_array(
            name,
            shape=array.shape,
            chunks=array.chunk,
            shards=array.shard(identity["shard"]),
            dtype=array.dtype,
            serializer=BytesCodec(),
            compressors=[*coders, Crc32cCodec()],
        )
    return {key: files[key].to_bytes() for key in sorted(files, key=lambda key: (key == GROUP, key))}


def sample_list(entries: Sequence[Entry]) -> bytes:
    """The content of the list of samples."""
    fields = (entry.quoted() for entry in entries)
    lines = [f'{{"id": {name}, "scene": {scene}, "stamp": {stamp}}}' for name, scene, stamp in fields]
    return "\n".join(lines).encode() + b"\n"


def read_samples(place: Place, identity: Mapping[str, Any]) -> list[Entry]:
    """The samples of a store in the order of its rows.

    Raises:
        UnreadableError: The place gives no answer.
        StoreError: The list is missing, cut short or altered.
    """
    file, mend = (
        f"{place.location}/{SAMPLES}",
        "run `spaceclip cache repair` on the store, then the same `spaceclip extract`",
    )
    try:
        content = place.read(SAMPLES)
        entries = [Entry(**parse_json(line)) for line in content.splitlines()]
        is_whole = entries_digest(entries) == identity["samples"]["sha256"] and content == sample_list(entries)
    except (FileNotFoundError, ValueError, TypeError) as error:
        raise StoreError(f"{file}: unreadable ({error}); {mend}") from error
    except OSError as error:
        raise UnreadableError.of(file, error) from error
    if not is_whole:
        raise StoreError(f"{file}: the sample list was altered; {mend}")
    return entries


def write_missing(place: Place, attributes: Mapping[str, Any], entries: Sequence[Entry]) -> None:
    """Write what a store lacks of its metadata; its description last, so that what has one has all."""
    if not place.exists(SAMPLES):
        place.write(SAMPLES, sample_list(entries))
    for key, content in metadata_files(attributes).items():
        if not place.exists(key):
            place.write(key, content)


def damaged_metadata(place: Place, attributes: Mapping[str, Any]) -> dict[str, str]:
    """`missing` or `altered` by the key of each damaged object; the group's own is `read_attributes`' to judge.

    Raises:
        UnreadableError: The place gives no answer.
    """
    identity, found = attributes["identity"], {}
    for key in sorted(_required(identity)):
        if kind := metadata_damage(place, identity, key):
            found[key] = kind
    try:
        read_samples(place, identity)
    except UnreadableError:
        raise
    except StoreError as error:
        found[SAMPLES] = "missing" if isinstance(error.__cause__, FileNotFoundError) else "altered"
    return found


def metadata_damage(place: Place, identity: Mapping[str, Any], key: str) -> str | None:
    """`missing` or `altered` if an array's `zarr.json`, or that of a group of arrays, would have bytes misread.

    Raises:
        UnreadableError: The place gives no answer.
    """
    try:
        return None if _holds(parse_json(place.read(key)), _required(identity)[key]) else "altered"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except ValueError:
        return "altered"
    except OSError as error:
        raise UnreadableError.of(f"{place.location}/{key}", error) from error


def _required(identity: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What decides how bytes are read, by key of each `zarr.json` but the store's own; versions of Zarr write more."""
    found = {}
    for name, array in identity_arrays(identity).items():
        if "/" in name:
            found[f"{name.partition('/')[0]}/{GROUP}"] = {"zarr_format": 3, "node_type": "group"}
        found[f"{name}/{GROUP}"] = _required_of(array, identity["shard"])
    return found


def _required_of(array: ArrayLayout, images: int) -> dict[str, Any]:
    size = np.dtype(array.dtype).itemsize
    little, crc = {"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}
    blosc = {"typesize": size, "cname": "zstd", "clevel": 3, "shuffle": "shuffle", "blocksize": 0}
    sharding = {
        "chunk_shape": list(array.chunk),
        "codecs": [
            little if size > 1 else {"name": "bytes"},
            *([{"name": "blosc", "configuration": blosc}] if array.compressed else []),
            crc,
        ],
        "index_codecs": [little, crc],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(array.shape),
        "data_type": array.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(array.shard(images))}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "fill_value": 0,
    }


def _holds(found: Any, required: Any) -> bool:
    if isinstance(required, dict):
        return isinstance(found, dict) and all(
            name in found and _holds(found[name], value) for name, value in required.items()
        )
    if isinstance(required, list):
        return isinstance(found, list) and len(found) == len(required) and all(map(_holds, found, required))
    return bool(found == required)


def _seal(attributes: Mapping[str, Any]) -> str:
    fields = {name: value for name, value in attributes.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
