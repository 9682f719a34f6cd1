"""The schema of jobs and batches."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from medinterp.api.jobs.record import Job, State, Stored
from medinterp.api.problems import Problem
from medinterp.api.schema import Model, ProgressModel, Time
from medinterp.api.work import ReportWork

Kind = Literal[
    "report", "maps", "faithfulness", "sensitivity", "text_sources", "heads", "reliance", "boxes", "export"
]


class JobModel(Model):
    """Long work: what it is, how far it is, and where its result is."""

    id: str
    kind: Kind
    state: State = Field(description="queued, running; done, failed or cancelled: it has ended.")
    progress: ProgressModel | None = Field(default=None, description="While it runs, once something is known.")
    attempts: int = Field(description="How often it was begun; again after the part that ran it went away.")
    created_at: Time
    started_at: Time | None = None
    ended_at: Time | None = None
    expires_at: Time = Field(description="The job is forgotten then; its report has a lifetime of its own.")
    report: str = Field(description="The report that it is about, or that it makes: there once the job is done.")
    result: str | None = Field(
        default=None, description="Below the API's root, once it is done: what the call would have answered at once."
    )
    problem: Problem | None = Field(default=None, description="Why it failed.")
    batch: str | None = None
    index: int | None = Field(default=None, description="Of the film in the batch, from 0, as they were sent.")


class CountsModel(Model):
    """Jobs of a batch by state."""

    queued: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0


class BatchModel(Model):
    """Films that were sent together, a job each."""

    id: str
    state: Literal["open", "ended"] = Field(description="ended: every job has.")
    counts: CountsModel
    forgotten: int = Field(default=0, description="Jobs that were deleted, or have expired.")
    created_at: Time
    expires_at: Time
    jobs: tuple[JobModel, ...]


def job_model(stored: Stored) -> JobModel:
    """A job as it stands."""
    job = stored.job
    return JobModel(
        id=job.job_id,
        kind=job.work.kind,
        state=job.state,
        progress=None if job.progress is None else ProgressModel.model_validate(job.progress),
        attempts=job.attempts,
        created_at=_time(job.created_at),
        started_at=None if job.started_at is None else _time(job.started_at),
        ended_at=None if job.ended_at is None else _time(job.ended_at),
        expires_at=_time(stored.expires_at),
        report=job.work.report_id,
        result=_result(job) if job.state == "done" else None,
        problem=job.problem,
        batch=job.batch,
        index=job.index,
    )


def batch_model(batch_id: str, created_at: float, expires_at: float, jobs: tuple[Stored, ...], of: int) -> BatchModel:
    """A batch of so many jobs, with those that are still known."""
    states = [stored.job.state for stored in jobs]
    return BatchModel(
        id=batch_id,
        state="open" if any(stored.job.open for stored in jobs) else "ended",
        counts=CountsModel(**{state: states.count(state) for state in states}),
        forgotten=of - len(jobs),
        created_at=_time(created_at),
        expires_at=_time(expires_at),
        jobs=tuple(map(job_model, jobs)),
    )


def _result(job: Job) -> str:
    return f"reports/{job.work.report_id}" if isinstance(job.work, ReportWork) else f"jobs/{job.job_id}/result"


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
