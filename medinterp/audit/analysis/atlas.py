"""Atlases: mean maps of many films, laid over one another by the boxes round their lungs.

A map is sampled on a grid of FRAME x FRAME points, bilinear between the centres of its cells, where the box round the
film's lungs falls on LUNGS: scaling and shifting only, no warping. A value is the share of evidence in so much of the
film, over the share that it would have if evidence lay everywhere alike: 1 is chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medinterp.audit.analysis.films import Films
from medinterp.types import Float32Array

FRAME = 24
LUNGS = (0.14, 0.12, 0.86, 0.74)
"""Where the box round the lungs lies in the frame: left, top, right, bottom."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """values: float32 [FRAME, FRAME], times chance; words, films: how many it is the mean of."""

    values: Float32Array
    words: int
    films: int


class AtlasSums:
    """Sums of one finding's maps, by whether the film's labels have it."""

    def __init__(self, films: Films) -> None:
        self._films = films
        self._sums: dict[str, npt.NDArray[np.float64]] = {}
        self._words: dict[str, int] = {}
        self._seen: dict[str, set[int]] = {}

    def add(self, film: npt.NDArray[np.int64], finding: str, maps: Float32Array) -> None:
        """Add maps [n, rows, columns] of words of these films; those without lungs are left out."""
        placed = np.isfinite(self._films.lungs[film, 0])
        film, maps = film[placed], maps[placed]
        if not len(film):
            return
        laid = registered(maps, self._films.lungs[film])
        labels = [self._films.labels[k] for k in film]
        kinds = {"all": np.ones(len(film), dtype=bool)}
        kinds["true"] = np.array([label is not None and finding in label for label in labels])
        kinds["false"] = np.array([label is not None and finding not in label for label in labels])
        for kind, mine in kinds.items():
            if mine.any():
                self._sums[kind] = self._sums.get(kind, np.zeros((FRAME, FRAME))) + laid[mine].sum(axis=0)
                self._words[kind] = self._words.get(kind, 0) + int(mine.sum())
                self._seen.setdefault(kind, set()).update(film[mine].tolist())

    def means(self) -> Mapping[str, Atlas]:
        return {
            kind: Atlas((total / self._words[kind]).astype(np.float32), self._words[kind], len(self._seen[kind]))
            for kind, total in self._sums.items()
        }


def registered(maps: Float32Array, lungs: npt.NDArray[np.float64]) -> Float32Array:
    """Maps [n, rows, columns], shares that sum to 1, in the atlas' frame: float32 [n, FRAME, FRAME], times chance."""
    _, rows, columns = maps.shape
    points = (np.arange(FRAME) + 0.5) / FRAME
    left, top, right, bottom = lungs.T[..., None]
    down = _bilinear(top + (points - LUNGS[1]) / (LUNGS[3] - LUNGS[1]) * (bottom - top), rows)
    across = _bilinear(left + (points - LUNGS[0]) / (LUNGS[2] - LUNGS[0]) * (right - left), columns)
    laid = np.einsum("nai,nij,nbj->nab", down, maps, across, optimize=True)
    return np.asarray(laid * (rows * columns), dtype=np.float32)


def _bilinear(at: npt.NDArray[np.float64], cells: int) -> Float32Array:
    """Weights of cells for points at shares of the film, float32 [n, points, cells]; none outside the film."""
    distance = np.abs(np.clip(at * cells - 0.5, 0.0, cells - 1.0)[..., None] - np.arange(cells))
    inside = (at >= 0.0) & (at <= 1.0)
    return np.asarray(np.clip(1.0 - distance, 0.0, 1.0) * inside[..., None], dtype=np.float32)
