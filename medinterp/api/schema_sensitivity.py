"""The schema of `POST /v1/reports/{id}/sensitivity`: what is asked, and both kinds of answer.

Field names are those of medinterp.evaluation.sensitivity.results, as those of the rest of the schema are the types'.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from medinterp.api.schema import Model

MAX_QUESTIONS = 16


class ComparingModel(Model):
    """A question and its paraphrases, or the whole report; by which methods, and on which changed films."""

    questions: tuple[str, ...] = Field(
        default=(),
        max_length=MAX_QUESTIONS,
        description="The question, then its paraphrases; none: the whole report is compared.",
    )
    methods: tuple[str, ...] | None = Field(
        default=None, description="Whose maps are compared; the report's first method by default, [] for no maps."
    )
    perturbations: tuple[str, ...] | None = Field(
        default=None, description="Names from `/v1/perturbations`; all by default, [] for none."
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Of what is drawn at random in a changed film.")


class MarginModel(Model):
    """How firmly the first answer is still given, at the token where it is left or is nearest to it."""

    nats: float = Field(description="log p(token) - log p(rival); below 0 the model answers otherwise.")
    token: str
    rival: str


class MapShiftModel(Model):
    """How far one method's map moved."""

    method: str
    bits: float | None = Field(
        description="Jensen-Shannon divergence of the maps' positive parts, 0 to 1; null where one of them has none."
    )
    kept: float | None = Field(description="Share of the first map that the changed film still shows.")
    other_answer: bool = Field(description="The map belongs to another answer: the shift says little of the map.")


class VariantModel(Model):
    """The question in other words, or on a changed film, against the first one."""

    name: str = Field(description='"paraphrase" or the perturbation\'s name.')
    question: str
    answer: str = Field(description="As it was written: of a mirrored film with the sides of the mirrored film.")
    changed: bool = Field(description="The answer is another one.")
    margin: MarginModel
    margin_change: float = Field(description="Against the first question's margin, nats.")
    shifts: tuple[MapShiftModel, ...]


class ComparedModel(Model):
    """What both kinds of answer say of how they came about."""

    film_sha256: str
    model_id: str
    model_revision: str
    seed: int
    max_new_tokens: int
    methods: tuple[str, ...]
    perturbations: tuple[str, ...]


class ComparisonModel(ComparedModel):
    """A question on a film, and all its variants."""

    kind: Literal["question"] = "question"
    question: str
    answer: str
    yes_no: bool
    margin: MarginModel
    consistency: float | None = Field(description="Share of paraphrases with the same answer; null without one.")
    variants: tuple[VariantModel, ...]


class SaidModel(Model):
    """What a report says of a finding that it affirms or hedges."""

    status: Literal["present", "uncertain"]
    side: str | None
    zones: tuple[str, ...]


class FindingChangeModel(Model):
    """One finding in the report of the film and of the changed film."""

    name: str
    before: SaidModel | None = Field(description="Null where the report neither affirms nor hedges it.")
    after: SaidModel | None = Field(description="The same on the changed film, a mirrored one's sides exchanged back.")
    change: Literal["same", "moved", "hedged", "affirmed", "gone", "new"] = Field(
        description="`moved`: to another place; at the same place `hedged`: no longer certain, `affirmed`: now certain."
    )
    logprob_change: float | None = Field(
        description="What the words that name it gain on the changed film, nats; null if new, or mirrored."
    )
    shifts: tuple[MapShiftModel, ...]


class ReportVariantModel(Model):
    """The report of one changed film."""

    name: str
    report: str
    changed: bool = Field(description="A finding has changed.")
    findings: tuple[FindingChangeModel, ...]


class ReportComparisonModel(ComparedModel):
    """A film's report, and those of the changed films."""

    kind: Literal["report"] = "report"
    prompt: str
    report: str
    variants: tuple[ReportVariantModel, ...]


SensitivityModel = Annotated[ComparisonModel | ReportComparisonModel, Field(discriminator="kind")]


class PerturbationModel(Model):
    """A change of a film that should change no reading."""

    name: str
    meaning: str
    mirrors: bool = Field(description="Left and right change places, and are told as they are on the film as it was.")


class PerturbationsModel(Model):
    """Every perturbation that can be asked for."""

    perturbations: tuple[PerturbationModel, ...]
