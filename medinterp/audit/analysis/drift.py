"""Two audits side by side: two models on the same films, or two months of one model.

Differences of rates and shares, finding by finding. Patients of both audits are weighed alike in both, so that films
which both have are compared as pairs. Intervals hold for all differences at once (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.audit.analysis.draws import Draws, Estimate
from medinterp.audit.analysis.evidence import PLACES, Evidence
from medinterp.audit.analysis.summary import TEXT_NATS
from medinterp.types import BoolArray


@dataclass(frozen=True, eq=False)
class Drift:
    """What of a finding was measured, in both audits, and the second less the first; low, high: its interval,
    corrected."""

    finding: str
    what: str
    before: Estimate
    after: Estimate
    change: Estimate
    low: float
    high: float

    @property
    def stands(self) -> bool:
        """Whether the corrected interval leaves out 0."""
        return bool(self.low > 0 or self.high < 0)


def drift(before: Evidence, after: Evidence, *, seed: int = 0) -> list[Drift]:
    """All differences, those that stand first, by how many standard errors they are."""
    names = np.unique([*before.films.whose, *after.films.whose])
    draws = Draws(len(names), seed=seed)
    pair = [(one, np.searchsorted(names, one.films.whose)) for one in (before, after)]
    found = []
    for finding in sorted({*before.mentions.findings, *after.mentions.findings}):
        measured = [_measured(evidence, patient, draws, finding) for evidence, patient in pair]
        for what in measured[0]:
            if what in measured[1]:
                one, other = measured[0][what], measured[1][what]
                found.append((finding, what, one, other, other.less(one)))
    looks = len(found)
    told = [Drift(*row, *row[-1].corrected(looks)) for row in found]
    return sorted(told, key=lambda one: (not one.stands, -abs(one.change.value) / max(one.change.error, 1e-12)))


def _measured(
    evidence: Evidence, patient: npt.NDArray[np.integer], draws: Draws, finding: str
) -> dict[str, Estimate]:
    """By name: how often a film has the finding, and of its mentions the shares at each place, unlikely and not
    driven."""
    mentions, films = evidence.mentions, evidence.films
    if finding not in mentions.findings:
        return {"films that have it": draws.rate(patient, np.zeros(len(films), dtype=bool))}
    mine = mentions.affirmed & (mentions.finding == mentions.findings.index(finding))
    has = np.isin(np.arange(len(films)), mentions.film[mine])
    told = {"films that have it": draws.rate(patient, has)}

    def add(what: str, rows: BoolArray, values: npt.NDArray[Any]) -> None:
        if rows.any():
            measure = draws.rate if values.dtype == bool else draws.ratio
            told[what] = measure(patient[mentions.film[rows]], values[rows])

    seen = mine & np.isfinite(mentions.places[:, 0])
    for at, place in enumerate(PLACES):
        add(f"evidence: {place}", seen, mentions.places[:, at])
    add("the model would hardly have written it", mine, ~mentions.written)
    asked = mine & np.isfinite(mentions.reliance)
    add("not driven by the picture", asked, mentions.reliance < TEXT_NATS)
    return told
