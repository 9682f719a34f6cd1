"""The one schema of the HTTP API: what JSON, msgpack and the event stream carry.

Field names are those of medinterp.types, so that a model is made from a dataclass by its attributes.
Character spans count Unicode code points of `report.text`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer

from medinterp.api.arrays import Array
from medinterp.api.schema_base import Model as Model
from medinterp.api.schema_boxes import BoxModel, BoxVerdictModel
from medinterp.types import Conversation, FindingChange, FindingStatus, MentionRole, SentenceReading

Time = Annotated[datetime, PlainSerializer(lambda time: time.isoformat(timespec="seconds"), return_type=str)]
"""A moment in UTC, ISO 8601 text in every encoding."""
Options = dict[str, bool | int | float | str]
"""Options of a method by name."""


class AlternativeModel(Model):
    """A token that could have stood here."""

    text: str
    logprob: float = Field(description="Log-probability, nats.")


class TokenModel(Model):
    """One token of the report."""

    index: int
    token_id: int
    start: int
    end: int
    logprob: float = Field(description="Log-probability where it stands, nats.")
    alternatives: tuple[AlternativeModel, ...] = ()


class WordModel(Model):
    """A run of characters that can be clicked, with the tokens that wrote it."""

    index: int
    text: str
    start: int
    end: int
    token_indices: tuple[int, ...]
    logprob: float = Field(description="Sum over the word's tokens, nats.")
    image_mass: float = Field(description="Mean attention on image cells, 0 to 1.")
    section: str | None = None
    unlikely: bool = Field(description="The model gave one of its tokens less than 1 in 1,000 where it stands.")
    reliance: float | None = Field(
        default=None, description="The largest loss with another film, nats, once `POST .../reliance` was asked."
    )


class SectionModel(Model):
    """A named part of the report; the heading is not in `text`."""

    name: str
    start: int
    end: int
    text: str


class FindingModel(Model):
    """A finding that the report states: affirmed, hedged or denied."""

    index: int
    name: str
    status: FindingStatus = Field(description="`uncertain`: hedged, by the words at `hedge`.")
    side: str | None = None
    zones: tuple[str, ...] = ()
    start: int = Field(description="Of the finding's name, or of the normal statement that denies it.")
    end: int
    word_indices: tuple[int, ...]
    section: str | None = None
    hedge: tuple[int, int] | None = Field(default=None, description="Start and end of the words that hedge.")
    change: FindingChange | None = Field(default=None, description="Against an earlier film, where one is told.")


class MentionModel(Model):
    """A finding's name that states nothing about this film."""

    index: int
    name: str
    role: MentionRole
    start: int
    end: int
    word_indices: tuple[int, ...]
    section: str | None = None


class SentenceModel(Model):
    """A sentence of the report, and what became of it."""

    start: int
    end: int
    reading: SentenceReading = Field(
        description="`read`: its findings are in `findings`; `other`: not about findings; `unread`: not understood."
    )


class ThinkingModel(Model):
    """What the model thought before it answered: no section, finding or sentence lies in it."""

    start: int
    end: int
    token_indices: tuple[int, ...]


class ReportModel(Model):
    """What the model wrote, or was given to explain."""

    text: str
    tokens: tuple[TokenModel, ...]
    words: tuple[WordModel, ...]
    sections: tuple[SectionModel, ...]
    findings: tuple[FindingModel, ...]
    complete: bool = Field(description="False when the token limit cut the report off.")
    mentions: tuple[MentionModel, ...]
    sentences: tuple[SentenceModel, ...]
    thinking: tuple[ThinkingModel, ...]
    boxes: tuple[BoxModel, ...] = ()
    box_notes: tuple[str, ...] = Field(
        default=(), description="Which of its boxes could not be read and why, or that it draws none."
    )


class FilmWarningModel(Model):
    """What is doubtful about a film, or about what was made of it."""

    code: str = Field(description="Stable, for programs.")
    text: str
    withholds: bool = Field(description="A report on such a film means nothing: it was asked for by force.")


class WindowChoiceModel(Model):
    """A way to bring a DICOM's stored values to gray."""

    name: str = Field(description="What the form field `window` takes.")
    label: str


