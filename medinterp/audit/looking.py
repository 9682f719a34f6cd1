"""A film as an audit takes it up: decoded where a file can do no harm, and described for its row."""

from __future__ import annotations

import asyncio
import atexit
import io
import pickle
import re
import threading
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from medinterp.audit.places import Place
from medinterp.audit.source import patient_hash
from medinterp.errors import FilmError, ServiceError, UnreadableFilmError
from medinterp.types import BoolArray, Film

THUMBNAIL, QUALITY = 256, 80
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Looked:
    """A film, or why there is none, and what its row says of it before the model has read it."""

    row: Row
    film: Film | None
    body: BoolArray | None = None
    reason: str = ""
    error: str = ""


def look_at(place: Place, row: Row, *, headers: bool = False) -> Looked:
    """Read, decode and describe one film; row: of the archive's films, its path relative to `place`.

    headers: whether view, sex, age and the patient's id are taken from the DICOM's header.
    """
    try:
        film = _decoder().read(_bytes(place, row["path"]))
    except (FilmError, ServiceError) as error:
        return Looked(row, None, reason=str(error), error=type(error).__name__)
    told = {**row, **_header(film)} if headers else dict(row)
    told |= {"sha256": film.sha256, "width": film.width, "height": film.height, **_described(film)}
    from medinterp.imaging.body import body_mask

    # What names the patient goes no further.
    return Looked(told, replace(film, source=None), body_mask(film.pixels))


def _bytes(place: Place, path: str) -> bytes:
    """Raises UnreadableFilmError, without the path: it may name the patient."""
    from medinterp.imaging import FilmLimits

    limit = FilmLimits().max_bytes
    try:
        absolute = "://" in path or path.startswith("/")
        filesystem, where = _elsewhere(path) if absolute else (place.filesystem, place.below(path))
        with filesystem.open_input_file(where) as file:
            return bytes(file.read(limit + 1))  # the decoder says so of one that is too large
    except FileNotFoundError as error:
        raise UnreadableFilmError("There is no file at the film's path.") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UnreadableFilmError(f"The film's file cannot be read ({type(error).__name__}).") from error


def _elsewhere(path: str) -> tuple[Any, str]:
    from medinterp.audit.places import place_of

    place = place_of(path)
    return place.filesystem, place.path


def _described(film: Film) -> Row:
    import cv2

    from medinterp.imaging import gray8
    from medinterp.imaging.lungs import lung_box
    from medinterp.imaging.markers import marker_boxes, reduced_copy

    sides = ("left", "top", "right", "bottom")
    box = lung_box(film)
    factor = min(1.0, THUMBNAIL / max(film.height, film.width))
    size = (max(1, round(film.width * factor)), max(1, round(film.height * factor)))
    small = cv2.resize(gray8(film), size, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return {
        "lungs": None if box is None else dict(zip(sides, box, strict=True)),
        "markers": [dict(zip((*sides, "text"), one, strict=True)) for one in marker_boxes(reduced_copy(film.pixels))],
        "thumbnail": jpeg.tobytes(),
    }


def _header(film: Film) -> Row:
    """View, sex, age in years and the patient's id, hashed, of a DICOM; null where the header does not say."""
    if film.source is None:
        return {}
    from pydicom.filereader import read_dataset

    said = read_dataset(io.BytesIO(film.source.header), is_implicit_VR=False, is_little_endian=True)
    age = re.fullmatch(r"0*(\d+)Y", str(said.get("PatientAge", "")))
    patient = str(said.get("PatientID", "") or "")
    return {
        "view": str(said.get("ViewPosition", "") or "") or None,
        "sex": str(said.get("PatientSex", "") or "") or None,
        "age": int(age[1]) if age else None,
        "patient_id_sha256": patient_hash(patient) if patient else None,
    }


class _Decoder:
    """A decoding worker of this process, as the service has them, for callers that do not run an event loop."""

    def __init__(self) -> None:
        from medinterp.imaging.workers import DecodingLimits, DecodingPool

        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="films are decoded", daemon=True).start()
        self._pool = DecodingPool(decoding=DecodingLimits(workers=1))
        atexit.register(self._pool.close)

    def read(self, data: bytes) -> Film:
        return asyncio.run_coroutine_threadsafe(self._pool.read(data), self._loop).result()


_ONE: list[_Decoder] = []
_ONE_AT_A_TIME = threading.Lock()


def _decoder() -> _Decoder:
    with _ONE_AT_A_TIME:
        if not _ONE:
            _ONE.append(_Decoder())
        return _ONE[0]


def packed(looked: list[Looked]) -> pa.Table:
    """Films on their way to the model: film_id, and the rest as this package alone reads it."""
    return pa.table(
        {
            "film_id": pa.array([one.row["film_id"] for one in looked], pa.string()),
            "looked": pa.array([pickle.dumps(one, protocol=5) for one in looked], pa.large_binary()),
        }
    )


def unpacked(table: pa.Table) -> list[Looked]:
    """What `packed` packed; pixels are this process's own."""
    return [pickle.loads(one.as_buffer()) for one in table["looked"]]


