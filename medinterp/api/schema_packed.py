"""The schema of maps as a browser wants them: every token's, small enough to come with the report."""

from __future__ import annotations

from pydantic import Field

from medinterp.api.arrays import Array
from medinterp.api.schema import Model, Options

Range = tuple[float, float]


class RangesModel(Model):
    """The scales that all words of the report share: [low, high], or [-m, m] for signed maps."""

    relevancy: Range
    relevancy_without_sinks: Range
    disagreement: Range | None = Field(default=None, description="Of a consensus.")
    disagreement_without_sinks: Range | None = Field(default=None, description="Of a consensus.")


class PackedMapsModel(Model):
    """All tokens' maps by one method, halved in size: 100 KB for 200 tokens of 256 cells.

    `tokens * scale` are the method's own values, each within 0.001 `scale` of what `/maps` has. A word's map is the
    sum (`additive`) or the mean of its tokens'.
    """

    id: str
    method: str
    image: int = Field(description="Which of the prompt's images the maps are on: 0 the film, 1 the prior one.")
    rows: int
    columns: int
    signed: bool
    additive: bool = Field(description="A word's map is the sum over its tokens, else the mean.")
    notes: tuple[str, ...] = ()
    tokens: Array = Field(description="float16 [tokens, rows, columns], the values divided by `scale`.")
    scale: float = Field(description="The largest size of a value; 1 where all are 0.")
    disagreement: Array | None = Field(
        default=None, description="Of a consensus: spread of the members' ranks over `disagreement_scale`, float16."
    )
    disagreement_scale: float | None = Field(default=None, description="The same for `disagreement`.")
    ranges: RangesModel
    members: tuple[str, ...] = Field(default=(), description="Of a consensus: the methods that it joins.")
    options: Options = Field(default={}, description="What the method was given.")
    sinks: Array | None = Field(default=None, description="Sink cells, bool [rows, columns].")