class PixelSpacingModel(Model):
    """How large a film's pixels are."""

    mm: float = Field(description="The side of one.")
    plane: Literal["detector", "patient"] = Field(
        description="Where that holds: at the detector the patient is drawn larger than he is."
    )


class FilmModel(Model):
    """The film that was read; its picture is at `/v1/reports/{id}/film.png`."""

    width: int
    height: int
    bits: int = Field(description="Of a pixel: 8 or 16.")
    media_type: str
    sha256: str
    notes: tuple[str, ...] = Field(default=(), description="What was done to the file on the way to the film.")
    warnings: tuple[FilmWarningModel, ...] = ()
    windows: tuple[WindowChoiceModel, ...] = Field(default=(), description="The windows and tables of a DICOM.")
    window: str | None = Field(default=None, description="The one that was used.")
    spacing: PixelSpacingModel | None = Field(default=None, description="Where the file tells it.")
    sides_told: bool = Field(
        default=False,
        description="The file says which side of the patient lies where: the left on the right, as films hang. "
        "Of others that is taken for granted.",
    )


class ProvenanceModel(Model):
    """Enough to make the same report again."""

    model_id: str
    model_revision: str
    dtype: str
    device: str
    library_versions: dict[str, str]
    film_sha256: tuple[str, ...]
    prompt_sha256: str
    prompt: str
    seed: int | None
    max_new_tokens: int
    layer_types: tuple[str, ...]
    sliding_window: int | None
    notice: str | None = None
    given: bool = Field(default=False, description="The report was given: somebody else wrote it, not the model.")
    writer: str | None = Field(default=None, description="The engine that wrote the report, by its model's name there.")
    tokens_compared: bool = Field(default=False, description="Whether the engine told its own tokens.")
    retokenised_at: int | None = Field(
        default=None, description="The character from which on the engine's tokens were cut otherwise; none: nowhere."
    )
    prompt_tokens: int | None = Field(default=None, description="Of the prompt, those of the films among them.")
    alias: str | None = Field(default=None, description="What this service calls the model: the field `model`.")
    adapter: str | None = Field(default=None, description="A LoRA of the model: a directory or a hub id.")
    quantization: str | None = Field(default=None, description="How the weights were quantised: 8bit or 4bit.")
    conversation: Conversation | None = Field(
        default=None, description="What was asked where it was more than words in one turn; `prompt` is all its words."
    )
    temperature: float = Field(default=0.0, description="0: the likeliest token was taken; above it was drawn.")
    image_first: bool = Field(default=True, description="Whether the film stood before the prompt.")
    layer_weights_sha256: str | None = Field(
        default=None, description="Of the learned layer weights; none: the model was never calibrated."
    )


class MapPackModel(Model):
    """One method's maps for every token of the report."""

    method: str
    values: Array = Field(description="float32 [tokens, rows, columns], never rescaled.")
    signed: bool
    additive: bool = Field(description="A word's map is the sum over its tokens, else the mean.")
    notes: tuple[str, ...] = ()
    members: tuple[str, ...] = Field(default=(), description="Of a consensus: the methods that it joins.")
    disagreement: Array | None = Field(
        default=None, description="Of a consensus: spread of the members' ranks, float32 [tokens, rows, columns]."
    )
    image: int = Field(default=0, description="Which of the prompt's images the maps are on.")
    sinks: Array | None = Field(default=None, description="Sink cells, bool [rows, columns].")
    options: Options = Field(default={}, description="What the method was given.")


class ExplanationModel(Model):
    """A report with what explains it. `maps` is filled in msgpack, and in JSON left to `/maps`."""

    id: str = Field(description="128 random bits: whoever has it can read the report.")
    expires_at: Time
    film: FilmModel
    report: ReportModel
    methods: tuple[str, ...]
    rows: int = Field(description="Rows of the grid of image cells.")
    columns: int
    provenance: ProvenanceModel
    maps: dict[str, MapPackModel] | None = None
    prior: FilmModel | None = Field(default=None, description="The prior film that was read beside it.")
    prior_maps: dict[str, MapPackModel] | None = Field(default=None, description="As `maps`, on the prior film.")
    box_verdicts: tuple[BoxVerdictModel, ...] = Field(default=(), description="Once `POST .../boxes` was asked.")


