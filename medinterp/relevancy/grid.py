"""From a row of image cells to the grid of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.errors import MethodError
from medinterp.imaging.geometry import film_maps
from medinterp.types import AttentionTrace, Float32Array, ImageSpan, spans_by_film


def image_cells(trace: AttentionTrace) -> npt.NDArray[np.intp]:
    """Positions of all images' cells in the sequence, in the order of the trace's rows."""
    return np.concatenate([np.arange(span.start, span.stop) for span in trace.image_spans])


def to_grid(values: npt.NDArray[np.floating[Any]], spans: Sequence[ImageSpan], image: int = 0) -> Float32Array:
    """[T, cells of all images] -> float32 [T, rows, columns] of one film, its crops put back where they were.

    Raises MethodError when there is no such film.
    """
    films = spans_by_film(spans)
    if not 0 <= image < len(films):
        raise MethodError(f"the prompt has {len(films)} image(s); there is no image {image}")
    first = sum(span.stop - span.start for film in films[:image] for span in film)
    cells = sum(span.stop - span.start for span in films[image])
    return film_maps(values[:, first : first + cells], films[image])
