"""Maps packed for a browser."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medinterp.api.schema_packed import PackedMapsModel, Range, RangesModel
from medinterp.relevancy import quantity_of, word_maps
from medinterp.render import report_range
from medinterp.types import Float16Array, Float32Array, MapPack, Word


def packed_maps(report_id: str, pack: MapPack, words: Sequence[Word]) -> PackedMapsModel:
    """A method's maps of every token, float16 [tokens, rows, columns] with one scale for all.

    The scale stands apart, for float16 has nothing below 6e-8 and deep rollouts reach 1e-9. words: the report's, for
    the ranges that all of them share.
    """
    tokens, scale = halved(pack.values)
    spread = None if pack.disagreement is None else halved(pack.disagreement)
    disagreement = None if spread is None else quantity_of(pack, "disagreement")
    _, rows, columns = tokens.shape
    return PackedMapsModel(
        id=report_id,
        method=pack.method,
        image=pack.image,
        rows=rows,
        columns=columns,
        signed=pack.signed,
        additive=pack.additive,
        notes=pack.notes,
        tokens=tokens,
        scale=scale,
        disagreement=None if spread is None else spread[0],
        disagreement_scale=None if spread is None else spread[1],
        ranges=RangesModel(
            relevancy=_range(pack, words),
            relevancy_without_sinks=_range(pack, words, without_sinks=True),
            disagreement=None if disagreement is None else _range(disagreement, words),
            disagreement_without_sinks=(
                None if disagreement is None else _range(disagreement, words, without_sinks=True)
            ),
        ),
        members=pack.members,
        options=dict(pack.options),
        sinks=pack.sinks,
    )


def halved(values: Float32Array) -> tuple[Float16Array, float]:
    """The values divided by their largest size, float16 of the same shape, and that size (1.0 where all are 0)."""
    scale = float(np.max(np.abs(values), initial=0.0)) or 1.0
    return (values.astype(np.float64) / scale).astype(np.float16), scale


def _range(pack: MapPack, words: Sequence[Word], *, without_sinks: bool = False) -> Range:
    return report_range(word_maps(pack, words, without_sinks=without_sinks), pack.signed)
