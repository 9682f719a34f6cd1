"""A method's maps as the page takes them: every token's, in half the bytes, with the scales of the whole report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medinterp.relevancy import quantity_of, word_maps
from medinterp.render import report_range
from medinterp.types import Float16Array, Float32Array, MapPack, Word

Range = tuple[float, float]


@dataclass(frozen=True)
class Ranges:
    """The scales that all words of the report share: [low, high], or [-m, m] for signed maps; the last two of a
    consensus."""

    relevancy: Range
    relevancy_without_sinks: Range
    disagreement: Range | None
    disagreement_without_sinks: Range | None


@dataclass(frozen=True, eq=False)
class PackedMaps:
    """tokens: float16 [tokens, rows, columns]; times `scale` they are the method's own values.

    disagreement: the same of a consensus, with its own scale.
    """

    tokens: Float16Array
    scale: float
    disagreement: Float16Array | None
    disagreement_scale: float | None
    ranges: Ranges


def packed(pack: MapPack, words: Sequence[Word]) -> PackedMaps:
    """The maps of a method in half the bytes. words: the report's, for the ranges that all of them share.

    The scale stands apart, for float16 has nothing below 6e-8 and deep rollouts reach 1e-9.
    """
    tokens, scale = halved(pack.values)
    spread, spread_scale = (None, None) if pack.disagreement is None else halved(pack.disagreement)
    apart = None if spread is None else quantity_of(pack, "disagreement")
    ranges = Ranges(
        _range(pack, words),
        _range(pack, words, without_sinks=True),
        None if apart is None else _range(apart, words),
        None if apart is None else _range(apart, words, without_sinks=True),
    )
    return PackedMaps(tokens, scale, spread, spread_scale, ranges)


def halved(values: Float32Array) -> tuple[Float16Array, float]:
    """The values divided by their largest size, float16 of the same shape, and that size (1.0 where all are 0)."""
    scale = float(np.max(np.abs(values), initial=0.0)) or 1.0
    return (values.astype(np.float64) / scale).astype(np.float16), scale


def _range(pack: MapPack, words: Sequence[Word], *, without_sinks: bool = False) -> Range:
    return report_range(word_maps(pack, words, without_sinks=without_sinks), pack.signed)
