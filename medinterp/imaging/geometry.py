"""Between grid cells and the film's pixels.

Whatever shape an image processor gives a film, all of it is seen and nothing else, so cell (r, c) of a rows x columns
grid is the film's rectangle [c/columns W, (c+1)/columns W) x
[r/rows H, (r+1)/rows H). Coordinates are continuous: pixel i covers [i, i + 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.errors import SelectionError
from medinterp.types import Float32Array, ImageSpan

# Bilinear and nearest only: a cubic overshoots and draws relevancy that the method never gave.
INTERPOLATIONS = {"linear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST_EXACT}


def cell_to_source(
    row: int, column: int, rows: int, columns: int, width: int, height: int
) -> tuple[float, float]:
    """Centre (x, y) of a cell on the film, in pixels. Raises SelectionError outside the grid."""
    if not (0 <= row < rows and 0 <= column < columns):
        raise SelectionError(f"There is no cell ({row}, {column}) in a grid of {rows} x {columns}.")
    return (column + 0.5) / columns * width, (row + 0.5) / rows * height


def source_to_cell(x: float, y: float, rows: int, columns: int, width: int, height: int) -> tuple[int, int]:
    """The cell (row, column) that holds film point (x, y). Raises SelectionError outside the film."""
    if not (0 <= x <= width and 0 <= y <= height):
        raise SelectionError(f"The point ({x}, {y}) is not on a film of {width} x {height} pixels.")
    return min(int(y / height * rows), rows - 1), min(int(x / width * columns), columns - 1)


def upsample(
    values: npt.NDArray[np.floating], height: int, width: int, interpolation: str = "linear"
) -> Float32Array:
    """A map of the grid laid over the film: [rows, columns] -> float32 [height, width].

    Cell centres fall on their place in the film (cell_to_source); outside the outermost centres
    the nearest cell's value holds. interpolation: "linear" or "nearest".
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation is one of {', '.join(INTERPOLATIONS)}, not {interpolation!r}")
    grid = np.ascontiguousarray(values, dtype=np.float32)
    resized = cv2.resize(grid, (width, height), interpolation=INTERPOLATIONS[interpolation])
    return np.asarray(resized, dtype=np.float32).reshape(height, width)


def film_grid(spans: Sequence[ImageSpan]) -> tuple[int, int]:
    """Rows and columns of a film's maps: of its cells, so many times finer as it has crops along a side."""
    whole, *crops = spans
    down, across = (len({span.part[axis] for span in crops if span.part is not None}) or 1 for axis in (0, 1))
    return whole.rows * down, whole.columns * across


def film_maps(values: npt.NDArray[np.floating], spans: Sequence[ImageSpan]) -> Float32Array:
    """Values of a film's cells, [T, cells of the whole and then of its crops], as maps on the film.

    float32 [T, rows, columns] of `film_grid`. What a crop's cells have is put where the crop was, in addition to what
    the whole film's have there; each cell's value is shared out over what it shows, so that sums stay.
    """
    whole, *crops = spans
    if not crops:
        return np.ascontiguousarray(values.reshape(len(values), whole.rows, whole.columns), dtype=np.float32)
    maps, first = np.zeros((len(values), *film_grid(spans))), 0
    for span, (down, across) in zip(spans, _shown(spans), strict=True):
        count = span.rows * span.columns
        cells = values[:, first : first + count].reshape(len(values), span.rows, span.columns)
        maps += down @ cells.astype(np.float64) @ across.T
        first += count
    return np.asarray(maps, dtype=np.float32)


def cell_densities(map_: Float32Array, spans: Sequence[ImageSpan]) -> Float32Array:
    """The mean of a film's map [rows, columns] over what each of its cells shows, float32 [cells, as in film_maps]."""
    means = []
    for down, across in _shown(spans):
        (high, wide) = (side / side.sum(axis=0) for side in (down, across))
        means.append((high.T @ map_.astype(np.float64) @ wide).ravel())
    return np.concatenate(means).astype(np.float32)


def _shown(spans: Sequence[ImageSpan]) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Of each span the share of its rows and of its columns in each row and column of the film's map."""
    rows, columns = film_grid(spans)
    for span in spans:
        top, left, bottom, right = span.part or (0.0, 0.0, 1.0, 1.0)
        yield _shares(span.rows, top, bottom, rows), _shares(span.columns, left, right, columns)


def _shares(count: int, low: float, high: float, target: int) -> npt.NDArray[np.float64]:
    """[target, count]: how much of each of `count` parts of low..high lies in each of `target` parts of 0..1."""
    edges, whole = np.linspace(low, high, count + 1), np.linspace(0.0, 1.0, target + 1)
    inside = np.minimum(whole[1:, None], edges[None, 1:]) - np.maximum(whole[:-1, None], edges[None, :-1])
    return np.asarray(np.maximum(inside, 0.0) / np.diff(edges))
