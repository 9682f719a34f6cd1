"""Zones of the lungs that a model does not look at, or where it finds nothing.

Where reports were given: how often the sentence that first names a finding in a zone has a word that the model would
hardly have written, against all other zones. Where the model wrote them: how often it names a finding in a zone,
against the same zone of the other side (a film's sides are alike on the whole; the heart is not: lower zones differ by
nature, and are told with that). And in both: the share of such findings' evidence that lies in their own zone. q-values
over all looks (Benjamini & Hochberg 1995); intervals over patients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medinterp.audit.analysis.draws import Draws, Estimate, benjamini_hochberg
from medinterp.audit.analysis.evidence import ZONES, Evidence
from medinterp.audit.analysis.shortcuts import FALSE_DISCOVERIES, FEWEST
from medinterp.types import BoolArray

RATIO = 0.5
"""Of the rate in the other side's zone, or of the share of evidence elsewhere, from which on downwards it is told."""


@dataclass(frozen=True, eq=False)
class Zone:
    """One zone.

    mentions: first mentions of findings in it; missed: share of them that the model would hardly have written,
    missed_else that in all other zones (None where the model wrote); mirrored: first mentions in the other side's zone;
    looked: share of such findings' evidence in it, looked_else the same of other zones' findings in theirs; q: q-values
    of not found and not looked at; films: rows of Films, those first that miss most.
    """

    side: str
    zone: str
    mentions: int
    mirrored: int
    missed: Estimate | None
    missed_else: Estimate | None
    looked: Estimate | None
    looked_else: Estimate | None
    found_q: float
    looked_q: float
    films: list[int]

    @property
    def not_found(self) -> bool:
        """Whether findings in it are missed more than elsewhere, or named less than on the other side."""
        if self.found_q > FALSE_DISCOVERIES:
            return False
        if self.missed is not None and self.missed_else is not None:
            return self.missed.value > self.missed_else.value
        return self.mentions < RATIO * self.mirrored

    @property
    def not_looked_at(self) -> bool:
        """Whether the evidence of findings in it lies elsewhere, more than that of other zones' findings does."""
        if self.looked is None or self.looked_else is None or self.looked_q > FALSE_DISCOVERIES:
            return False
        return self.looked.value < RATIO * self.looked_else.value

    @property
    def stands(self) -> bool:
        return self.not_found or self.not_looked_at


def blind_spots(evidence: Evidence, draws: Draws, *, given: bool) -> list[Zone]:
    """Every zone, the blindest first: not found, then not looked at, then by how much."""
    mentions = evidence.mentions
    first = first_mentions(evidence)
    counts = [int((first & (mentions.zone == k)).sum()) for k in range(len(ZONES))]
    zones, p_values = [], []
    for k in range(len(ZONES)):
        zone, found_p, looked_p = _zone(evidence, draws, k, first, counts, given)
        zones.append(zone)
        p_values += [found_p, looked_p]
    q = benjamini_hochberg(p_values)
    told = [
        replace(zone, found_q=float(q[2 * k]), looked_q=float(q[2 * k + 1])) for k, zone in enumerate(zones)
    ]
    return sorted(told, key=lambda zone: (not zone.not_found, not zone.not_looked_at, -_lack(zone)))


def first_mentions(evidence: Evidence) -> BoolArray:
    """Affirmed mentions with a zone, the first of each finding there in each report: an impression repeats."""
    mentions = evidence.mentions
    with_zone = np.flatnonzero(mentions.affirmed & (mentions.zone >= 0))
    ordered = with_zone[np.argsort(mentions.sentence[with_zone], kind="stable")]
    key = (mentions.film.astype(np.int64) << 16 | mentions.finding.astype(np.int64) << 4 | mentions.zone)[ordered]
    first = np.zeros(len(mentions), dtype=bool)
    first[ordered[np.unique(key, return_index=True)[1]]] = True
    return first


def _zone(
    evidence: Evidence, draws: Draws, k: int, first: BoolArray, counts: list[int], given: bool
) -> tuple[Zone, float, float]:
    """A zone, and the p-values of its findings found and looked at."""
    mentions, patient = evidence.mentions, evidence.films.patient
    inside, outside = first & (mentions.zone == k), first & (mentions.zone != k)
    side, name = ZONES[k]
    mirror = counts[ZONES.index(("left" if side == "right" else "right", name))]
    missed = missed_else = looked = looked_else = None
    found_p = looked_p = 1.0
    enough = all(len(np.unique(patient[mentions.film[rows]])) >= FEWEST for rows in (inside, outside))
    if given and enough:
        missed, missed_else = (
            draws.rate(patient[mentions.film[rows]], ~mentions.written[rows]) for rows in (inside, outside)
        )
        found_p = missed.less(missed_else).p_value()
    elif not given:
        found_p = _sign_test(counts[k], mirror)
    in_own = np.where(mentions.zone >= 0, mentions.zones[np.arange(len(mentions)), mentions.zone], np.nan)
    seen = np.isfinite(in_own)
    if enough and (inside & seen).any():
        looked, looked_else = (
            draws.ratio(patient[mentions.film[rows & seen]], in_own[rows & seen]) for rows in (inside, outside)
        )
        looked_p = looked.less(looked_else).p_value()
    order = np.flatnonzero(inside)
    order = order[np.lexsort((in_own[order], mentions.written[order]))]
    films = list(dict.fromkeys(mentions.film[order].tolist()))
    zone = Zone(side, name, counts[k], mirror, missed, missed_else, looked, looked_else, 1.0, 1.0, films)
    return zone, found_p, looked_p


def _sign_test(one: int, other: int) -> float:
    """How often one of two equally likely sides has so few or so many, on both sides, by the normal law."""
    total = one + other
    return 1.0 if total < 2 * FEWEST else math.erfc(abs(one - other) / math.sqrt(total) / math.sqrt(2.0))


def _lack(zone: Zone) -> float:
    if zone.missed is not None and zone.missed_else is not None:
        return zone.missed.value - zone.missed_else.value
    return 1.0 - zone.mentions / max(1, zone.mirrored)


def blind_sentences(evidence: Evidence, zones: list[Zone]) -> npt.NDArray[np.bool_]:
    """Sentences that name a finding in a blind zone: they tell nothing of whether a report fits."""
    mentions = evidence.mentions
    blind = [k for k, place in enumerate(ZONES) if any(place == (z.side, z.zone) and z.stands for z in zones)]
    skipped = np.zeros(int(evidence.words.sentence.max(initial=0)) + 1, dtype=bool)
    skipped[mentions.sentence[mentions.touched[:, blind].any(axis=1)]] = True
    return skipped
