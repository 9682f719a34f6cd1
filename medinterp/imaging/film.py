"""A film from its bytes, and the picture of it that a model sees."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from medinterp.errors import FilmTooLargeError, UnreadableFilmError, UnsupportedFilmError
from medinterp.imaging.raster import read_raster
from medinterp.types import Film

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
DICOM_PREFIX = b"DICM"
DICOM_PREFIX_OFFSET = 128

# Kinds that are recognised only to say that they are not read.
OTHER_KINDS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF"),
    (0, b"BM", "a BMP"),
    (0, b"II*\x00", "a TIFF"),
    (0, b"MM\x00*", "a TIFF"),
    (8, b"WEBP", "a WebP"),
    (4, b"ftyp", "a HEIC, AVIF or video file"),
    (4, b"jP  ", "a JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (0, b"%PDF", "a PDF"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (344, b"n+1\x00", "a NIfTI volume"),
    (0, b"\x1f\x8b", "a gzip archive"),
)


def read_film(data: bytes, *, max_bytes: int = 64 * 2**20, max_pixels: int = 2**26) -> Film:
    """Read one radiograph from PNG, JPEG or DICOM bytes.

    The kind is told from the content, never from a file name. The film is one channel, upright
    (EXIF orientation, DICOM patient orientation), bright is dense, uint8 or uint16 over the full
    range of its dtype. Size is checked from the headers, before any pixel is decoded. Nothing that
    names a patient is kept.

    Raises FilmTooLargeError (bytes or pixels above the limit), UnsupportedFilmError (an image of a
    kind that is not read) and UnreadableFilmError (not an image, or a broken one).
    """
    if len(data) > max_bytes:
        raise FilmTooLargeError(
            f"The file has {len(data):,} bytes; the limit is {max_bytes:,}. Send a smaller film."
        )
    if data.startswith(PNG_SIGNATURE):
        pixels, notes = read_raster(data, "PNG", max_pixels)
        media_type = "image/png"
    elif data.startswith(JPEG_SIGNATURE):
        pixels, notes = read_raster(data, "JPEG", max_pixels)
        media_type = "image/jpeg"
    elif _is_dicom(data):
        from medinterp.imaging.dicom import read_dicom  # pydicom is slow to import

        pixels, notes = read_dicom(data, max_pixels)
        media_type = "application/dicom"
    else:
        raise _not_read(data)
    return Film(np.ascontiguousarray(pixels), media_type, hashlib.sha256(data).hexdigest(), notes)


def rgb8(film: Film) -> npt.NDArray[np.uint8]:
    """The film as a model sees it: uint8 [height, width, 3], the full range brought to 8 bits."""
    pixels = film.pixels
    if pixels.dtype == np.uint16:
        # 65535 = 255 * 257, so this rounds to the nearest and keeps black and white exact.
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.repeat(pixels[:, :, None], 3, axis=2).astype(np.uint8, copy=False)


def _is_dicom(data: bytes) -> bool:
    if data[DICOM_PREFIX_OFFSET : DICOM_PREFIX_OFFSET + 4] == DICOM_PREFIX:
        return True
    # Old files lack the preamble and begin with group 0002 or 0008, in either byte order.
    return len(data) >= 8 and (
        (data[0] in (0x02, 0x08) and data[1] == 0) or (data[0] == 0 and data[1] == 0x08)
    )


def _not_read(data: bytes) -> UnreadableFilmError | UnsupportedFilmError:
    for offset, signature, kind in OTHER_KINDS:
        if data[offset : offset + len(signature)] == signature:
            return UnsupportedFilmError(
                f"This is {kind}, which is not read here. Save the film as PNG, JPEG or DICOM."
            )
    what = "The file is empty." if not data else "The file is not an image."
    return UnreadableFilmError(f"{what} Send a film as PNG, JPEG or DICOM.")
