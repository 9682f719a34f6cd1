"""What a sensitivity run answers: plain values, convertible by `dataclasses.asdict`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

PARAPHRASE = "paraphrase"
"""Variant.name of a question in other words; the other names are those of `medinterp.imaging.perturb`."""


@dataclass(frozen=True)
class Margin:
    """How firmly a variant still gives the first question's answer.

    nats: log p(token) - log p(rival) at the first token of that answer where it is below 0, that is where the model
    leaves it; where there is none, at the token where it is smallest. Above 0 the model writes the answer again, below
    0 it does not. token: the text of that token; rival: the likeliest other one there. "(end)": the answer's end.
    """

    nats: float
    token: str
    rival: str


@dataclass(frozen=True)
class MapShift:
    """How far one method's map moved.

    bits: Jensen-Shannon divergence (0..1) of the two maps' positive parts, each normalised over the cells; None where
    one of them has no positive part, or nothing was written. The variant's map is moved back to the film as it was,
    and the first one there and back, so that a map that went with the picture has not moved. kept: the share (0..1)
    of the first map that lies on what the changed film still shows, None with bits; 1 but for a crop. other_answer:
    the variant's map belongs to another answer, so that the shift says little of the map.
    """

    method: str
    bits: float | None
    kept: float | None
    other_answer: bool


@dataclass(frozen=True)
class Variant:
    """One question in other words, or one changed film, against the first question on the film.

    name: "paraphrase" or the perturbation's; question, answer: as asked and as written (on a mirrored film with its
    own left and right); changed: whether the answer is another one (see `answers.same_answer`); margin_change: in
    nats, against the first question's margin.
    """

    name: str
    question: str
    answer: str
    changed: bool
    margin: Margin
    margin_change: float
    shifts: tuple[MapShift, ...]


@dataclass(frozen=True)
class Comparison:
    """A question on a film, and all its variants.

    yes_no: the answer says yes or no; consistency: the share of paraphrases with the same answer, None without one.
    methods, perturbations: what was asked for, in order; max_new_tokens: where an answer was cut off.
    """

    film_sha256: str
    model_id: str
    model_revision: str
    seed: int
    max_new_tokens: int
    methods: tuple[str, ...]
    perturbations: tuple[str, ...]
    question: str
    answer: str
    yes_no: bool
    margin: Margin
    consistency: float | None
    variants: tuple[Variant, ...]


Change = Literal["same", "moved", "hedged", "affirmed", "gone", "new"]


@dataclass(frozen=True)
class Said:
    """What a report says of a finding that it affirms ("present") or hedges ("uncertain")."""

    status: Literal["present", "uncertain"]
    side: str | None
    zones: tuple[str, ...]


@dataclass(frozen=True)
class FindingChange:
    """One finding in the report of the film and of the changed film.

    before, after: what each says of it, None where it neither affirms nor hedges it (after: on the film as it was, so
    sides of a mirrored film are exchanged back). change: "moved" is another side or other zones, whatever the status;
    at the same place "hedged" is present and then uncertain, "affirmed" the other way round. logprob_change: how much
    the words that name it in the first report lose or gain, teacher-forced on the changed film, nats; None for a new
    finding and on a mirrored film, whose report has other words before them. shifts: of the words' maps, empty unless
    both reports have the finding.
    """

    name: str
    before: Said | None
    after: Said | None
    change: Change
    logprob_change: float | None
    shifts: tuple[MapShift, ...]


@dataclass(frozen=True)
class ReportVariant:
    """The report of one changed film; changed: whether any finding did."""

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
    prompt: str
    report: str
    variants: tuple[ReportVariant, ...]


def comparison_from(entries: Mapping[str, Any]) -> Comparison:
    """A Comparison from what `asdict` made of it, JSON in between or not."""
    variants = tuple(
        Variant(
            **{
                **one,
                "margin": Margin(**one["margin"]),
                "shifts": tuple(MapShift(**shift) for shift in one["shifts"]),
            }
        )
        for one in entries["variants"]
    )
    listed = {name: tuple(entries[name]) for name in ("methods", "perturbations")}
    return Comparison(**{**entries, **listed, "margin": Margin(**entries["margin"]), "variants": variants})
