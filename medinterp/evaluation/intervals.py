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


def bootstrap_rate(
    by_film: Sequence[Sequence[float]], rng: np.random.Generator, draws: int = 1000
) -> dict[str, float | None]:
    """`bootstrap_mean` of values that are 0 or 1.

    Where all are alike no draw differs: the other end of the interval is then the exact one (Clopper & Pearson 1934) of
    one value a film, the rate at which so many films agree once in forty times.
    """
    found = bootstrap_mean(by_film, rng, draws)
    other = 0.025 ** (1 / max(1, sum(map(bool, by_film))))
    if found["value"] == 1.0:
        found["low"] = round(other, 4)
    elif found["value"] == 0.0:
        found["high"] = round(1 - other, 4)
    return found


def hierarchical_mean(
    by_model: Sequence[Sequence[Sequence[float]]], rng: np.random.Generator, draws: int = 1000
) -> dict[str, float | None]:
    """{"value", "low", "high"}: mean over all values and its 95 % interval, by models, films and their values.

    by_model: for each model, for each film, its values. Models are drawn with replacement, and for each of them its
    films with all their values; with one model only films vary. None where there is nothing to average.
    """
    kept = [[values for values in films if values] for films in by_model]
    kept = [films for films in kept if films]
    if not kept:
        return {"value": None, "low": None, "high": None}
    sums = [np.array([sum(values) for values in films]) for films in kept]
    counts = [np.array([len(values) for values in films]) for films in kept]
    means = np.empty(draws)
    for draw in range(draws):
        total, number = 0.0, 0
        for model in rng.integers(len(kept), size=len(kept)):
            films = rng.integers(len(sums[model]), size=len(sums[model]))
            total += float(sums[model][films].sum())
            number += int(counts[model][films].sum())
        means[draw] = total / number
    low, high = np.percentile(means, [2.5, 97.5])
    value = sum(float(s.sum()) for s in sums) / sum(int(c.sum()) for c in counts)
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}
