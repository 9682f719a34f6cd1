"""JPEG files, and the JPEG frames of DICOM: their structure is checked, and libjpeg's warnings are errors."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg

from medinterp.errors import FilmTooLargeError, UnreadableFilmError, UnsupportedFilmError
from medinterp.imaging.broken import broken_is_unreadable
from medinterp.imaging.gray import luma
from medinterp.imaging.limits import FilmLimits

UNCHECKED = "compressed without a checksum: damage that decodes without an error is told only where it can be seen"
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_SCAN, _END = 0xDA, 0xD9
_BARE = frozenset({0x01, 0xD8})


@dataclass(frozen=True)
class JpegFrame:
    """What the frame header says (ITU-T T.81, B.2.2): precision in bits, height, width, components.

    predictor: of a lossless JPEG (B.2.3, table H.1), 0 of others.
    """

    precision: int
    height: int
    width: int
    components: int
    lossless: bool
    predictor: int = 0


def read_frame(data: bytes, limits: FilmLimits) -> JpegFrame:
    """Walk a JPEG's marker segments to its end.

    Raises UnreadableFilmError (no frame header, or several; cut off), FilmTooLargeError (too many scans, segments).
    """
    frame: JpegFrame | None = None
    position, parts, scans = 0, 0, 0
    while found := _MARKER.search(data, position):
        marker, position = found[1][0], found.end()
        parts += 1
        limits.check_parts(parts)
        if marker == _END:
            break
        if marker in _BARE:
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        body = data[position + 2 : position + length]
        if length < 2 or len(body) != length - 2:
            raise UnreadableFilmError("The JPEG is broken or cut off. Export it again, and send it whole.")
        position += length
        if marker in _FRAMES:
            if frame is not None or len(body) < 6:
                raise UnreadableFilmError("The JPEG is broken: it does not hold one picture. Export it again.")
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            frame = JpegFrame(body[0], height, width, body[5], marker in _LOSSLESS)
        if marker == _SCAN and frame is not None and frame.lossless and len(body) >= 4:
            frame = replace(frame, predictor=body[-3])  # Ss stands before the two bytes that end the scan header
        scans += marker == _SCAN
        if scans > limits.max_scans:
            raise FilmTooLargeError(f"The JPEG has more than {limits.max_scans} scans. Save it as a baseline JPEG.")
    if frame is None or not scans:
        raise UnreadableFilmError("The JPEG holds no picture. Export it again, and send it whole.")
    return frame


def decode_gray(data: bytes, limits: FilmLimits) -> tuple[npt.NDArray[np.uint8], str | None]:
    """A JPEG of 8 bits as gray uint8 [H, W], and the colour space that it was in (None: gray).

    Raises UnreadableFilmError where libjpeg as much as warns, UnsupportedFilmError for what it does not decode.
    """
    frame = read_frame(data, limits)
    limits.check_size(frame.width, frame.height, frame.components)
    if frame.lossless or frame.precision != 8:
        kind = "a lossless JPEG" if frame.lossless else f"a JPEG of {frame.precision} bits"
        raise UnsupportedFilmError(
            f"This is {kind}: decoders disagree about such files. Send the DICOM that it comes from, or a 16-bit PNG."
        )
    if frame.components not in (1, 3):
        raise UnsupportedFilmError("A JPEG of four inks is not read. Save the film as gray.")
    with broken_is_unreadable("JPEG"):
        *_, colours, _ = simplejpeg.decode_jpeg_header(data)
        # Of YCbCr libjpeg gives Y as it is; of other colours luma is ours.
        wanted = "GRAY" if colours in ("Gray", "YCbCr") else "RGB"
        decoded: npt.NDArray[Any] = simplejpeg.decode_jpeg(data, wanted, strict=True)
    if decoded.shape[:2] != (frame.height, frame.width):
        raise UnreadableFilmError("The JPEG is broken: its headers disagree about its size. Export it again.")
    pixels = decoded[:, :, 0] if wanted == "GRAY" else luma(decoded)
    return np.ascontiguousarray(pixels), None if colours == "Gray" else str(colours)
