"""What a decoding worker and its parent say to each other: a header in JSON, and bytes after it.

    4 bytes, big-endian     length of the header
    header                  JSON, UTF-8; its "bytes" is the length of what follows
    bytes                   of a job the file, of an answer the film's pixels in rows

The worker has run decoders over a stranger's bytes: nothing that it says is unpickled, and all of it is checked.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp import errors
from medinterp.errors import FilmError, FilmWithheldError, MedInterpError, SelectionError
from medinterp.imaging.limits import FilmLimits
from medinterp.types import DicomSource, Film, FilmWarning, PixelSpacing, WindowChoice

LENGTH_BYTES = 4
MAX_HEADER_BYTES = 2**20
MAX_TEXTS, MAX_CHARACTERS = 100, 1000
"""Notes, warnings or windows of one film that come through, and characters of each text."""

MAX_SOURCE_CHARACTERS = MAX_HEADER_BYTES // 4
"""Of a DICOM's header in base64."""
RAISED = (FilmError, SelectionError)
DTYPES: dict[str, Any] = {"uint8": np.uint8, "uint16": np.uint16}
_MEDIA_TYPE = re.compile(r"(image|application)/[a-z]{1,20}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CODE = re.compile(r"[a-z0-9-]{1,40}")
_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}")


class BrokenMessageError(ValueError):
    """A message is not what it should be; its text quotes nothing of it."""


def framed(header: dict[str, Any]) -> bytes:
    """A header with its length before it."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(LENGTH_BYTES, "big") + text


def parsed(text: bytes) -> dict[str, Any]:
    """A header from its JSON. Raises BrokenMessageError."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise BrokenMessageError("a header is no JSON") from None
    if not isinstance(header, dict):
        raise BrokenMessageError("a header is no object")
    return header


def job_header(length: int, limits: FilmLimits, window: str | None, cpu_s: int) -> dict[str, Any]:
    """Ask for a film: length of its file in bytes; cpu_s: seconds of computing that it may take."""
    return {"bytes": length, "limits": asdict(limits), "window": window, "cpu_s": cpu_s}


def film_header(film: Film) -> dict[str, Any]:
    """Answer with a film; its pixels follow."""
    return {
        "bytes": film.pixels.nbytes,
        "film": {
            "shape": list(film.pixels.shape),
            "dtype": film.pixels.dtype.name,
            "media_type": film.media_type,
            "sha256": film.sha256,
            "notes": [_cut(note) for note in film.notes[:MAX_TEXTS]],
            "warnings": [[one.code, _cut(one.text), one.withholds] for one in film.warnings[:MAX_TEXTS]],
            "windows": [[_cut(one.name), _cut(one.label)] for one in film.windows[:MAX_TEXTS]],
            "window": None if film.window is None else _cut(film.window),
            "source": None if film.source is None else _source_header(film.source),
            "spacing": None if film.spacing is None else [film.spacing.mm, film.spacing.plane],
            "sides_told": film.sides_told,
        },
    }


def _source_header(source: DicomSource) -> list[Any]:
    header = base64.b64encode(source.header).decode("ascii")
    return [header, source.rows, source.columns, source.orientation]


def error_header(error: Exception) -> dict[str, Any]:
    """Answer with an error: ours in its own words, any other by its class only."""
    if isinstance(error, MedInterpError):
        return {"bytes": 0, "error": type(error).__name__, "text": _cut(str(error))}
    return {"bytes": 0, "unforeseen": type(error).__name__}


def pixel_bytes(header: dict[str, Any], limits: FilmLimits) -> int:
    """How many bytes of pixels follow an answer's header. Raises BrokenMessageError for more than a film may have."""
    length = header.get("bytes")
    if type(length) is not int or not 0 <= length <= limits.max_decoded_bytes:
        raise BrokenMessageError("an answer is of no possible length")
    return length


