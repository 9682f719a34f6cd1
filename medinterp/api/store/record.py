"""The record of a report in the store: film, report, maps and provenance in one msgpack blob.

The film is kept as the pixels that the model saw, in a lossless PNG, never as the file that was
sent. Of a DICOM's header it keeps what Segmentation and Structured Report need, which names the patient:
it is read by those exports alone, and goes when the report goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import cv2
import msgpack
import numpy as np
import pydantic
from pydantic import TypeAdapter

from medinterp.api.schema import (
    FaithfulnessModel,
    FilmWarningModel,
    MapPackModel,
    Model,
    PixelSpacingModel,
    ProvenanceModel,
    ReportModel,
    WindowChoiceModel,
)
from medinterp.api.schema_sources import RelianceRecord, TextSourcesRecord
from medinterp.errors import StoreError
from medinterp.explanation import Explanation
from medinterp.types import (
    DicomSource,
    Faithfulness,
    Film,
    FilmWarning,
    MapPack,
    PixelSpacing,
    Provenance,
    Reliance,
    Report,
    TextSources,
    WindowChoice,
)
from medinterp.types import Explanation as ExplanationData

VERSION: Literal[4] = 4
_report = TypeAdapter(Report)
_provenance = TypeAdapter(Provenance)
_verdicts = TypeAdapter(tuple[Faithfulness, ...])


class SourceRecord(Model):
    """What objects about a DICOM's picture need. It names the patient, and lives and goes with the film."""

    header: bytes
    rows: int
    columns: int
    orientation: int


class FilmRecord(Model):
    """The film's pixels as PNG (8 or 16 bit, one channel) and what is known of its source."""

    png: bytes
    media_type: str
    sha256: str
    notes: tuple[str, ...]
    warnings: tuple[FilmWarningModel, ...]
    windows: tuple[WindowChoiceModel, ...]
    window: str | None
    source: SourceRecord | None = None
    spacing: PixelSpacingModel | None = None
    sides_told: bool = False


class Record(Model):
    """What one blob holds."""

    version: Literal[4]
    film: FilmRecord
    report: ReportModel
    maps: dict[str, MapPackModel]
    provenance: ProvenanceModel
    text_sources: tuple[TextSourcesRecord, ...] = ()
    prior: FilmRecord | None = None
    prior_maps: dict[str, MapPackModel] = pydantic.Field(default_factory=dict)
    verdicts: tuple[FaithfulnessModel, ...] = ()
    reliance: RelianceRecord | None = None


def pack_record(explanation: ExplanationData) -> bytes:
    """Write an explanation as a blob; the trace is left out. Raises StoreError for pixels that are no film's."""
    prior = None if explanation.prior is None else _film_record(explanation.prior)
    return _packed(explanation, _film_record(explanation.film), prior)


def change_record(blob: bytes, change: Callable[[Explanation], Explanation]) -> bytes:
    """The blob of a changed explanation of the same films, which are not encoded again: large ones take seconds.

    Raises StoreError as unpack_record.
    """
    record = _record(blob)
    return _packed(change(_explanation(record)), record.film, record.prior)


def _packed(explanation: ExplanationData, film: FilmRecord, prior: FilmRecord | None) -> bytes:
    record = Record(
        version=VERSION,
        film=film,
        report=ReportModel.model_validate(explanation.report),
        maps=_pack_models(explanation.packs),
        provenance=ProvenanceModel.model_validate(explanation.provenance),
        text_sources=tuple(map(TextSourcesRecord.model_validate, explanation.text_sources)),
        prior=prior,
        prior_maps=_pack_models(explanation.prior_packs),
        verdicts=tuple(map(FaithfulnessModel.model_validate, explanation.verdicts)),
        reliance=None if explanation.reliance is None else RelianceRecord.model_validate(explanation.reliance),
    )
    packed: bytes = msgpack.packb(record.model_dump(mode="python"), use_bin_type=True)
    return packed


def unpack_record(blob: bytes) -> Explanation:
    """Read a blob that pack_record wrote; the answer has the facade's ways to ask for maps.

    Raises StoreError when it is not such a blob, or one of another version.
    """
    return _explanation(_record(blob))


def _record(blob: bytes) -> Record:
    try:
        record = Record.model_validate(msgpack.unpackb(blob, raw=False))
    except (ValueError, msgpack.UnpackException, pydantic.ValidationError) as error:
        raise StoreError(
            f"the stored report cannot be read by this version: {type(error).__name__}"
        ) from error
    return record


def _explanation(record: Record) -> Explanation:
    return Explanation(
        film=_film(record.film),
        report=_report.validate_python(record.report.model_dump()),
        packs=_packs(record.maps),
        provenance=_provenance.validate_python(record.provenance.model_dump()),
        prior=None if record.prior is None else _film(record.prior),
        prior_packs=_packs(record.prior_maps),
        text_sources=tuple(
            TextSources(**{name: getattr(kept, name) for name in TextSourcesRecord.model_fields})
            for kept in record.text_sources
        ),
        verdicts=_verdicts.validate_python([verdict.model_dump() for verdict in record.verdicts]),
        reliance=(
            None
            if (reliance := record.reliance) is None
            else Reliance(**{name: getattr(reliance, name) for name in RelianceRecord.model_fields})
        ),
    )


def _film_record(film: Film) -> FilmRecord:
    encoded, png = cv2.imencode(".png", film.pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not encoded:
        raise StoreError("the film's pixels cannot be written as PNG")
    return FilmRecord(
        png=png.tobytes(),
        media_type=film.media_type,
        sha256=film.sha256,
        notes=film.notes,
        warnings=tuple(map(FilmWarningModel.model_validate, film.warnings)),
        windows=tuple(map(WindowChoiceModel.model_validate, film.windows)),
        window=film.window,
        source=None if film.source is None else SourceRecord.model_validate(film.source),
        spacing=None if film.spacing is None else PixelSpacingModel.model_validate(film.spacing),
        sides_told=film.sides_told,
    )


def _film(record: FilmRecord) -> Film:
    pixels = cv2.imdecode(np.frombuffer(record.png, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 2 or pixels.dtype.name not in ("uint8", "uint16"):
        raise StoreError("the stored film cannot be read")
    return Film(
        pixels=pixels,  # type: ignore[arg-type]
        media_type=record.media_type,
        sha256=record.sha256,
        notes=record.notes,
        warnings=tuple(FilmWarning(**warning.model_dump()) for warning in record.warnings),
        windows=tuple(WindowChoice(**choice.model_dump()) for choice in record.windows),
        window=record.window,
        source=None if record.source is None else DicomSource(**record.source.model_dump()),
        spacing=None if record.spacing is None else PixelSpacing(**record.spacing.model_dump()),
        sides_told=record.sides_told,
    )


def _pack_models(packs: Mapping[str, MapPack]) -> dict[str, MapPackModel]:
    return {name: MapPackModel.model_validate(pack) for name, pack in packs.items()}


def _packs(models: Mapping[str, MapPackModel]) -> dict[str, MapPack]:
    return {
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
        for name, pack in models.items()
    }
