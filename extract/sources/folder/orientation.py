"""The turn that a photograph's EXIF data asks for."""

import struct

from PIL import Image

_ORIENTATION, _SHORT = 0x0112, 3
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
    data = picture.info.get("exif")
    if not isinstance(data, bytes) or picture.format == "TIFF":
        return None
    return _TURNS.get(_orientation(data.removeprefix(b"Exif\0\0")))


def _orientation(data: bytes) -> int:
    """The tag in EXIF's first directory, 1 (upright) without it; Pillow's own reader warns of each odd file."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4], "<")
    try:
        (start,) = struct.unpack_from(f"{order}L", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHLH", data, place)
            if (tag, kind) == (_ORIENTATION, _SHORT):
                return value
    except struct.error:
        pass
    return 1
