"""What `compare` answers: does an answer, or the report, hold in other words and on a film slightly changed?

Names and meanings are those of the service's schema (`POST /v1/reports/{id}/sensitivity`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Margin:
    """How firmly the first answer is still given: log p(token) - log p(rival), nats, below 0 where it is left."""

    nats: float
    token: str
    rival: str


@dataclass(frozen=True)
class MapShift:
    """How far one method's map moved.

    bits: Jensen-Shannon divergence of the positive parts, 0 to 1; kept: share of the first map that is still shown;
    None where there is nothing to compare. other_answer: the map belongs to another answer.
    """

    method: str
    bits: float | None
    kept: float | None
    other_answer: bool


@dataclass(frozen=True)
class Variant:
    """The question in other words ("paraphrase"), or on a changed film (its name)."""

    name: str
    question: str
    answer: str
    changed: bool
    margin: Margin
    margin_change: float
    shifts: tuple[MapShift, ...]


@dataclass(frozen=True)
class Comparison:
    """A question on a film, and all its variants; consistency: share of paraphrases with the same answer."""

    film_sha256: str
    model_id: str
    model_revision: str
    seed: int
    max_new_tokens: int
    methods: tuple[str, ...]
    perturbations: tuple[str, ...]
    kind: str
    question: str
    answer: str
    yes_no: bool
    margin: Margin
    consistency: float | None
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class Said:
    """What a report says of a finding that it affirms or hedges."""

    status: str
    side: str | None
    zones: tuple[str, ...]


@dataclass(frozen=True)
class FindingChange:
    """One finding in both reports; change: same, moved, hedged, affirmed, gone or new."""

    name: str
    before: Said | None
    after: Said | None
    change: str
    logprob_change: float | None
    shifts: tuple[MapShift, ...]


@dataclass(frozen=True)
class ReportVariant:
    """The report of one changed film; changed: a finding has."""

    name: str
    report: str
    changed: bool
    findings: tuple[FindingChange, ...]


@dataclass(frozen=True)
class ReportComparison:
    """A film's report, and those of the changed films."""

    film_sha256: str
    model_id: str
    model_revision: str
    seed: int
    max_new_tokens: int
    methods: tuple[str, ...]
    perturbations: tuple[str, ...]
    kind: str
    prompt: str
    report: str
    variants: tuple[ReportVariant, ...]
