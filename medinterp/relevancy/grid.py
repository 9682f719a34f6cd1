"""From a row of image cells to the grid of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.errors import MethodError
from medinterp.types import AttentionTrace, Float32Array, ImageSpan


def image_cells(trace: AttentionTrace) -> npt.NDArray[np.intp]:
    """Positions of all images' cells in the sequence, in the order of the trace's rows."""
    return np.concatenate([np.arange(span.start, span.stop) for span in trace.image_spans])


def to_grid(values: npt.NDArray[np.floating[Any]], spans: Sequence[ImageSpan], image: int = 0) -> Float32Array:
    """[T, cells of all images] -> float32 [T, rows, columns] of one image.

    Raises MethodError when there is no such image.
    """
    if not 0 <= image < len(spans):
        raise MethodError(f"the prompt has {len(spans)} image(s); there is no image {image}")
    span = spans[image]
    first = sum(s.stop - s.start for s in spans[:image])
    cells = values[:, first : first + span.rows * span.columns]
    return np.ascontiguousarray(cells.reshape(len(values), span.rows, span.columns), dtype=np.float32)
