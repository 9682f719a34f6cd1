"""The record of a report in the store: film, report, maps and provenance in one blob with parts.

The body is msgpack, deflated; a film's pixels, as the model saw them and never as the file that was sent, are a part,
so that the store keeps one that several reports have in common once. Of a DICOM's header the body keeps what
Segmentation and Structured Report need, which names the patient: it is read by those exports alone, and goes when the
report goes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgpack
import pydantic
from isal import isal_zlib
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
from medinterp.api.schema_boxes import BoxVerdictModel
from medinterp.api.schema_sources import RelianceRecord, TextSourcesRecord
from medinterp.api.store.parts import join_parts, split_parts
from medinterp.api.store.pixels import Coding, decode_pixels, encode_pixels
from medinterp.errors import StoreError
from medinterp.explanation import Explanation
from medinterp.types import (
    BoxVerdict,
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

VERSION: Literal[5] = 5
"""4 held the films as PNG in the body, which was not deflated; it is read still."""
_report = TypeAdapter(Report)
_provenance = TypeAdapter(Provenance)
_verdicts = TypeAdapter(tuple[Faithfulness, ...])
_box_verdicts = TypeAdapter(tuple[BoxVerdict, ...])


class SourceRecord(Model):
    """What objects about a DICOM's picture need. It names the patient, and lives and goes with the film."""

    header: bytes
    rows: int
    columns: int
    orientation: int


class FilmRecord(Model):
    """Where the film's pixels are among the parts, how they are written, and what is known of its source."""

    part: int = pydantic.Field(ge=0)
    coding: Coding
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

    version: Literal[5]
    film: FilmRecord
    report: ReportModel
    maps: dict[str, MapPackModel]
    provenance: ProvenanceModel
    text_sources: tuple[TextSourcesRecord, ...] = ()
    prior: FilmRecord | None = None
    prior_maps: dict[str, MapPackModel] = pydantic.Field(default_factory=dict)
    verdicts: tuple[FaithfulnessModel, ...] = ()
    reliance: RelianceRecord | None = None
    box_verdicts: tuple[BoxVerdictModel, ...] = ()


def pack_record(explanation: ExplanationData) -> bytes:
    """Write an explanation as a blob; the trace is left out."""
    films = [explanation.film] if explanation.prior is None else [explanation.film, explanation.prior]
    written = [encode_pixels(film.pixels) for film in films]
    records = [_film_record(film, part, written[part][1]) for part, film in enumerate(films)]
    parts = [content for content, _ in written]
    return _packed(explanation, records[0], records[1] if len(records) > 1 else None, parts)


def change_record(blob: bytes, change: Callable[[Explanation], Explanation]) -> bytes:
    """The blob of a changed explanation of the same films, which are not encoded again: large ones take seconds.

    Raises StoreError as unpack_record.
    """
    record, parts = _record(blob)
    return _packed(change(_explanation(record, parts)), record.film, record.prior, parts)


def _packed(
    explanation: ExplanationData, film: FilmRecord, prior: FilmRecord | None, parts: Sequence[bytes]
) -> bytes:
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
        box_verdicts=tuple(map(BoxVerdictModel.model_validate, explanation.box_verdicts)),
    )
    return pack_plain(record.model_dump(mode="python"), parts)


def pack_plain(plain: Mapping[str, Any], parts: Sequence[bytes]) -> bytes:
    """The blob of a record's plain data. Level 1 takes a millisecond; level 9 of zlib 40 for 7 % less."""
    return join_parts(isal_zlib.compress(msgpack.packb(plain, use_bin_type=True), 1), parts)


def unpack_plain(blob: bytes) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    """A record's plain data, of this version or of version 4 brought up to it, and its parts. Raises StoreError."""
    body, parts = split_parts(blob)
    try:
        plain = msgpack.unpackb(isal_zlib.decompress(body) if parts else body, raw=False)
    except (ValueError, zlib.error, msgpack.UnpackException) as error:
        raise _unreadable(error) from error
    if not isinstance(plain, dict):
        raise StoreError("the stored report cannot be read by this version: it is no record")
    return (plain, parts) if parts else _from_version_4(plain)


def _from_version_4(plain: dict[str, Any]) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    """Films leave the body."""
    if plain.get("version") != 4:
        raise StoreError("the stored report cannot be read by this version: it is of another one")
    parts: list[bytes] = []
    for name in ("film", "prior"):
        film = plain.get(name)
        if isinstance(film, dict) and isinstance(film.get("png"), bytes):
            parts.append(film.pop("png"))
            plain[name] = {**film, "part": len(parts) - 1, "coding": "png"}
    return {**plain, "version": VERSION}, tuple(parts)


def unpack_record(blob: bytes) -> Explanation:
    """Read a blob that pack_record wrote, now or in version 4; the answer has the facade's ways to ask for maps.

    Raises StoreError when it is not such a blob, or one of another version.
    """
    return _explanation(*_record(blob))


def alias_of(blob: bytes) -> str | None:
    """What the service calls the model that the report was made with, without the films. Raises StoreError."""
    provenance = unpack_plain(blob)[0].get("provenance")
    alias = provenance.get("alias") if isinstance(provenance, dict) else None
    return alias if isinstance(alias, str) else None


def _record(blob: bytes) -> tuple[Record, tuple[bytes, ...]]:
    plain, parts = unpack_plain(blob)
    try:
        record = Record.model_validate(plain)
    except pydantic.ValidationError as error:
        raise _unreadable(error) from error
    if max(film.part for film in (record.film, record.prior) if film is not None) >= len(parts):
        raise StoreError("the stored report cannot be read by this version: its film is missing")
    return record, parts


def _unreadable(error: Exception) -> StoreError:
    return StoreError(f"the stored report cannot be read by this version: {type(error).__name__}")


def _explanation(record: Record, parts: Sequence[bytes]) -> Explanation:
    return Explanation(
        film=_film(record.film, parts),
        report=_report.validate_python(record.report.model_dump()),
        packs=_packs(record.maps),
        provenance=_provenance.validate_python(record.provenance.model_dump()),
        prior=None if record.prior is None else _film(record.prior, parts),
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
        box_verdicts=_box_verdicts.validate_python([verdict.model_dump() for verdict in record.box_verdicts]),
    )


def _film_record(film: Film, part: int, coding: Coding) -> FilmRecord:
    return FilmRecord(
        part=part,
        coding=coding,
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


def _film(record: FilmRecord, parts: Sequence[bytes]) -> Film:
    return Film(
        pixels=decode_pixels(parts[record.part], record.coding),
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
