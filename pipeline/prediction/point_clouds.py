"""Depth maps as files of coloured points: PLY and binary glTF."""

import json
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .depth_map import DepthMap

_MOST_POINTS = 1_000_000
_VERTEX = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")])
_GLTF_POINT = np.dtype([("position", "<f4", 3), ("colour", "<u2", 4)])
_FLOAT, _USHORT, _POINTS, _VERTICES = 5126, 5123, 0, 34962
"""Of glTF's numbers: types of components, a kind of primitive, what a buffer is for."""


class _Cloud(NamedTuple):
    """Points [N, 3] in metres (x right, y down, z forward), their colours [N, 3] uint8, and what is to be said."""

    points: NDArray[np.float32]
    colours: NDArray[np.uint8]
    facts: dict[str, str]

    @classmethod
    def of(cls, found: "DepthMap") -> "_Cloud":
        # Beyond the decoder's own resolution there is nothing new to see in more points.
        step = int(np.ceil(np.sqrt(max(1, found.depth.size / _MOST_POINTS))))
        grid = np.s_[::step, ::step]
        valid = found.valid[grid]
        facts = {"Camera": str(found.camera), "Every": f"{step} pixels", **found.facts}
        return cls(found.camera.points(found.depth)[grid][valid], found.image[grid][valid], facts)


def ply(found: "DepthMap") -> bytes:
    """The content of a PLY file: x right, y down, z forward."""
    cloud = _Cloud.of(found)
    vertices = np.empty(len(cloud.points), _VERTEX)
    for axis, values in zip("xyz", cloud.points.T, strict=True):
        vertices[axis] = values
    for channel, values in zip(("red", "green", "blue"), cloud.colours.T, strict=True):
        vertices[channel] = values
    types = {"<f4": "float", "|u1": "uchar"}
    facts = {"Unit": "metre; x right, y down, z forward", **cloud.facts}
    header = [
        "ply",
        "format binary_little_endian 1.0",
        *(f"comment {name}: {value}" for name, value in facts.items()),
        f"element vertex {len(vertices)}",
        *(f"property {types[_VERTEX[name].str]} {name}" for name in _VERTEX.names or ()),
        "end_header\n",
    ]
    return "\n".join(header).encode("ascii", "replace") + vertices.tobytes()


def glb(found: "DepthMap") -> bytes:
    """The content of a binary glTF 2.0 file, whose axes are x right, y up, z backward, and whose colours are linear."""
    cloud = _Cloud.of(found)
    points = np.empty(len(cloud.points), _GLTF_POINT)
    points["position"] = cloud.points * np.array([1, -1, -1], np.float32)
    points["colour"][:, :3] = _LINEAR[cloud.colours]
    points["colour"][:, 3] = np.iinfo(np.uint16).max
    described = {
        "asset": {"version": "2.0", "generator": "SpaceCLIP", "extras": {"Unit": "metre", **cloud.facts}},
        "scene": 0,
        "scenes": [{"nodes": [0]} if len(points) else {}],
        **(_one_cloud(points) if len(points) else {}),
    }
    chunks = _chunk(b"JSON", json.dumps(described).encode(), b" ")
    if len(points):
        chunks += _chunk(b"BIN\0", points.tobytes(), b"\0")
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def _one_cloud(points: NDArray[np.void]) -> dict[str, object]:
    """What a glTF file says of its only object."""
    place = {"bufferView": 0, "count": len(points)}
    ends = {"min": points["position"].min(0).tolist(), "max": points["position"].max(0).tolist()}
    position = {**place, "byteOffset": 0, "componentType": _FLOAT, "type": "VEC3", **ends}
    colour = {**place, "byteOffset": 12, "componentType": _USHORT, "type": "VEC4", "normalized": True}
    view = {"buffer": 0, "byteLength": points.nbytes, "byteStride": points.itemsize, "target": _VERTICES}
    return {
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"mode": _POINTS, "attributes": {"POSITION": 0, "COLOR_0": 1}}]}],
        "accessors": [position, colour],
        "bufferViews": [view],
        "buffers": [{"byteLength": points.nbytes}],
    }


def _chunk(kind: bytes, content: bytes, filler: bytes) -> bytes:
    content += filler * (-len(content) % 4)
    return struct.pack("<I", len(content)) + kind + content


def _linear_colours() -> NDArray[np.uint16]:
    shares = np.arange(256) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return np.rint(linear * np.iinfo(np.uint16).max).astype(np.uint16)


_LINEAR = _linear_colours()
"""sRGB's 256 values in equal steps of light."""
