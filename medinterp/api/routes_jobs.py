"""Routes of jobs: how far they are, their results, and calling them off."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from medinterp.api import events, negotiation
from medinterp.api.asked import also, chosen
from medinterp.api.jobs.desk import Desk, require_done
from medinterp.api.jobs.record import Stored
from medinterp.api.jobs.results import file_response, is_file, unpack_model
from medinterp.api.negotiation import encode
from medinterp.api.pacing import Silence, paced
from medinterp.api.problem_handlers import problem_response
from medinterp.api.reading import Reading
from medinterp.api.schema_jobs import JobModel, job_model
from medinterp.api.settings import LiveSettings
from medinterp.api.work import ReportWork

JobId = Annotated[str, Path(description="The last part of the Location that a 202 answered with.")]


def job_routes(desk: Desk, reading: Reading, settings: LiveSettings) -> APIRouter:
    """Build the routes. An event stream ends after the limit of an answer, and the caller goes on with another one."""
    router = APIRouter(prefix="/jobs", tags=["jobs"])

    @router.get("/{job_id}", response_model=JobModel, responses=also(negotiation.MSGPACK))
    async def get_job(request: Request, job_id: JobId) -> Response:
        """How far a job is."""
        media_type = chosen(request, negotiation.JSON, negotiation.MSGPACK)
        return Response(encode(job_model(await desk.get(job_id)), media_type), media_type=media_type)

    @router.get(
        "/{job_id}/events",
        response_class=Response,
        responses={200: {"content": {negotiation.EVENTS: {}}, "description": "Events `job`, a JobModel each."}},
    )
    async def follow_job(request: Request, job_id: JobId) -> Response:
        """The job each time that it has changed, and last when it has ended.

        Whoever lost the connection goes on where they were by Last-Event-ID: each event is the whole job."""
        chosen(request, negotiation.EVENTS)
        await desk.get(job_id)
        last = request.headers.get("last-event-id")
        return await events.respond(_changes(desk, job_id, last, settings.limits.timeout_s))

    @router.get("/{job_id}/result", response_class=Response, responses=also(negotiation.JSON, negotiation.MSGPACK))
    async def get_result(request: Request, job_id: JobId) -> Response:
        """What the call would have answered at once: the report, the maps, the file, or the problem that it failed by.

        409 until the job is done, and of one that was cancelled."""
        stored = await desk.get(job_id)
        if stored.job.problem is not None:
            return problem_response(stored.job.problem)
        require_done(stored.job)
        if isinstance(stored.job.work, ReportWork):
            media_type = chosen(request, negotiation.JSON, negotiation.MSGPACK)
            report = await reading.again(stored.job.work.report_id, media_type)
            return Response(report.body, media_type=media_type)
        result = await desk.result(stored)
        if is_file(result):
            return file_response(result)
        media_type = chosen(request, negotiation.JSON, negotiation.MSGPACK)
        return Response(encode(unpack_model(result), media_type), media_type=media_type)

    @router.delete("/{job_id}", status_code=HTTPStatus.NO_CONTENT)
    async def delete_job(job_id: JobId) -> None:
        """Call the job off: its work stops, and it is `cancelled`. One that has ended is forgotten with its result.

        The report that a job has made stays: it is deleted by itself."""
        await desk.cancel(job_id)

    return router


async def _changes(desk: Desk, job_id: str, last: str | None, follow_s: float) -> AsyncGenerator[bytes]:
    """Framed events, from the first that the caller has not seen."""
    try:
        async with aclosing(paced(desk.follow(job_id), events.SIGN_OF_LIFE_S, follow_s)) as jobs:
            async for stored in jobs:
                match stored:
                    case Silence():
                        yield events.SIGN_OF_LIFE
                    case Stored() if stored.job.open and str(stored.version) == last:
                        yield events.SIGN_OF_LIFE
                    case Stored():
                        yield events.event("job", job_model(stored), str(stored.version))
    except TimeoutError:
        return  # the caller comes again and goes on
