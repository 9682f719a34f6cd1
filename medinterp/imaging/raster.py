"""PNG, JPEG and TIFF films."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from medinterp.errors import UnreadableFilmError, UnsupportedFilmError
from medinterp.imaging.broken import broken_is_unreadable
from medinterp.imaging.gray import gray8, gray16_of_colour, without_alpha
from medinterp.imaging.jpeg import UNCHECKED, decode_gray
from medinterp.imaging.limits import FilmLimits
from medinterp.imaging.orientation import upright
from medinterp.imaging.robust import full_range
from medinterp.imaging.tear import torn
from medinterp.imaging.tiff import read_tiff
from medinterp.types import FilmWarning

EXIF_ORIENTATION = 274
DEEP_BITS = 14
"""16-bit pictures of at most so many used bits hold a detector's own values, black to white in fewer bits."""

Pixels = npt.NDArray[Any]


def read_raster(data: bytes, kind: str, limits: FilmLimits) -> tuple[Pixels, tuple[str, ...], tuple[FilmWarning, ...]]:
    """Decode a PNG, JPEG or TIFF to gray uint8 or uint16 [H, W], notes on what was done to it, and warnings.

    Raises FilmTooLargeError and FilmShapeError before decoding, UnreadableFilmError, UnsupportedFilmError.
    """
    notes: list[str] = []
    warnings: list[FilmWarning] = []
    if kind == "PNG":
        pixels, orientation = _png(data, limits, notes)
    elif kind == "JPEG":
        pixels, colours = decode_gray(data, limits)
        notes += [f"gray from {colours}"] * (colours is not None) + [UNCHECKED]
        orientation = _exif_orientation(data, kind)
    else:
        pixels, orientation = read_tiff(data, limits, notes, warnings)
    if pixels.dtype == np.uint16:
        pixels = _deep(pixels, kind, notes, warnings)
    if kind != "PNG":  # whose checksums have held
        warnings += torn(pixels)
    if not 1 <= orientation <= 8:
        notes.append(f"EXIF orientation {orientation} is not defined and was not applied")
    elif orientation != 1:
        pixels = upright(pixels, orientation)
        notes.append(f"turned: EXIF orientation {orientation}")
    return pixels, tuple(notes), tuple(warnings)


def _exif_orientation(data: bytes, kind: str) -> int:
    """The orientation that the file's EXIF names, 1 where it names none."""
    with broken_is_unreadable(kind), Image.open(io.BytesIO(data), formats=[kind]) as image:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))


def _png(data: bytes, limits: FilmLimits, notes: list[str]) -> tuple[Pixels, int]:
    depth, colour = _check_chunks(data, limits)
    with broken_is_unreadable("PNG"):
        # The plugin's class, not Image.open: its own limit on pixels is a warning and process-wide.
        image = PngImageFile(io.BytesIO(data))
        if getattr(image, "n_frames", 1) > 1:
            raise UnsupportedFilmError("The PNG is animated. Send one picture for each film.")
        image.load()
        orientation = int(image.getexif().get(EXIF_ORIENTATION, 1))
        pixels = _gray16(image, data, colour, notes) if depth == 16 else gray8(image, notes)
    return pixels, orientation


_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def _check_chunks(data: bytes, limits: FilmLimits) -> tuple[int, int]:
    """Bit depth and colour type of a PNG whose chunks are all there (PNG specification, 5.3 and 11.2.1)."""
    position, parts, ended = 8, 0, False
    while position + 12 <= len(data) and not ended:
        parts += 1
        limits.check_parts(parts)
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if parts == 1 and ((kind, length) != (b"IHDR", 13) or len(data) < position + 25):
            break
        position += 12 + length
        ended = kind == b"IEND"
        if parts == 1:
            width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
            # Palettes are spread to colours and transparency before they become gray.
            limits.check_size(width, height, 4 * max(1, data[24] // 8) if data[25] else max(1, data[24] // 8))
    if not ended or position > len(data) or data[25] not in _CHANNELS:
        raise UnreadableFilmError("The PNG is broken or cut off. Export it again, and send it whole.")
    return data[24], data[25]


def _gray16(image: Image.Image, data: bytes, colour: int, notes: list[str]) -> Pixels:
    if image.mode.startswith("I"):
        pixels: Pixels = np.asarray(image).astype(np.uint16)
        key = image.info.get("transparency")
        if isinstance(key, int):
            alpha = np.where(pixels == key, 0, 65535).astype(np.uint16)
            return without_alpha(pixels, alpha, notes)
        return pixels
    gray = gray16_of_colour(data, notes)
    if gray is None:
        raise UnreadableFilmError("The 16-bit colour PNG cannot be decoded. Save it as 16-bit gray.")
    return gray


def _deep(pixels: Pixels, kind: str, notes: list[str], warnings: list[FilmWarning]) -> Pixels:
    """16-bit values over the full range; a file names no window, so its own values say what white is."""
    top = int(pixels.max())
    bits = max(top.bit_length(), 8)
    if bits <= DEEP_BITS:
        told = f"The 16-bit {kind} uses values up to {top:,} only: read as {bits} bits, {2**bits - 1:,} is white."
        warnings.append(FilmWarning("bit-depth", told))
        # Rounded in whole numbers: value * 65535 / (2^bits - 1).
        wide = pixels.astype(np.uint32) * 65535 + (2**bits - 1) // 2
        pixels = (wide // (2**bits - 1)).astype(np.uint16)
    return full_range(pixels, kind, notes, warnings)
