"""PNG and JPEG films."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from medinterp.errors import FilmTooLargeError, UnreadableFilmError, UnsupportedFilmError
from medinterp.imaging.gray import luma, on_black
from medinterp.imaging.orientation import upright

EXIF_ORIENTATION = 274
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)

Pixels = npt.NDArray[Any]


def read_raster(data: bytes, kind: str, max_pixels: int) -> tuple[Pixels, tuple[str, ...]]:
    """Decode a PNG or JPEG to gray uint8 or uint16 [H, W], and notes on what was done to it.

    Raises FilmTooLargeError before decoding, UnreadableFilmError, UnsupportedFilmError.
    """
    # The plugin classes, not Image.open: its own limit on pixels is a warning and process-wide.
    plugin: type[PngImageFile | JpegImageFile] = PngImageFile if kind == "PNG" else JpegImageFile
    try:
        image: PngImageFile | JpegImageFile = plugin(io.BytesIO(data))
    except BROKEN as error:
        raise UnreadableFilmError(f"The {kind} cannot be read: {error}") from error
    width, height = image.size
    check_pixels(width, height, max_pixels)
    if getattr(image, "n_frames", 1) > 1:
        raise UnsupportedFilmError("The PNG is animated. Send one picture for each film.")
    try:
        image.load()
        orientation = int(image.getexif().get(EXIF_ORIENTATION, 1))
    except BROKEN as error:
        raise UnreadableFilmError(f"The {kind} is broken or cut off: {error}") from error

    notes: list[str] = []
    depth = data[24] if kind == "PNG" else 8
    pixels = _gray16(image, data, notes) if depth == 16 else _gray8(image, notes)
    if not 1 <= orientation <= 8:
        notes.append(f"EXIF orientation {orientation} is not defined and was not applied")
    elif orientation != 1:
        pixels = upright(pixels, orientation)
        notes.append(f"turned: EXIF orientation {orientation}")
    return pixels, tuple(notes)


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise FilmTooLargeError above max_pixels, UnreadableFilmError for a film without pixels."""
    if width < 1 or height < 1:
        raise UnreadableFilmError(f"The film has {width} x {height} pixels.")
    if width * height > max_pixels:
        raise FilmTooLargeError(
            f"The film has {width} x {height} pixels; the limit is {max_pixels:,}. Send it smaller."
        )


def _gray8(image: Image.Image, notes: list[str]) -> Pixels:
    if image.mode != "L" or "transparency" in image.info:
        notes.append(f"gray from {image.mode}")
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA"):
        rgba = np.asarray(image.convert("RGBA"))
        if (rgba[:, :, 3] == 255).all():
            return luma(rgba)
        notes.append("transparency blended onto black")
        return on_black(luma(rgba), rgba[:, :, 3])
    if image.mode in ("L", "1"):
        return np.asarray(image.convert("L"))
    return luma(np.asarray(image.convert("RGB")))


def _gray16(image: Image.Image, data: bytes, notes: list[str]) -> Pixels:
    if image.mode.startswith("I"):
        pixels: Pixels = np.asarray(image).astype(np.uint16)
        key = image.info.get("transparency")
        if isinstance(key, int):
            pixels[pixels == key] = 0
            notes.append("transparency blended onto black")
    else:
        # Pillow keeps 8 of 16 bits of colour; its load above has found the file whole.
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if decoded is None or decoded.dtype != np.uint16:
            raise UnreadableFilmError("The 16-bit colour PNG cannot be decoded. Save it as 16-bit gray.")
        if decoded.ndim == 2:
            decoded = decoded[:, :, None].repeat(3, axis=2)
        notes.append("gray from 16-bit colour")
        pixels = luma(decoded[:, :, 2::-1])
        if decoded.shape[2] == 4 and not (decoded[:, :, 3] == 65535).all():
            notes.append("transparency blended onto black")
            pixels = on_black(pixels, decoded[:, :, 3])
    if 0 < int(pixels.max()) < 4096:
        notes.append("16-bit PNG that uses 12 bits or fewer: it looks nearly black and was not stretched")
    return pixels
