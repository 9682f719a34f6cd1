"""How a long request is answered: at once, as a job (`Prefer: respond-async`), or once under an Idempotency-Key."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from http import HTTPStatus

from fastapi import Request, Response

from medinterp.api import events, negotiation
from medinterp.api.asked import chosen
from medinterp.api.asking import Asking
from medinterp.api.jobs.desk import Desk, require_done
from medinterp.api.jobs.record import Stored
from medinterp.api.jobs.results import unpack_model
from medinterp.api.negotiation import encode
from medinterp.api.once import REPLAYED, Once
from medinterp.api.pacing import Silence, paced
from medinterp.api.prefer import APPLIED, idempotency_key, link, prefers_job
from medinterp.api.problem_handlers import problem_response
from medinterp.api.report_id import new_report_id
from medinterp.api.schema import Model, ProgressModel
from medinterp.api.schema_jobs import job_model
from medinterp.api.settings import LiveSettings
from medinterp.api.work import ExportWork, Question, ReportWork, pack_work
from medinterp.errors import DeadlineExceededError, JobNotFoundError


class Answering:
    """Answers questions and hands work over to jobs, for whoever asks."""

    def __init__(self, asking: Asking, desk: Desk, once: Once, settings: LiveSettings) -> None:
        """settings: how long an answer is waited for; the job under it goes on."""
        self._asking, self._desk, self._once, self._settings = asking, desk, once, settings

    async def question(self, request: Request, work: Question) -> Response:
        """Ask the model about a report.

        Under an Idempotency-Key a job does it, whose answer is kept: sent again, the request waits for the same job.
        """
        key = idempotency_key(request)
        if prefers_job(request):
            await self._asking.check(work)
            return await self.job(request, work, key, [pack_work(work)])
        media_type = chosen(request, negotiation.JSON, negotiation.MSGPACK, negotiation.EVENTS)
        if key is None:
            return await self._asking.answer(work, media_type)
        await self._asking.check(work)
        job_id = await self._once.drawn(key, [b"answer", pack_work(work)])
        stored = await self._there(job_id)
        if stored is not None and stored.job.state in ("failed", "cancelled"):
            await self._desk.cancel(job_id)
            stored = None
        known = stored is not None
        if stored is None:
            await self._desk.create(work, job_id=job_id)
        response = await self._followed(job_id, work.kind, media_type)
        if known:
            response.headers[REPLAYED] = "true"
        return response

    async def job(
        self,
        request: Request,
        work: Question | ExportWork | ReportWork,
        key: str | None,
        parts: Iterable[bytes],
        films: Sequence[bytes] = (),
    ) -> Response:
        """Hand the work in, and answer with the job (202); under a key that came before, with the same job.

        parts: what tells the request apart from others under its key. A report takes its job's id. Raises as
        Desk.create and Once.drawn.
        """
        media_type = chosen(request, negotiation.JSON, negotiation.MSGPACK)
        job_id = new_report_id() if key is None else await self._once.drawn(key, [b"job", *parts])
        stored = None if key is None else await self._there(job_id)
        known = stored is not None
        if stored is None:
            if isinstance(work, ReportWork):
                work = ReportWork(job_id, work.task, work.window, work.prior, work.prior_window)
            stored = await self._desk.create(work, films, job_id)
        headers = {"Location": link(request, f"jobs/{job_id}"), **APPLIED, **({REPLAYED: "true"} if known else {})}
        return Response(
            encode(job_model(stored), media_type),
            status_code=HTTPStatus.ACCEPTED,
            media_type=media_type,
            headers=headers,
        )

    async def _there(self, job_id: str) -> Stored | None:
        try:
            return await self._desk.get(job_id)
        except JobNotFoundError:
            return None

    async def _followed(self, job_id: str, name: str, media_type: str) -> Response:
        items = self._items(job_id)
        if media_type == negotiation.EVENTS:
            return await events.respond(_framed(items, name))
        async with aclosing(items):
            async for item in items:
                match item:
                    case Response():
                        return item
                    case Model() if not isinstance(item, ProgressModel):
                        return Response(encode(item, media_type), media_type=media_type)
        raise JobNotFoundError("the job is gone")

    async def _items(self, job_id: str) -> AsyncGenerator[Model | Silence | Response]:
        """ProgressModel any number of times, and last the answer, or the response of a job that failed."""
        told: ProgressModel | None = None
        limit_s = self._settings.limits.timeout_s
        try:
            async with aclosing(paced(self._desk.follow(job_id), events.SIGN_OF_LIFE_S, limit_s)) as jobs:
                async for stored in jobs:
                    if isinstance(stored, Silence):
                        yield stored
                    elif stored.job.problem is not None:
                        yield problem_response(stored.job.problem)
                        return
                    elif not stored.job.open:
                        require_done(stored.job)
                        yield unpack_model(await self._desk.result(stored))
                        return
                    elif stored.job.progress is not None:
                        progress = ProgressModel.model_validate(stored.job.progress)
                        if progress != told:
                            yield progress
                        told = progress
        except TimeoutError as error:
            again = "the same request under the same key waits for it again"
            raise DeadlineExceededError(f"no answer within {limit_s:g} s; {again}") from error


async def _framed(items: AsyncGenerator[Model | Silence | Response], name: str) -> AsyncGenerator[bytes]:
    async with aclosing(items):
        async for item in items:
            match item:
                case Silence():
                    yield events.SIGN_OF_LIFE
                case ProgressModel():
                    yield events.event("progress", item)
                case Response():
                    yield b"event: error\ndata: " + bytes(item.body) + b"\n\n"
                case Model():
                    yield events.event(name, item)
