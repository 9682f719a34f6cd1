"""Ranks of cells: what maps of different units have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.types import Float32Array


def cell_ranks(maps: npt.NDArray[np.floating[Any]]) -> Float32Array:
    """Rank of every cell within its map, 0 (least) to 1 (most), equal cells sharing their mean rank.

    maps: [T, cells]; answers float32 [T, cells]. A constant map has rank 0.5 everywhere.
    """
    count, cells = maps.shape
    if cells < 2:
        return np.full((count, cells), 0.5, dtype=np.float32)
    order = np.argsort(maps, axis=1, kind="stable")
    ordered = np.take_along_axis(maps, order, axis=1)
    places = np.broadcast_to(np.arange(cells), (count, cells))
    starts = np.ones((count, cells), dtype=bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    ends = np.ones((count, cells), dtype=bool)
    ends[:, :-1] = starts[:, 1:]
    first = np.maximum.accumulate(np.where(starts, places, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, places, cells - 1)[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty((count, cells), dtype=np.float32)
    np.put_along_axis(ranks, order, ((first + last) / (2.0 * (cells - 1))).astype(np.float32), axis=1)
    return ranks
