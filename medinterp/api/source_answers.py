"""From text sources, head maps and reliance to the models of the schema."""

from __future__ import annotations

import numpy as np

from medinterp.api.schema_sources import (
    FirstTokenModel,
    HeadsModel,
    PromptWordModel,
    RelianceModel,
    RelianceWordModel,
    ReportWordModel,
    SourceModel,
    TextSourcesModel,
)
from medinterp.types import Explanation, HeadMaps, Reliance, Report, TextSources


def text_sources_model(report_id: str, explanation: Explanation, sources: TextSources) -> TextSourcesModel:
    """The answer to `POST /v1/reports/{id}/text`; explanation: the report that was asked about."""
    prompt, last = explanation.provenance.prompt, max(sources.token_indices)
    images = tuple(map(_source, sources.film_attention, sources.film_gradient))
    words = zip(sources.prompt_spans, sources.prompt_attention, sources.prompt_gradient, strict=True)
    return TextSourcesModel(
        id=report_id,
        token_indices=sources.token_indices,
        logprob=sources.logprob,
        film=_source(sum(sources.film_attention), sum(sources.film_gradient)),
        images=images,
        first_token=FirstTokenModel(attention=sources.first_token_attention),
        template=_source(sources.template_attention, sources.template_gradient),
        punctuation=_source(sources.punctuation_attention, sources.punctuation_gradient),
        prompt=tuple(
            PromptWordModel(
                start=start, end=end, text=prompt[start:end], attention=float(attention), gradient=float(gradient)
            )
            for (start, end), attention, gradient in words
        ),
        report=tuple(
            ReportWordModel(
                index=word.index,
                attention=float(sources.report_attention[word.index]),
                gradient=float(sources.report_gradient[word.index]),
            )
            for word in explanation.report.words
            if word.token_indices and min(word.token_indices) < last
        ),
    )


def _source(attention: float, gradient: float) -> SourceModel:
    return SourceModel(attention=attention, gradient=gradient)


def heads_model(report_id: str, heads: HeadMaps) -> HeadsModel:
    """The answer to `POST /v1/reports/{id}/heads`: scaled before they are halved, for attention on a cell is small."""
    _, _, rows, columns = heads.maps.shape
    high = float(heads.maps.max())
    return HeadsModel(
        id=report_id,
        token_indices=heads.token_indices,
        image=heads.image,
        rows=rows,
        columns=columns,
        layer_types=heads.layer_types,
        sliding_window=heads.sliding_window,
        mass=heads.mass,
        maps=(heads.maps / (high or 1.0)).astype(np.float16),
        scale=high,
        range=(0.0, high),
    )


def reliance_model(report_id: str, report: Report, reliance: Reliance) -> RelianceModel:
    """The answer to `POST /v1/reports/{id}/reliance`; report: the one that was asked about."""
    return RelianceModel(
        id=report_id,
        films=len(reliance.swap_drops),
        words=tuple(
            RelianceWordModel(
                index=word.index,
                logprob=float(reliance.logprob[word.index]),
                reliance=float(reliance.reliance[word.index]),
                blank_drop=float(reliance.blank_drop[word.index]),
                swap_drops=tuple(float(drop) for drop in reliance.swap_drops[:, word.index]),
            )
            for word in report.words
            if word.token_indices
        ),
    )
