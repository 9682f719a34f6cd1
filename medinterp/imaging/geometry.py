"""Between grid cells and the film's pixels.

Whatever shape an image processor gives a film, all of it is seen and nothing else, so cell (r, c) of a rows x columns
grid is the film's rectangle [c/columns W, (c+1)/columns W) x
[r/rows H, (r+1)/rows H). Coordinates are continuous: pixel i covers [i, i + 1).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.errors import SelectionError
from medinterp.types import Float32Array

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
