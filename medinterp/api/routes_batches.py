"""Routes of batches: a folder's worth of films, a job each."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, File, Form, Path, Request, Response, UploadFile
from starlette.datastructures import FormData

from medinterp.api import negotiation
from medinterp.api.asked import also, chosen
from medinterp.api.jobs.desk import Desk
from medinterp.api.jobs.settings import JobSettings
from medinterp.api.negotiation import encode
from medinterp.api.once import REPLAYED, Once
from medinterp.api.prefer import form_digest, idempotency_key, link
from medinterp.api.reading import Reading
from medinterp.api.report_id import new_report_id
from medinterp.api.schema_jobs import BatchModel, batch_model
from medinterp.api.schema_models import MAX_MODEL_CHARACTERS
from medinterp.api.settings import LiveSettings
from medinterp.api.upload import bytes_of, check_fields, form_route
from medinterp.api.work import ReportWork
from medinterp.errors import FilmTooLargeError, JobNotFoundError, ReportTextError, RequestTooLargeError

ONCE = {
    name: f"`{name}` was sent more than once: it holds for every film"
    for name in ("prompt", "max_new_tokens", "window", "force", "model")
}
SEVERAL = frozenset({"image", "methods"})
_REPORT = re.compile(r"report\.(0|[1-9][0-9]{0,3})")
MORE_PARTS = 64
"""Fields of a batch's form beside two for each film."""

BatchId = Annotated[str, Path(description="The id that POST /v1/batches answered with.")]


def batch_routes(desk: Desk, reading: Reading, once: Once, settings: LiveSettings, jobs: JobSettings) -> APIRouter:
    """Build the routes."""
    route = form_route(2 * jobs.batch_films + MORE_PARTS)
    router = APIRouter(prefix="/batches", tags=["jobs"], route_class=route)

    async def answer(batch_id: str, media_type: str) -> bytes:
        batch, expires_at, found = await desk.batch(batch_id)
        return encode(batch_model(batch_id, batch.created_at, expires_at, found, len(batch.jobs)), media_type)

    @router.post(
        "",
        response_model=BatchModel,
        status_code=HTTPStatus.ACCEPTED,
        responses={202: {"content": {negotiation.MSGPACK: {}}}},
    )
    async def create_batch(
        request: Request,
        image: Annotated[list[UploadFile], File(description="A film, several times: a job each, in this order.")],
        prompt: Annotated[str | None, Form()] = None,
        methods: Annotated[list[str] | None, Form(description="May be repeated.")] = None,
        max_new_tokens: Annotated[int | None, Form(ge=1, description="Of films without a given report.")] = None,
        window: Annotated[str | None, Form(max_length=64)] = None,
        force: Annotated[bool, Form()] = False,
        model: Annotated[str | None, Form(max_length=MAX_MODEL_CHARACTERS)] = None,
    ) -> Response:
        """Read many films, each as POST /v1/reports would by itself; a field holds for all of them.

        A field `report.N` is a report that somebody wrote of film N (the first `image` is 0), which is explained then.
        A film that cannot be read fails its own job only; files' names are not kept.
        """
        media_type = chosen(request, negotiation.JSON, negotiation.MSGPACK)
        form = await request.form()
        given = _given(form, len(image))
        named = {f"report.{index}": f"`report.{index}` was sent more than once" for index in given}
        check_fields(form, {**ONCE, **named}, SEVERAL)
        if len(image) > jobs.batch_films:
            raise RequestTooLargeError(f"a batch is {jobs.batch_films} films at most; send the others in another one")
        limits = settings.limits
        for index, upload in enumerate(image):
            if (upload.size or 0) > limits.max_upload_bytes:
                raise FilmTooLargeError(f"image {index} is longer than {limits.max_upload_bytes} bytes")
        methods_, tasks = tuple(methods) if methods else None, []
        for index in range(len(image)):
            text = given.get(index)
            tokens = None if text is not None else max_new_tokens
            tasks.append(reading.task(prompt, methods_, tokens, force=force, report=text, model=model))
        key = idempotency_key(request)
        batch_id, known = new_report_id(), False
        if key is not None:
            batch_id = await once.drawn(key, [b"batch", await asyncio.to_thread(form_digest, form)])
            known = await there(batch_id)
        if not known:
            works = [
                (ReportWork("", task, window), bytes_of(upload))
                for task, upload in zip(tasks, image, strict=True)
            ]
            await desk.create_batch(works, batch_id)
        headers = {"Location": link(request, f"batches/{batch_id}"), **({REPLAYED: "true"} if known else {})}
        return Response(
            await answer(batch_id, media_type),
            status_code=HTTPStatus.ACCEPTED,
            media_type=media_type,
            headers=headers,
        )

    async def there(batch_id: str) -> bool:
        try:
            await desk.batch(batch_id)
        except JobNotFoundError:
            return False
        return True

    @router.get("/{batch_id}", response_model=BatchModel, responses=also(negotiation.MSGPACK))
    async def get_batch(request: Request, batch_id: BatchId) -> Response:
        """How far a batch's jobs are."""
        media_type = chosen(request, negotiation.JSON, negotiation.MSGPACK)
        return Response(await answer(batch_id, media_type), media_type=media_type)

    @router.delete("/{batch_id}", status_code=HTTPStatus.NO_CONTENT)
    async def delete_batch(batch_id: BatchId) -> None:
        """Call off every job of the batch that has not ended. Where all had, the batch and its jobs are forgotten.

        Reports that were made stay: they are deleted by themselves."""
        await desk.cancel_batch(batch_id)

    return router


def _given(form: FormData, films: int) -> Mapping[int, str]:
    """The reports that were given, by the film's number. Raises ReportTextError for one of no film."""
    given: dict[int, str] = {}
    for name, part in form.multi_items():
        found = _REPORT.fullmatch(name)
        if found is not None and isinstance(part, str):
            index = int(found[1])
            if index >= films:
                raise ReportTextError(f"`report.{index}` is of no film: {films} were sent, the first is 0")
            given[index] = part
    return given
