"""Ratios of sums with intervals over patients, and what of many looks is still a finding.

Mentions of one film, and films of one patient, are not independent of each other; patients are. Each draw weighs every
patient by a Poisson number of mean 1, the same in all ratios (the Poisson bootstrap: Hanley & MacGibbon 2006, Computer
Methods and Programs in Biomedicine 83), so that differences of ratios over the same patients keep what they share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
DRAWS = 1000


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number, its 95 % interval, and its draws, float64 [draws] (nan where a draw has no patient of it).

    floor: the least that its standard error can be taken for (see `Draws.rate`).
    """

    value: float
    low: float
    high: float
    draws: Floats
    floor: float = 0.0

    @property
    def error(self) -> float:
        """The standard error, over the draws; nan where there are none."""
        return max(self.floor, float(np.nanstd(self.draws))) if np.isfinite(self.draws).any() else math.nan

    def less(self, other: Estimate) -> Estimate:
        """This less the other, with its own interval."""
        less = _estimate(self.value - other.value, self.draws - other.draws)
        return replace(less, floor=math.hypot(self.floor, other.floor))

    def p_value(self) -> float:
        """How often a value of 0 would be seen so far off, on both sides, by the normal law; 1 where nothing varies."""
        error = self.error
        return 1.0 if not error > 0 else math.erfc(abs(self.value) / error / math.sqrt(2.0))

    def corrected(self, looks: int) -> tuple[float, float]:
        """The 95 % interval that holds for all of `looks` looks at once (Bonferroni, by the normal law)."""
        reach = NormalDist().inv_cdf(1.0 - 0.025 / max(1, looks)) * self.error
        return self.value - reach, self.value + reach


class Draws:
    """The weights of all draws, for as many patients as there are."""

    def __init__(self, patients: int, *, seed: int = 0, draws: int = DRAWS) -> None:
        self.weights = np.random.default_rng(seed).poisson(1.0, (draws, patients)).astype(np.float32)

    def sums(self, patient: npt.NDArray[np.integer], rows: npt.NDArray[np.floating]) -> Floats:
        """Sums over rows [n, columns], each row of a patient (index): float64 [1 + draws, columns], the first as it
        is."""
        table = np.zeros((self.weights.shape[1], rows.shape[1]), dtype=np.float32)
        np.add.at(table, np.asarray(patient), rows.astype(np.float32))
        return np.concatenate([table.sum(axis=0, dtype=np.float64)[None], (self.weights @ table).astype(np.float64)])

    def ratio(self, patient: npt.NDArray[np.integer], top: npt.ArrayLike, bottom: npt.ArrayLike = 1.0) -> Estimate:
        """sum(top) / sum(bottom) over rows, each of a patient (index); by default the mean of top."""
        shape = np.asarray(patient).shape
        rows = np.stack([np.broadcast_to(np.asarray(part, dtype=np.float64), shape) for part in (top, bottom)], axis=1)
        return ratio_of(*self.sums(patient, rows).T)


    def rate(self, patient: npt.NDArray[np.integer], hits: npt.NDArray[np.bool_]) -> Estimate:
        """The share of rows that are hits. Where all are alike no draw differs from another.

        The other end of the interval is then the exact one of as many patients (Clopper & Pearson 1934), and the
        standard error is never less than that of Agresti & Coull (1998), (x + 2) / (n + 4), over patients.
        """
        found, patients = self.ratio(patient, hits), len(np.unique(patient))
        near = (found.value * patients + 2.0) / (patients + 4.0)
        other = 0.025 ** (1.0 / max(1, patients))
        return replace(
            found,
            low=other if found.value == 1.0 else found.low,
            high=1.0 - other if found.value == 0.0 else found.high,
            floor=math.sqrt(near * (1.0 - near) / (patients + 4.0)) if patients else 0.0,
        )


def ratio_of(top: Floats, bottom: Floats) -> Estimate:
    """The ratio of two columns of `Draws.sums`; nan where there is nothing below the line."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(bottom > 0, top / bottom, np.nan)
    return _estimate(float(found[0]), found[1:])


def _estimate(value: float, draws: Floats) -> Estimate:
    if not np.isfinite(draws).any():
        return Estimate(value, math.nan, math.nan, draws)
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return Estimate(value, float(low), float(high), draws)


def benjamini_hochberg(p_values: npt.ArrayLike) -> Floats:
    """The q-value of each p-value: the share of false ones among those that are as small (Benjamini & Hochberg
    1995)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty_like(p)
    q[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return q
