"""PNG, fast: a picture is as quickly written as it is drawn."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2}
"""By channels: gray and RGB (PNG specification, 3rd edition, table 8)."""
_UP = 2
"""The filter of every row: what it differs from the row above (ibid., 9.2)."""
_LEVEL = 2
"""Of ISA-L, 0 to 3: on an overlay of 1500 x 1200 pixels 11 ms and 2.1 MB, where zlib, level 1, as OpenCV calls it takes
46 to 90 ms for 2.1 to 2.3 MB."""


def encode_png(picture: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> bytes:
    """A picture (uint8 or uint16, [height, width, 3] RGB or [height, width] gray) as PNG bytes.

    Deflated by ISA-L, which is as small as zlib at its quickest and several times as fast. Raises ValueError for an
    array that is no such picture.
    """
    channels = picture.shape[2] if picture.ndim == 3 else 1
    named = picture.dtype.name
    if picture.ndim not in (2, 3) or channels not in _COLOUR_TYPES or named not in ("uint8", "uint16"):
        raise ValueError(f"a picture of shape {picture.shape} and type {named} cannot be written as PNG")
    height, width = picture.shape[:2]
    if not (height and width):
        raise ValueError(f"a picture of shape {picture.shape} has no pixel")
    big_endian = np.ascontiguousarray(picture, dtype=picture.dtype.newbyteorder(">"))
    rows = big_endian.reshape(height, width * channels).view(np.uint8)
    filtered = np.empty((height, 1 + rows.shape[1]), dtype=np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    bits = 8 * picture.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPES[channels], 0, 0, 0)
    return b"".join(
        (
            _SIGNATURE,
            *_chunk(b"IHDR", header),
            *_chunk(b"IDAT", isal_zlib.compress(filtered, _LEVEL)),
            *_chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: Any) -> tuple[bytes, bytes, bytes, bytes]:
    """Length, type, data and checksum, which is over type and data."""
    checksum = isal_zlib.crc32(data, isal_zlib.crc32(kind))
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)
