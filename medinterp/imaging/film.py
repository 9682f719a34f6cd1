"""A film from its bytes, and the picture of it that a model sees."""

from __future__ import annotations

import hashlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.errors import FilmTooLargeError, SelectionError, UnreadableFilmError, UnsupportedFilmError
from medinterp.imaging.gate import look
from medinterp.imaging.limits import FilmLimits
from medinterp.imaging.picture import check_picture
from medinterp.imaging.raster import read_raster
from medinterp.types import DicomSource, Film, FilmWarning, PixelSpacing, WindowChoice

DICOM_PREFIX = b"DICM"
DICOM_PREFIX_OFFSET = 128

RASTERS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG", "image/png"),
    (b"\xff\xd8\xff", "JPEG", "image/jpeg"),
    (b"II*\x00", "TIFF", "image/tiff"),
    (b"MM\x00*", "TIFF", "image/tiff"),
)

# Kinds that are recognised only to say that they are not read.
OTHER_KINDS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF"),
    (0, b"BM", "a BMP"),
    (0, b"II+\x00", "a BigTIFF"),
    (0, b"MM\x00+", "a BigTIFF"),
    (8, b"WEBP", "a WebP"),
    (4, b"ftyp", "a HEIC, AVIF or video file"),
    (4, b"jP  ", "a JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (4, b"JXL ", "a JPEG XL"),
    (0, b"\xff\x0a", "a JPEG XL"),
    (0, b"NRRD", "an NRRD volume"),
    (0, b"%PDF", "a PDF"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (344, b"n+1\x00", "a NIfTI volume"),
    (0, b"\x1f\x8b", "a gzip archive"),
)


def read_film(data: bytes, *, limits: FilmLimits | None = None, window: str | None = None) -> Film:
    """Read one radiograph from PNG, JPEG, TIFF or DICOM bytes.

    The kind is told from the content, never from a file name. The film is one channel, upright
    (EXIF orientation, DICOM patient orientation), bright is dense, uint8 or uint16 over the full
    range of its dtype. Size is checked from the headers, before any pixel is decoded. Nothing that
    names a patient is kept but in Film.source. What is doubtful about the file, its gray values or the look of the film
    is in Film.warnings; what withholds a report there raises nothing here (imaging.withhold does).

    window: of a DICOM "window-1", "lut-1", "full" (its own range) or "CENTER,WIDTH"; None for its first that
    leaves something to see.

    Raises FilmTooLargeError (more to decode than the limits allow), FilmShapeError, UnsupportedFilmError (an
    image of a kind that is not read), UnreadableFilmError (not an image, or a broken one), NoPictureError
    (decoded, and nothing is to be seen) and SelectionError (the film has no such window).
    """
    limits = limits or FilmLimits()
    if len(data) > limits.max_bytes:
        raise FilmTooLargeError(
            f"The file has {len(data):,} bytes; the limit is {limits.max_bytes:,}. Send a smaller film."
        )
    windows: tuple[WindowChoice, ...] = ()
    chosen: str | None = None
    source: DicomSource | None = None
    spacing: PixelSpacing | None = None
    sides_told = False
    warnings: tuple[FilmWarning, ...]
    pixels: npt.NDArray[Any]
    raster = next(((kind, media) for signature, kind, media in RASTERS if data.startswith(signature)), None)
    # A DICOM's preamble may make it a TIFF as well (PS3.10, 7.1), one that knows nothing of the header.
    if raster is not None and not _has_prefix(data):
        kind, media_type = raster
        if window is not None:
            raise SelectionError(f"A {kind} has no windows to choose from; send the film without one.")
        pixels, notes, warnings = read_raster(data, kind, limits)
    elif not _is_dicom(data):
        raise _not_read(data)
    else:
        from medinterp.imaging.dicom import read_dicom  # pydicom is slow to import

        media_type = "application/dicom"
        film = read_dicom(data, limits, window)
        pixels, notes, warnings = film.pixels, film.notes, film.warnings
        windows, chosen, source = film.windows, film.window, film.source
        spacing, sides_told = film.spacing, film.sides_told
    pixels = np.ascontiguousarray(pixels)
    warnings = (*warnings, *check_picture(pixels), *look(pixels))
    return Film(
        pixels=pixels,
        media_type=media_type,
        sha256=hashlib.sha256(data).hexdigest(),
        notes=notes,
        warnings=warnings,
        windows=windows,
        window=chosen,
        source=source,
        spacing=spacing,
        sides_told=sides_told,
    )


def gray8(film: Film) -> npt.NDArray[np.uint8]:
    """The film's full range brought to 8 bits, uint8 [height, width]; the film's own pixels where they are that."""
    return np.asarray(film.pixels if film.pixels.dtype == np.uint8 else np.take(_TO_8_BITS, film.pixels), np.uint8)


def gray16(film: Film) -> npt.NDArray[np.uint16]:
    """The film's full range in 16 bits, uint16 [height, width]; the film's own pixels where they are that."""
    deep = film.bits == 16
    return np.asarray(film.pixels if deep else film.pixels.astype(np.uint16) * np.uint16(257), np.uint16)


def rgb8(film: Film) -> npt.NDArray[np.uint8]:
    """The film as a model sees it: uint8 [height, width, 3], the full range brought to 8 bits."""
    return np.asarray(cv2.cvtColor(gray8(film), cv2.COLOR_GRAY2RGB), dtype=np.uint8)


# 65535 = 255 * 257, so this rounds to the nearest and keeps black and white exact.
_TO_8_BITS = ((np.arange(65536, dtype=np.uint32) + 128) // 257).astype(np.uint8)


def may_be_film(head: bytes) -> bool:
    """Whether a file that begins so (256 bytes at least) is of a kind that is read."""
    return _is_dicom(head) or any(head.startswith(signature) for signature, _, _ in RASTERS)


def _has_prefix(data: bytes) -> bool:
    return data[DICOM_PREFIX_OFFSET : DICOM_PREFIX_OFFSET + 4] == DICOM_PREFIX


def _is_dicom(data: bytes) -> bool:
    # Old files lack the preamble and begin with group 0002 or 0008, in either byte order.
    bare = data[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08") and len(data) >= 8
    return bare or _has_prefix(data)


def _not_read(data: bytes) -> UnreadableFilmError | UnsupportedFilmError:
    for offset, signature, kind in OTHER_KINDS:
        if data[offset : offset + len(signature)] == signature:
            return UnsupportedFilmError(
                f"This is {kind}, which is not read here. Save the film as PNG, JPEG, TIFF or DICOM."
            )
    what = "The file is empty." if not data else "The file is not an image."
    return UnreadableFilmError(f"{what} Send a film as PNG, JPEG, TIFF or DICOM.")
