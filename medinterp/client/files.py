"""What goes up and what comes down as a file."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from medinterp.errors import FilmShapeError, UnreadableFilmError

FilmSource: TypeAlias = str | os.PathLike[str] | bytes | npt.NDArray[Any]
"""A file's path, its bytes, or pixels: uint8 or uint16 [height, width], bright is dense."""


class File(bytes):
    """A picture or an export, as it came."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file, and return where that is."""
        place = Path(path)
        place.write_bytes(self)
        return place

    def __repr__(self) -> str:
        """Nothing of its content."""
        return f"<File of {len(self)} bytes>"


def film_bytes(source: FilmSource) -> bytes:
    """The file to send.

    Raises OSError for a path that cannot be read, FilmShapeError or UnreadableFilmError for an array that is no film.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, np.ndarray):
        return png(source)
    return Path(source).read_bytes()


def png(pixels: npt.NDArray[Any]) -> bytes:
    """Pixels as a gray PNG (W3C PNG, third edition), lossless. pixels: uint8 or uint16 [height, width].

    Raises FilmShapeError for other axes, UnreadableFilmError for another dtype.
    """
    if pixels.ndim != 2 or 0 in pixels.shape:
        raise FilmShapeError(f"a film has two axes, height and width; this array has the shape {pixels.shape}")
    if pixels.dtype.name not in ("uint8", "uint16"):
        raise UnreadableFilmError(f"a film's pixels are uint8 or uint16; these are {pixels.dtype.name}")
    height, width = pixels.shape
    rows = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)  # filter 0 before each line
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, 0, 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
