"""Means with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def bootstrap_mean(
    by_film: Sequence[Sequence[float]], rng: np.random.Generator, draws: int = 1000
) -> dict[str, float | None]:
    """{"value", "low", "high"}: mean over all values and its 95 % interval, whole films drawn with replacement.

    Words of one film are not independent of each other; films are. None where there is nothing to average.
    """
    if not by_film:
        return {"value": None, "low": None, "high": None}
    sums = np.array([sum(values) for values in by_film])
    counts = np.array([len(values) for values in by_film])
    drawn = rng.integers(len(by_film), size=(draws, len(by_film)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {
        "value": round(float(sums.sum() / counts.sum()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }
