"""Long work as it is asked for: what a request does at once, and what a job keeps until it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from medinterp.api.backend import (
    ComparingTask,
    ExportTask,
    HeadsTask,
    JudgingTask,
    MeasuringTask,
    ReadingTask,
    SourcesTask,
)


@dataclass(frozen=True)
class MapsWork:
    """Maps by a method that runs on the model; image: whose maps are the answer."""

    report_id: str
    task: MeasuringTask
    image: int = 0
    kind: Literal["maps"] = "maps"


@dataclass(frozen=True)
class FaithfulnessWork:
    """Whether a map is true."""

    report_id: str
    task: JudgingTask
    kind: Literal["faithfulness"] = "faithfulness"


@dataclass(frozen=True)
class SensitivityWork:
    """Whether an answer, or the report, holds."""

    report_id: str
    task: ComparingTask
    kind: Literal["sensitivity"] = "sensitivity"


@dataclass(frozen=True)
class TextWork:
    """What else drove some words."""

    report_id: str
    task: SourcesTask
    kind: Literal["text_sources"] = "text_sources"


@dataclass(frozen=True)
class HeadsWork:
    """Where each head looked."""

    report_id: str
    task: HeadsTask
    kind: Literal["heads"] = "heads"


@dataclass(frozen=True)
class RelianceWork:
    """What each word loses with another film."""

    report_id: str
    kind: Literal["reliance"] = "reliance"


@dataclass(frozen=True)
class BoxesWork:
    """Whether each box lies where the model looked."""

    report_id: str
    kind: Literal["boxes"] = "boxes"


@dataclass(frozen=True)
class ExportWork:
    """A file of a report."""

    report_id: str
    task: ExportTask
    kind: Literal["export"] = "export"


@dataclass(frozen=True)
class ReportWork:
    """A report on a film that was sent; report_id: the one that it will have; prior: whether an earlier film came."""

    report_id: str
    task: ReadingTask
    window: str | None = None
    prior: bool = False
    prior_window: str | None = None
    kind: Literal["report"] = "report"


Question = MapsWork | FaithfulnessWork | SensitivityWork | TextWork | HeadsWork | RelianceWork | BoxesWork
"""Asked of the model about a report that is kept; its kind names the event that answers it."""
Work = Annotated[Question | ExportWork | ReportWork, Field(discriminator="kind")]

_WORK: TypeAdapter[Question | ExportWork | ReportWork] = TypeAdapter(Work)


def pack_work(work: Question | ExportWork | ReportWork) -> bytes:
    """As JSON, the same for the same work."""
    return _WORK.dump_json(work)


def unpack_work(data: bytes) -> Question | ExportWork | ReportWork:
    """The work again. Raises pydantic.ValidationError for what is none."""
    return _WORK.validate_json(data)
