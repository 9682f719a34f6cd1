"""A job and a batch as they are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from medinterp.api.backend import Progress
from medinterp.api.problems import Problem
from medinterp.api.work import ExportWork, Question, ReportWork

State = Literal["queued", "running", "done", "failed", "cancelled"]
OPEN: tuple[State, ...] = ("queued", "running")


@dataclass(frozen=True)
class Job:
    """What is to be done, for whom, and how far it is. Times: seconds since 1970, of the replica that wrote them.

    name, caller, address, request_id: of the request that asked for it (see access.principal, api.caller). runner: the
    claim of the replica that runs it; attempts: how often it was begun. batch, index: whose film it is, counted from 0.
    after: the job of the same batch that must have ended first.
    """

    job_id: str
    work: Annotated[Question | ExportWork | ReportWork, Field(discriminator="kind")]
    created_at: float
    name: str | None = None
    caller: str = ""
    address: str = ""
    request_id: str | None = None
    batch: str | None = None
    index: int | None = None
    after: str | None = None
    state: State = "queued"
    runner: str | None = None
    attempts: int = 0
    progress: Progress | None = None
    started_at: float | None = None
    ended_at: float | None = None
    problem: Problem | None = None

    @property
    def open(self) -> bool:
        """It has not ended."""
        return self.state in OPEN

    @property
    def films(self) -> tuple[str, ...]:
        """The records of the films that were sent for it."""
        count = 0 if not isinstance(self.work, ReportWork) else 2 if self.work.prior else 1
        return tuple(f"{self.job_id}-{number}" for number in range(count))


@dataclass(frozen=True)
class Stored:
    """A job with its version, its owner, and when its record is forgotten (seconds since 1970)."""

    job: Job
    version: int
    owner: str | None
    expires_at: float


@dataclass(frozen=True)
class Marker:
    """Beside every job that has not ended: what a replica must know to choose one. caller: whose turn it takes."""

    created_at: float
    caller: str
    after: str | None = None


@dataclass(frozen=True)
class Batch:
    """Films that were sent together; jobs: by the films' order."""

    created_at: float
    jobs: tuple[str, ...]


JOB: TypeAdapter[Job] = TypeAdapter(Job)
MARKER: TypeAdapter[Marker] = TypeAdapter(Marker)
BATCH: TypeAdapter[Batch] = TypeAdapter(Batch)
