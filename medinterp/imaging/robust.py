"""Limits of gray where a file names none: of the values in the middle of the film, without what stands far off."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.imaging.picture import FAINT, middle
from medinterp.types import FilmWarning

Doubles = npt.NDArray[np.float64]
PERCENTILES = (0.5, 99.5)
REACH = 0.5
"""Of the span between the percentiles: values further outside it stand far off (a marker, a broken pixel)."""


def robust_limits(seen: Doubles, counts: npt.NDArray[np.int64], body: npt.NDArray[np.int64]) -> tuple[float, float]:
    """The values that become black and white: the smallest and largest that do not stand far off.

    seen: float64 [K], ascending, the values on the film; counts: how often each, on the whole film; body: the same
    in its middle, where the limits are taken.
    """
    used = seen[counts > 0]
    shares = np.cumsum(body) / max(int(body.sum()), 1)
    low, high = (float(seen[np.searchsorted(shares, percentile / 100.0)]) for percentile in PERCENTILES)
    reach = REACH * (high - low)
    if reach == 0.0:
        return float(used[0]), float(used[-1])
    kept = used[(used >= low - reach) & (used <= high + reach)]
    return float(kept[0]), float(kept[-1])


def full_range(
    pixels: npt.NDArray[np.uint16], kind: str, notes: list[str], warnings: list[FilmWarning]
) -> npt.NDArray[np.uint16]:
    """A 16-bit picture as it is, or where it is faint or dark stretched to its own robust limits, with a warning."""
    inner = middle(pixels)
    low, high = (float(value) for value in np.percentile(inner, (2, 98)))
    if (high - low) * 255.0 / 65535.0 >= FAINT or high == low:
        return pixels
    values = np.arange(65536, dtype=np.float64)
    counts = np.bincount(pixels.ravel(), minlength=65536)
    black, white = robust_limits(values, counts, np.bincount(inner.ravel(), minlength=65536))
    told = f"The 16-bit {kind} has little contrast: stretched, {black:,.0f} is black and {white:,.0f} white."
    warnings.append(FilmWarning("stretched", told))
    notes.append(f"stretched: {black:.0f} is black, {white:.0f} white")
    table = np.rint(np.clip((values - black) / (white - black), 0.0, 1.0) * 65535.0).astype(np.uint16)
    stretched: npt.NDArray[Any] = np.take(table, pixels)
    return stretched
