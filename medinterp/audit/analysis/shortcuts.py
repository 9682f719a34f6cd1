"""Evidence where none can lie, and evidence that differs between groups of films: each look with how many there were.

A shortcut: mentions of a finding, in some group of films, have more of their evidence on markers, outside the body or
at the film's border than the mentions of all other findings have there in the same films' group. A difference: mentions
of a finding have more (or less) evidence at such a place in one group than in all others. Both are differences of
ratios over patients (`draws`), tested against 0; q-values over all looks of their kind (Benjamini & Hochberg 1995).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from medinterp.audit.analysis.draws import Draws, Estimate, Floats, benjamini_hochberg, ratio_of
from medinterp.audit.analysis.evidence import PLACES, Evidence
from medinterp.types import BoolArray

FEWEST = 5
"""Patients with the finding, in and outside of a group, below which nobody looks."""
FALSE_DISCOVERIES = 0.05
SEEN = 0.05
"""Share of a finding's evidence from which on a difference is worth a sentence."""
TIMES = 3.0
"""A finding near the edge of the body has more evidence beyond it than others have: that alone is no shortcut."""


@dataclass(frozen=True, eq=False)
class Look:
    """One look at one finding.

    column, group: of the source, both "" for all films; value: share of the finding's evidence at the place; other:
    that of what it is compared with; excess: the difference; q: its q-value; elsewhere: the same finding's share
    outside the group, None for all films; films: rows of Films, those that the number stands on, the strongest first.
    """

    finding: str
    place: str
    column: str
    group: str
    value: Estimate
    other: Estimate
    excess: Estimate
    elsewhere: Estimate | None
    mentions: int
    films: list[int]
    q: float = 1.0

    @property
    def drives(self) -> bool:
        """Whether it stands, and the finding has at least TIMES the evidence there that others have."""
        return self.stands and self.value.value >= TIMES * self.other.value

    @property
    def stands(self) -> bool:
        """Whether it holds, for as many looks as there were, and is worth a sentence."""
        return self.q <= FALSE_DISCOVERIES and abs(self.excess.value) >= SEEN


@dataclass(frozen=True, eq=False)
class _Group:
    """Some of the films: inside, told: bool [films], those of the group and those whose group is told."""

    column: str
    name: str
    inside: BoolArray
    told: BoolArray


class Looks:
    """All sums that the looks are made of, by finding, group and draw."""

    def __init__(self, evidence: Evidence, draws: Draws) -> None:
        films, mentions = evidence.films, evidence.mentions
        self.evidence = evidence
        self.usable = mentions.affirmed & np.isfinite(mentions.places[:, 0])
        every = np.ones(len(films), dtype=bool)
        self.groups = [_Group("", "", every, every)]
        for column, of_film in films.groups.items():
            told = of_film != ""
            self.groups += [
                _Group(column, str(name), of_film == name, told) for name in sorted(set(of_film[told].tolist()))
            ]
            if not told.all():
                self.groups.append(_Group(column, "", told, told))  # what the others of a column are taken from
        # Of a mention: its share at every place, and 1; a column for each finding and group that it is in.
        rows = np.concatenate([mentions.places, np.ones((len(mentions), 1), dtype=np.float32)], axis=1)
        self.sums = {
            (k, g): draws.sums(films.patient[mentions.film[mine]], rows[mine])
            for k in range(len(mentions.findings))
            for g, group in enumerate(self.groups)
            for mine in [self.usable & (mentions.finding == k) & group.inside[mentions.film]]
        }
        self.everything = [sum(self.sums[k, g] for k in range(len(mentions.findings))) for g in range(len(self.groups))]
        self.patients = {key: self._patients(self.rows(*key)) for key in self.sums}

    def rows(self, finding: int, group: int) -> BoolArray:
        """The mentions of a finding in a group that have evidence."""
        mentions = self.evidence.mentions
        inside = self.groups[group].inside[mentions.film]
        return np.asarray(self.usable & (mentions.finding == finding) & inside)

    def others(self, finding: int, group: int) -> int:
        """How many patients of a group have another finding."""
        inside = self.groups[group].inside[self.evidence.mentions.film]
        return self._patients(self.usable & (self.evidence.mentions.finding != finding) & inside)

    def _patients(self, rows: BoolArray) -> int:
        return len(np.unique(self.evidence.films.patient[self.evidence.mentions.film[rows]]))

    def total(self, group: int) -> int:
        """The group of all films whose group in this one's column is told."""
        column = self.groups[group].column
        return next((g for g, one in enumerate(self.groups) if one.column == column and not one.name), 0)

    def look(self, finding: int, place: int, group: int, other: Floats) -> Look:
        """Compare a finding's share at a place in a group with that of `other`, sums as in `Draws.sums`."""
        mentions, mine = self.evidence.mentions, self.sums[finding, group]
        value, compared = (ratio_of(one[:, place], one[:, -1]) for one in (mine, other))
        outside = self.sums[finding, self.total(group)] - mine
        rows = np.flatnonzero(self.rows(finding, group))
        strongest = rows[np.argsort(-mentions.places[rows, place], kind="stable")]
        has_rest = bool(self.groups[group].column) and outside[0, -1] > 0
        return Look(
            finding=mentions.findings[finding],
            place=PLACES[place],
            column=self.groups[group].column,
            group=self.groups[group].name,
            value=value,
            other=compared,
            excess=value.less(compared),
            elsewhere=ratio_of(outside[:, place], outside[:, -1]) if has_rest else None,
            mentions=len(rows),
            films=list(dict.fromkeys(mentions.film[strongest].tolist())),
        )


def shortcuts(looks: Looks) -> list[Look]:
    """All looks for shortcuts: those that stand first, by the lower end of their excess' interval."""
    found = []
    for (finding, group), mine in looks.sums.items():
        named = looks.groups[group].name or not looks.groups[group].column
        if named and looks.patients[finding, group] >= FEWEST and looks.others(finding, group) >= FEWEST:
            rest = looks.everything[group] - mine
            found += [looks.look(finding, place, group, rest) for place in range(len(PLACES))]
    return sorted(_corrected(found), key=lambda look: (not look.drives, -look.excess.low))


def differences(looks: Looks) -> list[Look]:
    """All looks for groups where a finding's evidence is another: those that stand first, by their size."""
    found = []
    for (finding, group), mine in looks.sums.items():
        if not looks.groups[group].name:
            continue
        total = looks.total(group)
        outside = looks.patients[finding, total] - looks.patients[finding, group]
        if looks.patients[finding, group] >= FEWEST and outside >= FEWEST:
            rest = looks.sums[finding, total] - mine
            found += [looks.look(finding, place, group, rest) for place in range(len(PLACES))]
    return sorted(_corrected(found), key=lambda look: (not look.stands, -abs(look.excess.value)))


def _corrected(looks: list[Look]) -> list[Look]:
    q_values = benjamini_hochberg([look.excess.p_value() for look in looks])
    return [replace(look, q=float(q)) for look, q in zip(looks, q_values, strict=True)]
