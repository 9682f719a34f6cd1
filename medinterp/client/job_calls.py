"""Calls of jobs and batches: work that is handed in, and asked for later."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

from medinterp.client import calls
from medinterp.client.answers import Batch, Job
from medinterp.client.calls import Answer, Asking, Call, place_of, read_as, told
from medinterp.client.decoding import JSON
from medinterp.client.errors import ProblemError, problem_of
from medinterp.client.files import FilmSource, film_bytes
from medinterp.errors import GenerationCancelled

POLL_S = (0.2, 0.3, 0.5, 0.7, 1.0, 1.5)
"""Seconds between two looks at a job; the last for all later ones."""


class BatchAsking(TypedDict, total=False):
    """What holds for every film of a batch; reports: given ones by the film's number, from 0."""

    prompt: str | None
    methods: Sequence[str] | None
    max_new_tokens: int | None
    window: str | None
    force: bool
    model: str | None
    reports: Mapping[int, str]
    idempotency_key: str | None


def submit(film: FilmSource, asked: Asking) -> Call[Job]:
    """POST /reports, to be done as a job (RFC 7240, `Prefer: respond-async`)."""
    call: Call[Any] = calls.report(film, asked)
    return replace(call, read=read_as(Job), event=None, as_job=True)


def get_job(job_id: str) -> Call[Job]:
    """GET /jobs/{id}."""
    return Call("GET", place_of(job_id, "jobs"), read_as(Job), accept=JSON)


def delete_job(job_id: str) -> Call[None]:
    """DELETE /jobs/{id}."""
    return Call("DELETE", place_of(job_id, "jobs"), _nothing, accept="*/*")


def batch(films: Sequence[FilmSource], asked: BatchAsking) -> Call[Batch]:
    """POST /batches. Raises as `film_bytes`."""
    form = {name: value for name, value in asked.items() if name not in ("reports", "idempotency_key")}
    form |= {f"report.{index}": text for index, text in asked.get("reports", {}).items()}
    key = asked.get("idempotency_key") or uuid.uuid4().hex
    parts = [("image", film_bytes(film)) for film in films]
    return Call("POST", "/batches", read_as(Batch), form=told(form), films=parts, accept=JSON, key=key)


def get_batch(batch_id: str) -> Call[Batch]:
    """GET /batches/{id}."""
    return Call("GET", place_of(batch_id, "batches"), read_as(Batch), accept=JSON)


def delete_batch(batch_id: str) -> Call[None]:
    """DELETE /batches/{id}."""
    return Call("DELETE", place_of(batch_id, "batches"), _nothing, accept="*/*")


def failure(job: Job) -> ProblemError | GenerationCancelled | None:
    """Why a job that has ended made no report; None where it did."""
    if job.state == "cancelled":
        return GenerationCancelled("the job was called off")
    if job.state == "failed":
        return problem_of(job.problem or {}, 500, {})
    return None


def _nothing(_: Answer) -> None:
    return None
