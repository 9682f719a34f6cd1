"""The schema of `POST /v1/reports/{id}/text`, `.../heads` and `.../reliance`: what drove words beside their map."""

from __future__ import annotations

from pydantic import Field

from medinterp.api.arrays import Array
from medinterp.api.schema import Model


class SelectingModel(Model):
    """Some words of the report: `words` (FIRST-LAST, both included) or `finding`."""

    words: str | None = Field(default=None, description="FIRST-LAST, both included, e.g. 3-7.")
    finding: int | None = Field(default=None, ge=0, description="The index of a finding.")


class HeadsAskingModel(SelectingModel):
    """Some words of the report, and the film that is looked at."""

    image: int = Field(default=0, ge=0, description="Which of the prompt's images; 0 is the film.")


class SourceModel(Model):
    """What a part of what the model had read weighed in the words."""

    attention: float = Field(description="Mean over layers, heads and tokens of the attention on it, 0 to 1.")
    gradient: float = Field(
        description="Gradient x input: its embedding times the slope of log p by it, nats, signed. Near 0 throughout "
        "where the model is sure: compare within one answer."
    )


class FirstTokenModel(Model):
    """The first token collects attention that says nothing (a sink)."""

    attention: float


class PromptWordModel(SourceModel):
    """A word of the prompt."""

    start: int = Field(description="Code points of `provenance.prompt`.")
    end: int
    text: str


class ReportWordModel(SourceModel):
    """A word of the report that stood there already, wholly or in part."""

    index: int = Field(description="Of `report.words`.")


class TextSourcesModel(Model):
    """What of film, prompt and report so far drove the words.

    The attentions of `film`, `first_token`, `template`, `punctuation`, `prompt` and `report` add up to 1.
    """

    id: str
    token_indices: tuple[int, ...]
    logprob: float = Field(description="Of the words as they were written, nats.")
    film: SourceModel = Field(description="All films together.")
    images: tuple[SourceModel, ...] = Field(description="Each film by itself.")
    first_token: FirstTokenModel
    template: SourceModel = Field(
        description="Control tokens and what the chat template writes; its gradient holds the first token's."
    )
    punctuation: SourceModel = Field(description="What stands between the words of prompt and report: stops, colons.")
    prompt: tuple[PromptWordModel, ...]
    report: tuple[ReportWordModel, ...] = Field(description="Words before the end of the selection.")


class HeadsModel(Model):
    """Where each head of each layer looked on the film; multiply `maps` by `scale`."""

    id: str
    token_indices: tuple[int, ...]
    image: int
    rows: int
    columns: int
    layer_types: tuple[str, ...] = Field(description="full_attention or sliding_attention, layer by layer.")
    sliding_window: int | None
    mass: Array = Field(description="float32 [layers, heads], attention on the whole film, 0 to 1.")
    maps: Array = Field(description="float16 [layers, heads, rows, columns], of which the largest is 1.")
    scale: float = Field(description="The largest attention on one cell.")
    range: tuple[float, float] = Field(description="One scale for all heads: 0, and the largest attention.")


class RelianceAskingModel(Model):
    """Nothing: every word is asked about."""


class RelianceWordModel(Model):
    """What one word loses when another film stands in the film's place."""

    index: int = Field(description="Of `report.words`.")
    logprob: float = Field(description="As it was written, nats.")
    reliance: float = Field(description="The largest loss with another film, nats.")
    blank_drop: float = Field(description="What it loses when the film is blank, nats.")
    swap_drops: tuple[float, ...] = Field(description="What it loses with each of some other films, nats.")


class RelianceModel(Model):
    """What every word loses when another film stands in the film's place."""

    id: str
    films: int = Field(description="How many other films there were, the blank one not counted.")
    words: tuple[RelianceWordModel, ...] = Field(description="Without words that no token wrote.")


class RelianceRecord(Model):
    """medinterp.types.Reliance, in the store."""

    fills: tuple[str, ...]
    logprob: Array
    blank_drop: Array
    swap_drops: Array
    reliance: Array


class TextSourcesRecord(Model):
    """medinterp.types.TextSources, in the store."""

    token_indices: tuple[int, ...]
    logprob: float
    film_attention: tuple[float, ...]
    film_gradient: tuple[float, ...]
    first_token_attention: float
    template_attention: float
    template_gradient: float
    punctuation_attention: float
    punctuation_gradient: float
    prompt_spans: tuple[tuple[int, int], ...]
    prompt_attention: Array
    prompt_gradient: Array
    report_attention: Array
    report_gradient: Array
