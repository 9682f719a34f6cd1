"""Each finding on one line: how often it is told, right and wrong by the labels, and what was not the picture's
doing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medinterp.audit.analysis.draws import Draws, Estimate
from medinterp.audit.analysis.evidence import PLACES, Evidence
from medinterp.types import BoolArray, Float32Array

TEXT_NATS = float(np.log(2.0))
"""What a word loses with another film below which the picture did not drive it (`faithfulness.RELIANCE_NATS`)."""


@dataclass(frozen=True, eq=False)
class Summary:
    """One finding.

    affirmed, denied: mentions; films: with an affirmed one; true, false: films with an affirmed mention whose labels
    have the finding, or have it not; missed: films whose labels have it without an affirmed mention; None without
    labels. text: share of affirmed mentions that the picture did not drive, None where reliance was not asked for;
    unlikely: share of affirmed mentions whose sentence the model would hardly have written; places: share of their
    evidence at each of PLACES.
    """

    finding: str
    affirmed: int
    denied: int
    films: int
    true: int | None
    false: int | None
    missed: int | None
    text: Estimate | None
    unlikely: Estimate
    places: dict[str, Estimate]


def summaries(evidence: Evidence, draws: Draws) -> list[Summary]:
    """Every finding that is affirmed at least once, the commonest first."""
    mentions, films = evidence.mentions, evidence.films
    told = []
    for k, finding in enumerate(evidence.mentions.findings):
        mine = mentions.finding == k
        affirmed = mine & mentions.affirmed
        if not affirmed.any():
            continue
        said = set(mentions.film[affirmed].tolist())
        labelled = {film: finding in label for film, label in enumerate(films.labels) if label is not None}
        has = {film for film, one in labelled.items() if one}

        def mean(rows: BoolArray, values: Float32Array) -> Estimate:
            return draws.ratio(films.patient[mentions.film[rows]], values[rows])

        def rate(rows: BoolArray, hits: BoolArray) -> Estimate:
            return draws.rate(films.patient[mentions.film[rows]], hits[rows])

        asked = affirmed & np.isfinite(mentions.reliance)
        seen = affirmed & np.isfinite(mentions.places[:, 0])
        told.append(
            Summary(
                finding=finding,
                affirmed=int(affirmed.sum()),
                denied=int((mine & ~mentions.affirmed).sum()),
                films=len(said),
                true=len(said & has) if labelled else None,
                false=len((said & set(labelled)) - has) if labelled else None,
                missed=len(has - said) if labelled else None,
                text=rate(asked, mentions.reliance < TEXT_NATS) if asked.any() else None,
                unlikely=rate(affirmed, ~mentions.written),
                places={place: mean(seen, mentions.places[:, at]) for at, place in enumerate(PLACES)},
            )
        )
    return sorted(told, key=lambda one: -one.films)
