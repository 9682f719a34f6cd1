"""Maps: one method's for every token, and one selection's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medinterp.types.arrays import BoolArray, Float32Array


@dataclass(frozen=True, eq=False)
class MapPack:
    """One method's maps for every report token.

    values: float32 [T, rows, columns], the method's own sign and mass, never rescaled (deep rollouts reach
        1e-9, where float16 has nothing).
    signed: True when negative values mean "speaks against".
    additive: True when a word's map is the sum over its tokens, False when it is the mean.
    notes: what the reader must know (e.g. "uncalibrated").
    members, disagreement: of a consensus the methods that it joins, and the standard deviation of their
    cell ranks, float32 [T, rows, columns]. image: which of the prompt's images the maps are on.
    sinks: bool [rows, columns], cells that collect attention whatever is written, or None (not looked for).
    options: what the method was given.
    """

    method: str
    values: Float32Array
    signed: bool
    additive: bool
    notes: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    disagreement: Float32Array | None = None
    image: int = 0
    sinks: BoolArray | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class RelevancyMap:
    """One map for one selection of the report (a word, a phrase, a finding).

    values: float32 [rows, columns]; token_indices: the tokens it speaks of; image: which of the prompt's
    images it lies on; disagreement: of a consensus, float32 [rows, columns].
    """

    method: str
    values: Float32Array
    token_indices: tuple[int, ...]
    signed: bool
    notes: tuple[str, ...] = ()
    image: int = 0
    disagreement: Float32Array | None = None
