"""The record of a report in the store: film, report, maps and provenance in one msgpack blob.

The film is kept as the pixels that the model saw, in a lossless PNG, never as the file that was
sent: a DICOM header names the patient.
"""

from __future__ import annotations

from typing import Literal

import cv2
import msgpack
import numpy as np
import pydantic
from pydantic import TypeAdapter

from medinterp.api.schema import (
    FilmWarningModel,
    MapPackModel,
    Model,
    ProvenanceModel,
    ReportModel,
    WindowChoiceModel,
)
from medinterp.api.schema_sources import RelianceRecord, TextSourcesRecord
from medinterp.errors import StoreError
from medinterp.explainer import Explanation
from medinterp.types import Explanation as ExplanationData
from medinterp.types import Film, FilmWarning, MapPack, Provenance, Reliance, Report, TextSources, WindowChoice

VERSION: Literal[4] = 4
_report = TypeAdapter(Report)
_provenance = TypeAdapter(Provenance)


class FilmRecord(Model):
    """The film's pixels as PNG (8 or 16 bit, one channel) and what is known of its source."""

    png: bytes
    media_type: str
    sha256: str
    notes: tuple[str, ...]
    warnings: tuple[FilmWarningModel, ...]
    windows: tuple[WindowChoiceModel, ...]
    window: str | None


class Record(Model):
    """What one blob holds."""

    version: Literal[4]
    film: FilmRecord
    report: ReportModel
    maps: dict[str, MapPackModel]
    provenance: ProvenanceModel
    text_sources: tuple[TextSourcesRecord, ...] = ()
    reliance: RelianceRecord | None = None


def pack_record(explanation: ExplanationData) -> bytes:
    """Write an explanation as a blob; the trace is left out. Raises StoreError for one with a prior film."""
    if explanation.prior is not None:
        raise StoreError("a report with a prior film cannot be kept here")
    film = explanation.film
    encoded, png = cv2.imencode(".png", film.pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not encoded:
        raise StoreError("the film's pixels cannot be written as PNG")
    record = Record(
        version=VERSION,
        film=FilmRecord(
            png=png.tobytes(),
            media_type=film.media_type,
            sha256=film.sha256,
            notes=film.notes,
            warnings=tuple(map(FilmWarningModel.model_validate, film.warnings)),
            windows=tuple(map(WindowChoiceModel.model_validate, film.windows)),
            window=film.window,
        ),
        report=ReportModel.model_validate(explanation.report),
        maps={name: MapPackModel.model_validate(pack) for name, pack in explanation.packs.items()},
        provenance=ProvenanceModel.model_validate(explanation.provenance),
        text_sources=tuple(map(TextSourcesRecord.model_validate, explanation.text_sources)),
        reliance=None if explanation.reliance is None else RelianceRecord.model_validate(explanation.reliance),
    )
    packed: bytes = msgpack.packb(record.model_dump(mode="python"), use_bin_type=True)
    return packed


def unpack_record(blob: bytes) -> Explanation:
    """Read a blob that pack_record wrote; the answer has the facade's ways to ask for maps.

    Raises StoreError when it is not such a blob, or one of another version.
    """
    try:
        record = Record.model_validate(msgpack.unpackb(blob, raw=False))
    except (ValueError, msgpack.UnpackException, pydantic.ValidationError) as error:
        raise StoreError(
            f"the stored report cannot be read by this version: {type(error).__name__}"
        ) from error
    pixels = cv2.imdecode(np.frombuffer(record.film.png, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 2 or pixels.dtype.name not in ("uint8", "uint16"):
        raise StoreError("the stored film cannot be read")
    film = Film(
        pixels=pixels,  # type: ignore[arg-type]
        media_type=record.film.media_type,
        sha256=record.film.sha256,
        notes=record.film.notes,
        warnings=tuple(FilmWarning(**warning.model_dump()) for warning in record.film.warnings),
        windows=tuple(WindowChoice(**choice.model_dump()) for choice in record.film.windows),
        window=record.film.window,
    )
    return Explanation(
        film=film,
        report=_report.validate_python(record.report.model_dump()),
        packs={
            name: MapPack(
                method=pack.method,
                values=pack.values,
                signed=pack.signed,
                additive=pack.additive,
                notes=pack.notes,
                members=pack.members,
                disagreement=pack.disagreement,
                image=pack.image,
                sinks=pack.sinks,
                options=pack.options,
            )
            for name, pack in record.maps.items()
        },
        provenance=_provenance.validate_python(record.provenance.model_dump()),
        text_sources=tuple(
            TextSources(**{name: getattr(kept, name) for name in TextSourcesRecord.model_fields})
            for kept in record.text_sources
        ),
        reliance=(
            None
            if (reliance := record.reliance) is None
            else Reliance(**{name: getattr(reliance, name) for name in RelianceRecord.model_fields})
        ),
    )
