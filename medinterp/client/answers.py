"""What the service answers, as frozen dataclasses with the schema's own names; medinterp.types where those fit.

r rows and c columns of the grid of image cells, L layers, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from medinterp import types
from medinterp.types import BoolArray, FilmWarning, Float16Array, Float32Array, PixelSpacing, Provenance, WindowChoice


@dataclass(frozen=True)
class Word(types.Word):
    """A word of the report; reliance: its largest loss with another film, nats, once that was asked for."""

    reliance: float | None = None


@dataclass(frozen=True)
class Report(types.Report):
    """The report's text, and what was read in it."""

    words: tuple[Word, ...]


@dataclass(frozen=True)
class FilmFacts:
    """The film that was read (see medinterp.types.Film); its pixels are at `RemoteReport.film_png`."""

    width: int
    height: int
    bits: int
    media_type: str
    sha256: str
    notes: tuple[str, ...] = ()
    warnings: tuple[FilmWarning, ...] = ()
    windows: tuple[WindowChoice, ...] = ()
    window: str | None = None
    spacing: PixelSpacing | None = None
    sides_told: bool = False


@dataclass(frozen=True)
class Explained:
    """A report with what explains it, but for the maps."""

    id: str
    expires_at: datetime
    film: FilmFacts
    report: Report
    methods: tuple[str, ...]
    rows: int
    columns: int
    provenance: Provenance
    prior: FilmFacts | None = None
    box_verdicts: tuple[types.BoxVerdict, ...] = ()


@dataclass(frozen=True, eq=False)
class Maps:
    """All words' maps by one method, in its own units.

    words: float32 [words, r, c]; tokens: float32 [tokens, r, c]; low, high: the scale that the whole report shares;
    signed, additive, notes, members, disagreement, image, sinks, options: as medinterp.types.MapPack.
    """

    id: str
    method: str
    rows: int
    columns: int
    signed: bool
    additive: bool
    low: float
    high: float
    words: Float32Array
    tokens: Float32Array
    notes: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    disagreement: Float32Array | None = None
    image: int = 0
    sinks: BoolArray | None = None
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class RegionWord:
    """How much a region drove a word: value in the map's own units, share of the map's positive part."""

    index: int
    value: float
    share: float


@dataclass(frozen=True, eq=False)
class Region:
    """A region and the words that it drove, the most driven first; coverage: float32 [r, c], of each cell inside."""

    id: str
    method: str
    image: int
    coverage: Float32Array
    words: tuple[RegionWord, ...]


@dataclass(frozen=True)
class Source:
    """What a part of what the model had read weighed: attention 0 to 1, gradient x input, nats (types.TextSources)."""

    attention: float
    gradient: float


@dataclass(frozen=True)
class FirstToken:
    """The first token collects attention that says nothing (a sink)."""

    attention: float


@dataclass(frozen=True)
class PromptWord(Source):
    """A word of the prompt; start, end: code points of Provenance.prompt."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class ReportWord(Source):
    """A word of the report that stood there already; index: of Report.words."""

    index: int


@dataclass(frozen=True)
class TextSources:
    """What of film, prompt and report so far drove some words; the attentions add up to 1 (`images` are in `film`)."""

    id: str
    token_indices: tuple[int, ...]
    logprob: float
    film: Source
    images: tuple[Source, ...]
    first_token: FirstToken
    template: Source
    punctuation: Source
    prompt: tuple[PromptWord, ...]
    report: tuple[ReportWord, ...]


@dataclass(frozen=True, eq=False)
class Heads:
    """Where each head of each layer looked on the film; maps: float16 [L, H, r, c], times scale the attention.

    mass: float32 [L, H], attention on the whole film, 0 to 1; range: one scale for all heads.
    """

    id: str
    token_indices: tuple[int, ...]
    image: int
    rows: int
    columns: int
    layer_types: tuple[str, ...]
    sliding_window: int | None
    mass: Float32Array
    maps: Float16Array
    scale: float
    range: tuple[float, float]


@dataclass(frozen=True)
class RelianceWord:
    """What a word loses when another film stands in the film's place, nats."""

    index: int
    logprob: float
    reliance: float
    blank_drop: float
    swap_drops: tuple[float, ...]


@dataclass(frozen=True)
class Reliance:
    """What every word loses; films: how many other films there were, the blank one not counted."""

    id: str
    films: int
    words: tuple[RelianceWord, ...]


@dataclass(frozen=True)
class BoxVerdicts:
    """Whether each box of the report lies where the model looked."""

    id: str
    boxes: tuple[types.BoxVerdict, ...]


@dataclass(frozen=True)
class Progress:
    """How far the model is: `done` of `of` steps."""

    what: str
    done: int
    of: int


@dataclass(frozen=True)
class Job:
    """Long work; state: queued or running, and when it has ended done, failed or cancelled. report: that it makes."""

    id: str
    kind: str
    state: str
    attempts: int
    created_at: datetime
    expires_at: datetime
    report: str
    progress: Progress | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    result: str | None = None
    problem: Mapping[str, Any] | None = None
    batch: str | None = None
    index: int | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state in ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Batch:
    """Films that were sent together; counts: jobs by state; forgotten: those that were deleted, or have expired."""

    id: str
    state: str
    counts: Mapping[str, int]
    created_at: datetime
    expires_at: datetime
    jobs: tuple[Job, ...]
    forgotten: int = 0


@dataclass(frozen=True)
class Setting:
    """A way to run a method."""

    title: str
    meaning: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Method:
    """A method that turns the trace into maps."""

    name: str
    family: str
    title: str
    meaning: str
    citation: str
    unit: str
    needs: tuple[str, ...]
    on_model: bool
    default: bool
    settings: tuple[Setting, ...] = ()


@dataclass(frozen=True)
class Perturbation:
    """A change of a film that should change no reading."""

    name: str
    meaning: str
    mirrors: bool


@dataclass(frozen=True)
class Model:
    """A model that reads films.

    alias: what `model=` takes; notice: a sentence to show beside every report; problem: why it could not be loaded.
    revision, dtype, device, writer: of a model that is loaded in the replica that answered.
    """

    alias: str
    id: str
    loaded: bool
    notice: str | None
    default_prompt: str
    box_question: str
    reads_indication: bool = True
    problem: str | None = None
    revision: str | None = None
    dtype: str | None = None
    device: str | None = None
    writer: str | None = None


@dataclass(frozen=True)
class Limits:
    """What one request may ask for."""

    max_upload_bytes: int
    max_pixels: int
    min_film_side: int
    max_film_aspect: float
    max_decoded_bytes: int
    max_prompt_characters: int
    max_report_characters: int
    max_new_tokens: int
    default_max_new_tokens: int


@dataclass(frozen=True)
class Models:
    """The models that the service reads films with, and its limits."""

    models: tuple[Model, ...]
    limits: Limits
