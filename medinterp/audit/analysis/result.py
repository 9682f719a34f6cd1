"""All that is read out of an audit, in the order in which it is told."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

from medinterp.audit.analysis.blind import Zone, blind_sentences, blind_spots
from medinterp.audit.analysis.draws import Draws, Estimate
from medinterp.audit.analysis.evidence import Evidence, read_evidence
from medinterp.audit.analysis.films import read_films
from medinterp.audit.analysis.misfits import Misfits, misfits
from medinterp.audit.analysis.shortcuts import Look, Looks, differences, shortcuts
from medinterp.audit.analysis.summary import Summary, summaries
from medinterp.audit.tables import Audit


@dataclass(frozen=True, eq=False)
class Analysis:
    """shortcuts, differences: all looks, those that stand first; zones: the blindest first; misfits: None where the
    model wrote the reports; failures: rows of the table."""

    evidence: Evidence
    summaries: list[Summary]
    shortcuts: list[Look]
    differences: list[Look]
    zones: list[Zone]
    misfits: Misfits | None
    failures: list[dict[str, Any]]

    @property
    def found(self) -> list[Look]:
        """The shortcuts that hold: of each finding and place the groups of films where it is strongest."""
        first: dict[tuple[str, str], Look] = {}
        for look in self.shortcuts:
            if look.drives and look.excess.value > 0:
                first.setdefault((look.finding, look.place), look)
        return list(first.values())

    @property
    def shown(self) -> list[int]:
        """Rows of the films that stand behind what was found, those first that tell most, in turn from each."""
        told = [look.films for look in self.found] + [zone.films for zone in self.blind]
        told += [] if self.misfits is None else [self.misfits.films]
        in_turn = itertools.chain.from_iterable(itertools.zip_longest(*told))
        return list(dict.fromkeys(film for film in in_turn if film is not None))

    @property
    def blind(self) -> list[Zone]:
        return [zone for zone in self.zones if zone.stands]


def analyse(audit: Audit, method: str | None = None, *, seed: int = 0) -> Analysis:
    """Read an audit's tables; method: whose maps are the evidence, by default the audit's first.

    Raises SelectionError for a method that there are no maps by, or where no word names a finding.
    """
    evidence = read_evidence(audit, read_films(audit), method)
    given = bool(audit.manifest["given_reports"])
    draws = Draws(evidence.films.patients, seed=seed)
    looks = Looks(evidence, draws)
    zones = blind_spots(evidence, draws, given=given)
    return Analysis(
        evidence=evidence,
        summaries=summaries(evidence, draws),
        shortcuts=shortcuts(looks),
        differences=differences(looks),
        zones=zones,
        misfits=misfits(evidence, blind_sentences(evidence, zones)) if given else None,
        failures=audit.failures().to_pylist(),
    )


def told(analysis: Analysis) -> dict[str, Any]:
    """The numbers as JSON: what `analysis.json` holds beside the page. Films by their ids."""
    ids = analysis.evidence.films.ids

    def look(one: Look) -> dict[str, Any]:
        return {
            "finding": one.finding,
            "place": one.place,
            "column": one.column,
            "group": one.group,
            "share": interval(one.value),
            "compared_with": interval(one.other),
            "excess": interval(one.excess),
            "elsewhere": interval(one.elsewhere),
            "q": one.q,
            "mentions": one.mentions,
            "films": len(one.films),
        }

    return {
        "method": analysis.evidence.method,
        "shortcuts": [look(one) for one in analysis.found],
        "looks": len(analysis.shortcuts),
        "blind_spots": [
            {
                "side": zone.side,
                "zone": zone.zone,
                "mentions": zone.mentions,
                "mentions_mirrored": zone.mirrored,
                "missed": interval(zone.missed),
                "missed_elsewhere": interval(zone.missed_else),
                "looked_at": interval(zone.looked),
                "looked_at_elsewhere": interval(zone.looked_else),
                "found_q": zone.found_q,
                "looked_q": zone.looked_q,
            }
            for zone in analysis.blind
        ],
        "misfits": None
        if analysis.misfits is None
        else {
            "fence": round(analysis.misfits.fence, 3),
            "films": [
                {"film_id": ids[film], "score": round(float(analysis.misfits.score[film]), 3)}
                for film in analysis.misfits.films
            ],
        },
        "failures": [row["film_id"] for row in analysis.failures],
        "differences": [look(one) for one in analysis.differences if one.stands],
        "findings": [
            {
                "finding": one.finding,
                "affirmed": one.affirmed,
                "denied": one.denied,
                "films": one.films,
                "true": one.true,
                "false": one.false,
                "missed": one.missed,
                "not_driven_by_the_picture": interval(one.text),
                "unlikely": interval(one.unlikely),
                "places": {place: interval(share) for place, share in one.places.items()},
            }
            for one in analysis.summaries
        ],
    }


def interval(estimate: Estimate | None) -> dict[str, float | None] | None:
    """{"value", "low", "high"}, None for what there is nothing of."""
    if estimate is None:
        return None
    numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: round(number, 4) if math.isfinite(number) else None for name, number in numbers.items()}
