"""From the dataclasses of the library to the models of the schema."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.api.schema import (
    ExplanationModel,
    FilmModel,
    MapPackModel,
    MapsModel,
    MethodModel,
    MethodsModel,
    ProvenanceModel,
    ReportModel,
    SettingModel,
)
from medinterp.api.schema_boxes import BoxVerdictModel
from medinterp.errors import MissingEvidenceError, SelectionError
from medinterp.explanation import Explanation
from medinterp.relevancy import METHODS, get_method, quantity_of, word_maps
from medinterp.render import report_range
from medinterp.types import Explanation as ExplanationData
from medinterp.types import MapPack, Quantity


def explanation_model(
    report_id: str, explanation: ExplanationData, expires_at: float, *, with_maps: bool
) -> ExplanationModel:
    """The answer to `POST /v1/reports`; expires_at in seconds since 1970."""
    packs = explanation.packs
    _, rows, columns = next(iter(packs.values())).values.shape
    report = ReportModel.model_validate(explanation.report)
    if (reliance := explanation.reliance) is not None:
        words = [
            word.model_copy(update={"reliance": float(reliance.reliance[word.index])}) if word.token_indices else word
            for word in report.words
        ]
        report = report.model_copy(update={"words": tuple(words)})
    return ExplanationModel(
        id=report_id,
        expires_at=datetime.fromtimestamp(expires_at, UTC),
        film=FilmModel.model_validate(explanation.film),
        report=report,
        methods=tuple(packs),
        rows=rows,
        columns=columns,
        provenance=ProvenanceModel.model_validate(explanation.provenance),
        maps=_models(packs) if with_maps else None,
        prior=None if explanation.prior is None else FilmModel.model_validate(explanation.prior),
        prior_maps=_models(explanation.prior_packs) if with_maps and explanation.prior is not None else None,
        box_verdicts=tuple(map(BoxVerdictModel.model_validate, explanation.box_verdicts)),
    )


def _models(packs: Mapping[str, MapPack]) -> dict[str, MapPackModel]:
    return {name: MapPackModel.model_validate(pack) for name, pack in packs.items()}


def pack_of(explanation: ExplanationData, method: str | None, image: int = 0) -> MapPack:
    """The maps by one method, the report's first when none is named, on the film (image 0) or the prior one (1).

    Raises UnknownMethodError, MissingEvidenceError when the report was made without it, or SelectionError for the prior
    film of a report that has none.
    """
    packs = {0: explanation.packs, 1: explanation.prior_packs}.get(image, {})
    if not packs:
        raise SelectionError(f"this report has no maps on image {image}: it was made without a prior film")
    if method is None:
        return next(iter(packs.values()))
    if get_method(method).name not in packs:
        how = "POST .../maps computes it" if get_method(method).on_model else "ask for it in a new report"
        raise MissingEvidenceError(f"this report has {', '.join(packs)}; {method} is not there: {how}")
    return packs[method]


def maps_model(
    report_id: str,
    explanation: Explanation,
    method: str | None,
    without_sinks: bool = False,
    quantity: Quantity = "relevancy",
    image: int = 0,
) -> MapsModel:
    """All words' maps by one method. Raises as pack_of, and MissingEvidenceError for a quantity that it has not."""
    pack = quantity_of(pack_of(explanation, method, image), quantity)
    words = word_maps(pack, explanation.report.words, without_sinks=without_sinks)
    low, high = report_range(words, pack.signed)
    _, rows, columns = words.shape
    return MapsModel(
        id=report_id,
        method=pack.method,
        rows=rows,
        columns=columns,
        signed=pack.signed,
        additive=pack.additive,
        notes=pack.notes,
        low=low,
        high=high,
        words=words,
        tokens=pack.values,
        members=pack.members,
        disagreement=pack.disagreement,
        image=pack.image,
        sinks=pack.sinks,
        options=dict(pack.options),
    )


def maps_npz(maps: MapsModel) -> bytes:
    """The same as a numpy archive: words, tokens, low, high, method; sinks and disagreement where there are any."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "words": maps.words,
        "tokens": maps.tokens,
        "low": np.asarray(maps.low, dtype=np.float32),
        "high": np.asarray(maps.high, dtype=np.float32),
        "method": np.asarray(maps.method),
    }
    optional = {"sinks": maps.sinks, "disagreement": maps.disagreement}
    arrays |= {name: array for name, array in optional.items() if array is not None}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def methods_model(default: Sequence[str]) -> MethodsModel:
    """Every registered method, the default ones first and in their order."""
    names = [*default, *(name for name in METHODS if name not in default)]
    return MethodsModel(
        methods=tuple(
            MethodModel(
                name=method.name,
                family=method.family,
                title=method.title,
                meaning=method.meaning,
                citation=method.citation,
                unit=method.unit,
                needs=tuple(sorted(method.needs)),
                on_model=method.on_model,
                default=method.name in default,
                settings=tuple(SettingModel.model_validate(setting) for setting in method.settings),
            )
            for method in map(get_method, names)
        )
    )
