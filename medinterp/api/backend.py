"""What the HTTP API asks of the service behind it; deployments/ answers with Ray Serve handles."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from medinterp.api.metrics import Collected
from medinterp.api.schema_models import LoadedModelModel
from medinterp.api.selection import Selection
from medinterp.evaluation.sensitivity.results import Comparison, ReportComparison
from medinterp.export.formats import ExportFormat
from medinterp.types import (
    Asked,
    BoxVerdict,
    Explanation,
    Faithfulness,
    Film,
    HeadMaps,
    MapPack,
    Quantity,
    Reliance,
    TextSources,
)


@dataclass(frozen=True)
class ReadingTask:
    """How a film is to be read.

    prompt: None for the service's default; system: the instruction before it, None for the service's, "" for none;
    indication: why the film was taken, which follows it; methods: at least one, all of them registered; max_new_tokens:
    the most that the report may have; layer_attention: whether one of the methods needs it in the trace; on_model:
    those of them for which the model is asked again once the report is there. force: also on a film that a report
    should be withheld on. report: one that somebody else wrote, which is explained as it stands; None for the model to
    write it. model: which one, by what the service calls it; None for the default one.
    """

    prompt: Asked | None
    methods: tuple[str, ...]
    max_new_tokens: int
    layer_attention: bool
    on_model: tuple[str, ...] = ()
    force: bool = False
    report: str | None = None
    model: str | None = None
    system: str | None = None
    indication: str | None = None


@dataclass(frozen=True)
class MeasuringTask:
    """A method for which the model is asked again, and its options (see medinterp.model.measuring)."""

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JudgingTask:
    """Whose words' map is to be judged; method: None for the report's first; image: 1 for the map on the prior film."""

    selection: Selection
    method: str | None = None
    image: int = 0


@dataclass(frozen=True)
class ComparingTask:
    """What is asked in other words and of changed films.

    questions: the first asks, the others are its paraphrases; none for the whole report. methods: None for the
    report's first; perturbations: None for all.
    """

    questions: tuple[str, ...] = ()
    methods: tuple[str, ...] | None = None
    perturbations: tuple[str, ...] | None = None
    seed: int = 0


@dataclass(frozen=True)
class SourcesTask:
    """Which words' text sources are asked for."""

    selection: Selection


@dataclass(frozen=True)
class HeadsTask:
    """Which words' maps by layer and head are asked for, and on which of the prompt's images."""

    selection: Selection
    image: int = 0


@dataclass(frozen=True)
class RelianceTask:
    """Every word's reliance is asked for."""


@dataclass(frozen=True)
class BoxesTask:
    """Whether every box of the report lies where the model looked is asked."""


@dataclass(frozen=True)
class Progress:
    """How far the model is with a method, a judgement or a comparison: `done` of `of` steps."""

    what: str
    done: int
    of: int


@dataclass(frozen=True)
class PictureTask:
    """How a map is to be drawn over the film.

    method: None for the report's first; opacity 0..1; scale: one range for the whole report, or
    each map to its own; size: the longer side in pixels, None for the film's own; without_sinks: flagged
    sink cells are left out; quantity: relevancy, or of a consensus the members' disagreement; image: 0 the film, 1 the
    prior film; cutoff: what stands lower on the scale is not drawn.
    """

    method: str | None = None
    opacity: float = 0.5
    colormap: str | None = None
    contours: bool = False
    scale: Literal["report", "map"] = "report"
    size: int | None = None
    without_sinks: bool = False
    quantity: Quantity = "relevancy"
    image: int = 0
    cutoff: float = 0.0


@dataclass(frozen=True)
class ExportTask:
    """Which file is wanted. selection: of a picture; threshold: of DICOM's regions, as in export.parse_threshold."""

    form: ExportFormat
    selection: Selection | None = None
    picture: PictureTask = field(default_factory=PictureTask)
    image: int = 0
    threshold: str = "otsu"


FilmView = Literal["film", "model"]
"""The film as it was read, or as the model's processor gives it to the model."""
FilmDepth = Literal[8, 16]
"""Bits of a pixel of the film's picture."""


class Backend(Protocol):
    """Reads films and draws pictures.

    Every method raises the errors of medinterp.errors: ServiceBusyError when the queue is full,
    ServiceInterruptedError when a part went away, the film's, prompt's, method's and selection's; ModelBrokenError when
    the model that is asked cannot be loaded, and of a question ModelGoneError when the report's own is not there.
    """

    aliases: tuple[str, ...]
    """What requests call the models that read films, the default one first."""

    async def models(self) -> tuple[LoadedModelModel, ...]:
        """What is known of each; none is loaded for this."""
        ...

    async def read(self, film: Film, task: ReadingTask, prior: Film | None = None) -> Explanation:
        """Read the film, beside a prior one, and compute the maps; the explanation comes without the trace.

        What the model finds doubtful about a film is among its warnings in the explanation. Raises
        FilmWithheldError for what makes a report meaningless, unless the task forces it; ReportTextError for a
        given report that the model's tokenizer cannot take, RequestTooLargeError for one of too many tokens.
        """
        ...

    def read_aloud(
        self, film: Film, task: ReadingTask, prior: Film | None = None
    ) -> AsyncGenerator[str | Progress | Explanation]:
        """The same, yielding the text as it grows (a given one whole), then progress, and the explanation last."""
        ...

    def measure(self, report_id: str, task: MeasuringTask) -> AsyncGenerator[Progress | MapPack]:
        """Ask the model again about a stored report: progress, and last the maps on the film, then on a prior one."""
        ...

    def judge(self, report_id: str, task: JudgingTask) -> AsyncGenerator[Progress | Faithfulness]:
        """Judge the map of some words of a stored report: progress, and the verdict last."""
        ...

    def compare(
        self, report_id: str, task: ComparingTask
    ) -> AsyncGenerator[Progress | Comparison | ReportComparison]:
        """Ask about a stored report's film in other words, and about the film changed: progress, the answer last."""
        ...

    def sources(
        self, report_id: str, task: SourcesTask | HeadsTask | RelianceTask | BoxesTask
    ) -> AsyncGenerator[Progress | TextSources | HeadMaps | Reliance | tuple[BoxVerdict, ...]]:
        """What drove some words of a stored report: the text by word, or the film by head; or what each of its words
        loses with another film; or whether its boxes lie where the model looked. Progress, and the answer last."""
        ...

    async def overlay(self, report_id: str, selection: Selection, task: PictureTask) -> bytes:
        """A PNG of the film with the map of what is selected drawn over it."""
        ...

    async def film(
        self, report_id: str, size: int | None, view: FilmView = "film", image: int = 0, depth: FilmDepth = 8
    ) -> bytes:
        """A PNG of the film (image 0) or the prior one (1); size: the longer side, of the view "film" only."""
        ...

    async def export(self, report_id: str, task: ExportTask) -> bytes:
        """The report and its maps as one file."""
        ...

    async def check(self) -> None:
        """Return when every part answers; raise ServiceError when one does not."""
        ...

    async def metrics(self) -> tuple[Collected, ...]:
        """What every replica of every part has counted; one that does not answer is left out."""
        ...
