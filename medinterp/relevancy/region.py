"""The other way round: from a region of the film to the words that it drove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.errors import SelectionError
from medinterp.relevancy.aggregate import word_maps
from medinterp.types import Float32Array, MapPack, Word

Box = tuple[float, float, float, float]
"""Left, top, right, bottom as shares of the film's width and height, 0..1."""
Cells = Sequence[tuple[int, int]]
"""(row, column) of each."""


@dataclass(frozen=True)
class RegionWord:
    """How much a region drove a word: index of the word; value in the map's own units; share 0..1. See `rank_words`."""

    index: int
    value: float
    share: float


@dataclass(frozen=True, eq=False)
class Region:
    """A region of a film and the words that it drove, the most driven first.

    coverage: float32 [rows, columns], the share of each cell that lies in the region; image: 0 the film, 1 the prior.
    """

    method: str
    image: int
    coverage: Float32Array
    words: tuple[RegionWord, ...]


def box_coverage(box: Sequence[float], rows: int, columns: int) -> npt.NDArray[np.float64]:
    """The share of each cell that lies in a box, float64 [rows, columns].

    coverage[r, c] = h_r w_c, with w_c = max(0, min(right columns, c + 1) - max(left columns, c)) and
    h_r = max(0, min(bottom rows, r + 1) - max(top rows, r)). Raises SelectionError for a box that is none, or has no
    area.
    """
    if len(box) != 4:
        raise SelectionError("a box is left, top, right, bottom")
    left, top, right, bottom = box
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):  # false for NaN, too
        raise SelectionError(
            "a box is left, top, right, bottom as shares of the film's width and height, from 0 to 1, "
            "with left < right and top < bottom"
        )
    coverage = np.outer(_overlaps(top, bottom, rows), _overlaps(left, right, columns))
    if coverage.sum() <= 0:
        raise SelectionError("the box has no area")
    return coverage


def cells_coverage(cells: Cells, rows: int, columns: int) -> npt.NDArray[np.float64]:
    """1 at the cells and 0 elsewhere, float64 [rows, columns]. Raises SelectionError for none, or one off the grid."""
    if not len(cells):
        raise SelectionError("no cell is selected")
    coverage = np.zeros((rows, columns))
    for row, column in cells:
        if not (0 <= row < rows and 0 <= column < columns):
            raise SelectionError(f"there is no cell ({row}, {column}) in a grid of {rows} x {columns}, counted from 0")
        coverage[row, column] = 1.0
    return coverage


def rank_words(
    pack: MapPack, words: Sequence[Word], coverage: npt.NDArray[np.floating[Any]], *, without_sinks: bool = False
) -> tuple[RegionWord, ...]:
    """Every word that a token wrote, those that the region drove most first (by value; of equals in reading order).

    coverage: [rows, columns] in 0..1, not 0 everywhere. With m the word's map (the sum or the mean of its tokens' maps,
    `pack.additive`; sink cells set to 0 if without_sinks) and k the coverage, sums over cells:

        value = sum(k m) / sum(k)                        in the map's own units
        share = sum(k max(m, 0)) / sum(max(m, 0))        0 where the map has no positive value
    """
    maps = word_maps(pack, words, without_sinks=without_sinks).astype(np.float64)
    values = (maps * coverage).sum(axis=(1, 2)) / coverage.sum()
    positive = np.maximum(maps, 0.0)
    inside, total = (positive * coverage).sum(axis=(1, 2)), positive.sum(axis=(1, 2))
    shares = np.divide(inside, total, out=np.zeros_like(inside), where=total > 0)
    written = [k for k, word in enumerate(words) if word.token_indices]
    written.sort(key=lambda k: -values[k])
    return tuple(RegionWord(words[k].index, float(values[k]), float(shares[k])) for k in written)


def _overlaps(low: float, high: float, count: int) -> npt.NDArray[np.float64]:
    """How much of each of `count` equal parts of 0..1 lies between low and high, 0..1."""
    first = np.arange(count)
    overlaps = np.minimum(high * count, first + 1) - np.maximum(low * count, first)
    return np.asarray(np.maximum(0.0, overlaps), dtype=np.float64)