def film_of(header: dict[str, Any], pixels: npt.NDArray[np.uint8], limits: FilmLimits) -> Film:
    """The film of an answer; pixels: its bytes. Raises BrokenMessageError, and the error that the answer carries."""
    if (told := _error_of(header)) is not None:
        raise told
    film = header.get("film")
    if not isinstance(film, dict):
        raise BrokenMessageError("an answer holds no film")
    match film.get("shape"):
        case [int(height), int(width)] if height > 0 and width > 0 and height * width <= limits.max_pixels:
            pass
        case _:
            raise BrokenMessageError("a film has no possible shape")
    dtype = DTYPES.get(_text(film.get("dtype")))
    if dtype is None or height * width * np.dtype(dtype).itemsize != pixels.nbytes:
        raise BrokenMessageError("a film's pixels are not as many as it says")
    return Film(
        pixels=pixels.view(dtype).reshape(height, width),
        media_type=_matching(_MEDIA_TYPE, film.get("media_type")),
        sha256=_matching(_SHA256, film.get("sha256")),
        notes=tuple(_text(note) for note in _list(film.get("notes"))),
        warnings=tuple(_warning(warning) for warning in _list(film.get("warnings"))),
        windows=tuple(_choice(choice) for choice in _list(film.get("windows"))),
        window=None if film.get("window") is None else _text(film["window"]),
        source=None if film.get("source") is None else _source(film["source"], height, width),
        spacing=None if film.get("spacing") is None else _spacing(film["spacing"]),
        sides_told=film.get("sides_told") is True,
    )


def unforeseen_of(header: dict[str, Any]) -> str | None:
    """The class of an exception that nobody foresaw, when that is the answer. Raises BrokenMessageError."""
    name = header.get("unforeseen")
    return None if name is None else _matching(_CLASS, name)


def _error_of(header: dict[str, Any]) -> MedInterpError | None:
    name = header.get("error")
    if name is None:
        return None
    kind = getattr(errors, _matching(_CLASS, name), None)
    if isinstance(kind, type) and issubclass(kind, RAISED) and kind is not FilmWithheldError:
        return kind(_text(header.get("text")))
    raise BrokenMessageError("an answer carries an error that reading does not raise")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def _list(value: object) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_TEXTS:
        raise BrokenMessageError("a list is none, or too long")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_CHARACTERS:
        raise BrokenMessageError("a text is none, or too long")
    return value


def _matching(pattern: re.Pattern[str], value: object) -> str:
    text = _text(value)
    if not pattern.fullmatch(text):
        raise BrokenMessageError("a name is not written as it should be")
    return text


def _source(value: object, height: int, width: int) -> DicomSource:
    """Checked against the film: the pixels were made square by adding some, and then turned."""
    match value:
        case [str(text), int(rows), int(columns), int(orientation)] if len(text) <= MAX_SOURCE_CHARACTERS:
            stored = (width, height) if orientation >= 5 else (height, width)
            if not 1 <= orientation <= 8 or not 0 < rows <= stored[0] or not 0 < columns <= stored[1]:
                raise BrokenMessageError("a source does not fit its film")
            try:
                return DicomSource(base64.b64decode(text, validate=True), rows, columns, orientation)
            except binascii.Error:
                raise BrokenMessageError("a source's header is not base64") from None
    raise BrokenMessageError("a source is none, or too long")


def _spacing(value: object) -> PixelSpacing:
    match value:
        case [float(mm), "detector" | "patient" as plane] if 0.0 < mm < math.inf:
            return PixelSpacing(mm, plane)
    raise BrokenMessageError("a spacing is none")


def _warning(value: object) -> FilmWarning:
    match value:
        case [code, text, bool(withholds)]:
            return FilmWarning(_matching(_CODE, code), _text(text), withholds)
    raise BrokenMessageError("a warning is none")


def _choice(value: object) -> WindowChoice:
    match value:
        case [name, label]:
            return WindowChoice(_text(name), _text(label))
    raise BrokenMessageError("a window is none")
