"""The schema of a region of the film and the words that it drove."""

from __future__ import annotations

from pydantic import Field

from medinterp.api.arrays import Array
from medinterp.api.queries import IMAGE, QUANTITY
from medinterp.api.schema import Model
from medinterp.types import Quantity

MAX_CELLS = 2**16


class RegionAskedModel(Model):
    """A region: either `box` or `cells`, of one method's maps."""

    box: tuple[float, float, float, float] | None = Field(
        default=None, description="Left, top, right, bottom as shares of the film's width and height, 0 to 1."
    )
    cells: list[tuple[int, int]] | None = Field(
        default=None, max_length=MAX_CELLS, description="[row, column] of each, counted from 0."
    )
    method: str | None = Field(default=None, description="A method of the report; its first by default.")
    image: int = Field(default=0, ge=0, le=1, description=IMAGE)
    without_sinks: bool = Field(default=False, description="Leave flagged sink cells out.")
    quantity: Quantity = Field(default="relevancy", description=QUANTITY)


class RegionWordModel(Model):
    """How much the region drove a word, with m its map and k the coverage."""

    index: int
    value: float = Field(description="sum(k m) / sum(k), in the map's own units.")
    share: float = Field(description="sum(k max(m, 0)) / sum(max(m, 0)); 0 where the map has no positive value.")


class RegionModel(Model):
    """A region and the words that it drove."""

    id: str
    method: str
    image: int
    coverage: Array = Field(description="The share of each cell inside the region, float32 [rows, columns].")
    words: tuple[RegionWordModel, ...] = Field(
        description="By value, largest first, of equals in reading order; words that no token wrote are left out."
    )