class MapsModel(Model):
    """All words' maps by one method, and the token maps that they come from."""

    id: str
    method: str
    rows: int
    columns: int
    signed: bool
    additive: bool
    notes: tuple[str, ...] = ()
    low: float = Field(description="Lower end of the scale that the whole report shares.")
    high: float = Field(description="Upper end: nine words in ten stay below it at their peaks.")
    words: Array = Field(description="float32 [words, rows, columns].")
    tokens: Array = Field(description="float32 [tokens, rows, columns].")
    members: tuple[str, ...] = Field(default=(), description="Of a consensus: the methods that it joins.")
    disagreement: Array | None = Field(
        default=None, description="Of a consensus: spread of the members' ranks, float32 [tokens, rows, columns]."
    )
    image: int = Field(default=0, description="Which of the prompt's images the maps are on.")
    sinks: Array | None = Field(default=None, description="Sink cells, bool [rows, columns].")
    options: Options = Field(default={}, description="What the method was given.")


class MeasuringModel(Model):
    """A method for which the model is asked again."""

    method: str
    block: Literal[1, 2, 4] | None = Field(default=None, description="Of occlusion: cells hidden at once, a side.")
    coarse_to_fine: bool | None = Field(default=None, description="Of occlusion: large blocks, then the strongest.")
    image: int = Field(default=0, ge=0, le=1, description="Whose maps are answered; those on both films are kept.")


class JudgingModel(Model):
    """What is to be judged: `words` (FIRST-LAST, both included) or `finding`, by one method of the report."""

    words: str | None = Field(default=None, description="FIRST-LAST, both included, e.g. 3-7.")
    finding: int | None = Field(default=None, ge=0, description="The index of a finding.")
    method: str | None = Field(default=None, description="A method of the report; its first by default.")
    image: int = Field(default=0, ge=0, le=1, description="0 the film, 1 the prior film.")


class IntervalModel(Model):
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


class OrderScoresModel(Model):
    """How the probability of the words moves when cells are replaced in one order."""

    deletion: IntervalModel = Field(description="Area under p, most relevant cells replaced first; low is faithful.")
    insertion: IntervalModel = Field(description="Area under p, most relevant cells revealed first; high is faithful.")
    srg: IntervalModel = Field(description="Symmetric relevance gain: insertion less deletion.")
    deletion_curve: tuple[float, ...] = Field(description="Mean p at `fractions`.")
    insertion_curve: tuple[float, ...]


class FaithfulnessModel(Model):
    """Whether words depend on the picture, and whether a map says where."""

    method: str
    token_indices: tuple[int, ...]
    logprob: float = Field(description="Of the words as they were written, nats.")
    blank_drop: float = Field(description="What they lose when the film is blank, nats.")
    swap_drops: tuple[float, ...] = Field(description="What they lose with each of some other films, nats.")
    reliance: float = Field(description="The largest loss with another film, nats.")
    fractions: tuple[float, ...] = Field(description="Shares of the cells at which curves are taken.")
    scores: OrderScoresModel
    random: OrderScoresModel = Field(description="Of a random order.")
    centre: OrderScoresModel = Field(description="Of nearness to the film's centre.")
    over_random: IntervalModel = Field(description="SRG of the map less that of a random order.")
    over_centre: IntervalModel
    verdict: Literal["region", "picture", "text"]
    sentence: str
    image: int = 0


class ProgressModel(Model):
    """Data of an event `progress`."""

    what: str
    done: int
    of: int


class SettingModel(Model):
    """A way to run a method: its options go with the method's name into `POST /v1/reports/{id}/maps`."""

    title: str
    meaning: str
    options: Options


class MethodModel(Model):
    """A method that turns the trace into maps."""

    name: str
    family: str
    title: str
    meaning: str
    citation: str
    unit: str = Field(description="Of the maps' values.")
    needs: tuple[str, ...]
    on_model: bool = Field(description="The model is asked again: on demand, or when a request names it.")
    default: bool = Field(description="Run when a request names no methods.")
    settings: tuple[SettingModel, ...] = Field(default=(), description="Ways to run it, the usual one first.")


class MethodsModel(Model):
    """Every method that can be asked for."""

    methods: tuple[MethodModel, ...]


class HealthModel(Model):
    """The service answers."""

    status: str = "ok"


class TextDelta(Model):
    """Data of an event `text`: the characters that the report has grown by."""

    delta: str
