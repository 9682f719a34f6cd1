"""What the HTTP API asks of the service behind it; deployments/ answers with Ray Serve handles."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

from medinterp.api.schema import LoadedModelModel
from medinterp.api.selection import Selection
from medinterp.types import Explanation, Film


@dataclass(frozen=True)
class ReadingTask:
    """How a film is to be read.

    prompt: None for the service's default; methods: at least one, all of them registered;
    layer_attention: whether one of the methods needs it in the trace.
    """

    prompt: str | None
    methods: tuple[str, ...]
    max_new_tokens: int
    layer_attention: bool


@dataclass(frozen=True)
class PictureTask:
    """How a map is to be drawn over the film.

    method: None for the report's first; opacity 0..1; scale: one range for the whole report, or
    each map to its own; size: the longer side in pixels, None for the film's own; without_sinks: flagged
    sink cells are left out.
    """

    method: str | None = None
    opacity: float = 0.5
    colormap: str = "cividis"
    contours: bool = False
    scale: Literal["report", "map"] = "report"
    size: int | None = None
    without_sinks: bool = False


ExportFormat = Literal["json", "npz", "html"]


class Backend(Protocol):
    """Reads films and draws pictures.

    Every method raises the errors of medinterp.errors: ServiceBusyError when the queue is full,
    ServiceInterruptedError when a part went away, the film's, prompt's, method's and selection's.
    """

    async def model(self) -> LoadedModelModel:
        """What model reads the films."""
        ...

    async def read(self, film: Film, task: ReadingTask) -> Explanation:
        """Read the film and compute the maps; the explanation comes without the trace."""
        ...

    def read_aloud(self, film: Film, task: ReadingTask) -> AsyncGenerator[str | Explanation]:
        """The same, yielding the report's text as it grows, and the explanation last."""
        ...

    async def overlay(self, report_id: str, selection: Selection, task: PictureTask) -> bytes:
        """A PNG of the film with the map of what is selected drawn over it."""
        ...

    async def film(self, report_id: str, size: int | None) -> bytes:
        """A PNG of the film as the model saw it."""
        ...

    async def export(self, report_id: str, form: ExportFormat) -> bytes:
        """The report and its maps as one file."""
        ...

    async def check(self) -> None:
        """Return when every part answers; raise ServiceError when one does not."""
        ...
