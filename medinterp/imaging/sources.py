"""A film from whatever a program holds: a path, bytes, an array, a PIL image, a pydicom data set."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from medinterp.errors import SelectionError, UnreadableFilmError
from medinterp.imaging.broken import broken_is_unreadable
from medinterp.imaging.film import read_film
from medinterp.imaging.limits import FilmLimits
from medinterp.types import Film

WANTED = (
    "A film is a path, a file's bytes, a Film, a PIL image, a pydicom data set, or a numpy array of uint8 or uint16, "
    "[height, width] or [height, width, 3 or 4] with red first"
)
IN_MEMORY = "application/octet-stream"
"""The media type of what was no file."""
ORIENTATION = 274
"""The EXIF tag that says how a picture lies; Pillow keeps it beside the picture it opened."""


def open_film(source: Any, *, window: str | None = None, limits: FilmLimits | None = None) -> Film:
    """A Film from any of what WANTED names; a Film is handed back as it is.

    Arrays and PIL images go through the same checks as a file: they are read as the lossless PNG that holds them, whose
    bytes their sha256 is of, and bright is taken as dense. window: of a DICOM, as in read_film.
    Raises FilmError (UnreadableFilmError for anything else), SelectionError for a window.
    """
    if isinstance(source, Film):
        if window is not None and window != source.window:
            raise SelectionError("This film has been read already: to show it by another window, give its file.")
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        return read_film(bytes(source), limits=limits, window=window)
    if isinstance(source, str | os.PathLike):
        return read_film(_bytes_of(source), limits=limits, window=window)
    if isinstance(source, np.ndarray):
        return replace(read_film(_png_of(source), limits=limits, window=window), media_type=IN_MEMORY)
    if isinstance(source, Image.Image):
        return replace(read_film(_png_of_image(source), limits=limits, window=window), media_type=IN_MEMORY)
    # Who holds a data set has imported pydicom, which is slow.
    pydicom = sys.modules.get("pydicom")
    if pydicom is not None and isinstance(source, pydicom.Dataset):
        return read_film(_dicom_of(source), limits=limits, window=window)
    kind = f"{type(source).__module__}.{type(source).__name__}"
    raise UnreadableFilmError(f"{WANTED}; this is a {kind.removeprefix('builtins.')}.")


def _bytes_of(path: str | os.PathLike[Any]) -> bytes:
    try:
        return Path(os.fsdecode(path)).read_bytes()
    except OSError as error:
        raise UnreadableFilmError(f"cannot read {os.fsdecode(path)}: {error.strerror}") from error
    except ValueError as error:
        raise UnreadableFilmError("cannot read a path with a null character in it") from error


def _png_of(array: npt.NDArray[Any]) -> bytes:
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype.kind != "u" or array.dtype.itemsize > 2 or not shaped or array.size == 0:
        raise UnreadableFilmError(f"{WANTED}; this is an array of {array.dtype}, {list(array.shape)}.")
    ordered = array if array.ndim == 2 else array[:, :, [2, 1, 0, *range(3, array.shape[2])]]
    native = np.ascontiguousarray(ordered, dtype=array.dtype.newbyteorder("="))
    done, data = cv2.imencode(".png", native, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise UnreadableFilmError(f"{WANTED}; this array could not be taken.")
    return data.tobytes()


def _png_of_image(image: Any) -> bytes:
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16"):
        raise UnreadableFilmError(f"{WANTED}; this is a PIL image of mode {image.mode}: convert it to L or I;16.")
    file = io.BytesIO()
    with broken_is_unreadable("PIL image"):
        exif = Image.Exif()
        exif[ORIENTATION] = int(image.getexif().get(ORIENTATION, 1))
        image.save(file, "PNG", compress_level=1, exif=exif)
    return file.getvalue()


def _dicom_of(dataset: Any) -> bytes:
    """The data set as a file in memory; where it came without a file's header, explicit little endian is meant."""
    file = io.BytesIO()
    with broken_is_unreadable("DICOM"):
        meta = getattr(dataset, "file_meta", None)
        if meta is not None and meta.get("TransferSyntaxUID"):
            dataset.save_as(file, enforce_file_format=False)
        else:
            dataset.save_as(file, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return file.getvalue()
