"""The schema of an exported report in msgpack: the answer to `GET /v1/reports/{id}` without the id, which is a key."""

from __future__ import annotations

from pydantic import Field

from medinterp.api.schema import FaithfulnessModel, FilmModel, MapPackModel, Model, ProvenanceModel, ReportModel
from medinterp.api.schema_boxes import BoxVerdictModel
from medinterp.api.schema_sources import RelianceRecord, TextSourcesRecord
from medinterp.export.facts import export_facts
from medinterp.types import Explanation


class MapFactsModel(Model):
    """How one method's maps were made."""

    method: str
    layers: str
    calibration: str


class ExportFactsModel(Model):
    """The record that stands in every exported file."""

    disclaimer: str
    software: str
    model: str
    revision: str
    film_sha256: tuple[str, ...]
    scale: str
    maps: tuple[MapFactsModel, ...]
    selection: str | None = None


class ExportedModel(Model):
    """A report as a file: ExplanationModel's fields but `id` and `expires_at`, what was asked of it, the record."""

    film: FilmModel
    report: ReportModel
    methods: tuple[str, ...]
    rows: int
    columns: int
    provenance: ProvenanceModel
    maps: dict[str, MapPackModel]
    prior: FilmModel | None
    prior_maps: dict[str, MapPackModel]
    text_sources: tuple[TextSourcesRecord, ...] = Field(description="Of each selection that was asked about.")
    reliance: RelianceRecord | None = Field(description="Of every token, where it was asked for.")
    verdicts: tuple[FaithfulnessModel, ...]
    box_verdicts: tuple[BoxVerdictModel, ...]
    export: ExportFactsModel


def exported_model(explanation: Explanation) -> ExportedModel:
    """The report with all its maps. Raises StopIteration for one without any, which the service never stores."""
    _, rows, columns = next(iter(explanation.packs.values())).values.shape
    return ExportedModel(
        film=FilmModel.model_validate(explanation.film),
        report=ReportModel.model_validate(explanation.report),
        methods=tuple(explanation.packs),
        rows=rows,
        columns=columns,
        provenance=ProvenanceModel.model_validate(explanation.provenance),
        maps={name: MapPackModel.model_validate(pack) for name, pack in explanation.packs.items()},
        prior=None if explanation.prior is None else FilmModel.model_validate(explanation.prior),
        prior_maps={name: MapPackModel.model_validate(pack) for name, pack in explanation.prior_packs.items()},
        text_sources=tuple(map(TextSourcesRecord.model_validate, explanation.text_sources)),
        reliance=None if explanation.reliance is None else RelianceRecord.model_validate(explanation.reliance),
        verdicts=tuple(map(FaithfulnessModel.model_validate, explanation.verdicts)),
        box_verdicts=tuple(map(BoxVerdictModel.model_validate, explanation.box_verdicts)),
        export=ExportFactsModel.model_validate(export_facts(explanation)),
    )
