"""The nouns that travel between layers: film -> report -> trace -> maps -> view.

Frozen dataclasses over numpy arrays. T report tokens, N = P + T positions in all (P of the
prompt), L language layers, H query heads, an image grid of rows x columns cells.
"""

from __future__ import annotations

from medinterp.types.answers import (
    BoxMap,
    BoxVerdict,
    BoxVerdictName,
    Faithfulness,
    HeadMaps,
    Interval,
    OrderScores,
    Reliance,
    TextSources,
)
from medinterp.types.arrays import BoolArray, Float16Array, Float32Array, Quantity, float32_of
from medinterp.types.conversation import Asked, Conversation, Turn
from medinterp.types.explanation import Explanation
from medinterp.types.film import (
    DicomSource,
    Film,
    FilmWarning,
    ImageSpan,
    PixelSpacing,
    WindowChoice,
    spans_by_film,
)
from medinterp.types.maps import MapPack, RelevancyMap
from medinterp.types.report import (
    Alternative,
    Box,
    Finding,
    FindingChange,
    FindingStatus,
    Mention,
    MentionRole,
    Report,
    ReportToken,
    Section,
    Sentence,
    SentenceReading,
    Thinking,
    Word,
)
from medinterp.types.trace import AttentionTrace, Generation, MeasuredCells, Provenance

__all__ = [
    "Alternative",
    "Asked",
    "AttentionTrace",
    "BoolArray",
    "Box",
    "BoxMap",
    "BoxVerdict",
    "BoxVerdictName",
    "Conversation",
    "DicomSource",
    "Explanation",
    "Faithfulness",
    "Film",
    "FilmWarning",
    "Finding",
    "FindingChange",
    "FindingStatus",
    "Float16Array",
    "Float32Array",
    "Generation",
    "HeadMaps",
    "ImageSpan",
    "Interval",
    "MapPack",
    "MeasuredCells",
    "Mention",
    "MentionRole",
    "OrderScores",
    "PixelSpacing",
    "Provenance",
    "Quantity",
    "RelevancyMap",
    "Reliance",
    "Report",
    "ReportToken",
    "Section",
    "Sentence",
    "SentenceReading",
    "TextSources",
    "Thinking",
    "Turn",
    "WindowChoice",
    "Word",
    "float32_of",
    "spans_by_film",
]
