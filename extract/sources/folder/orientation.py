"""What a photograph's EXIF data says: the turn that it asks for, and the lens."""

import struct

from PIL import Image

_ORIENTATION, _DETAILS, _FOCAL_35MM = 0x0112, 0x8769, 0xA405
_LENSES = range(4, 5201)
"""Millimetres, from the shortest fisheye to the longest telephoto lens that was sold."""
_SHORT, _LONG = 3, 4
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn_of(picture: Image.Image) -> Image.Transpose | None:
    """What brings a picture upright that was opened and not decoded yet; None where nothing does.

    EXIF data that cannot be read asks for nothing, nor does a tiff's: Pillow turns those as it decodes.
    """
    return None if picture.format == "TIFF" else _TURNS.get(_tag(_exif(picture), _ORIENTATION) or 1)


def focal_35mm(picture: Image.Image) -> int | None:
    """The focal length in millimetres that sees as much on 35 mm film; None where its EXIF data says none of a lens."""
    data = _exif(picture)
    details = _tag(data, _DETAILS)
    found = _tag(data, _FOCAL_35MM, details) if details else None
    return found if found in _LENSES else None


def _exif(picture: Image.Image) -> bytes:
    data = picture.info.get("exif")
    return data.removeprefix(b"Exif\0\0") if isinstance(data, bytes) else b""


def _tag(data: bytes, wanted: int, start: int | None = None) -> int | None:
    """A whole number in EXIF's first directory or in that at `start`; Pillow's own reader warns of each odd file."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4], "<")
    try:
        first = int(struct.unpack_from(f"{order}L", data, 4)[0]) if start is None else start
        (count,) = struct.unpack_from(f"{order}H", data, first)
        for place in range(first + 2, first + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", data, place)
            if tag == wanted and kind in (_SHORT, _LONG):
                return int(struct.unpack_from(f"{order}{'H' if kind == _SHORT else 'L'}", data, place + 8)[0])
    except struct.error:
        pass
    return None
