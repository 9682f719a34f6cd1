"""Routes of a report: make it, read it, see it, take it away, forget it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, File, Form, Path, Query, Request, Response, UploadFile

from medinterp.api import negotiation
from medinterp.api.answering import Answering
from medinterp.api.answers import explanation_model, maps_model, maps_npz
from medinterp.api.asked import ACCEPTED, ReportId
from medinterp.api.asked import also as _also
from medinterp.api.asked import chosen as _chosen
from medinterp.api.asked import known as _known
from medinterp.api.asking import Asking
from medinterp.api.backend import Backend, HeadsTask, JudgingTask, SourcesTask
from medinterp.api.jobs.results import export_response
from medinterp.api.once import Once
from medinterp.api.prefer import form_digest, idempotency_key, prefers_job
from medinterp.api.queries import ExportQuery, FilmQuery, MapsQuery, PictureQuery, WordPictureQuery
from medinterp.api.reading import Reading
from medinterp.api.schema import ExplanationModel, FaithfulnessModel, JudgingModel, MapsModel, MeasuringModel
from medinterp.api.schema_boxes import BoxesAskingModel, BoxVerdictsModel
from medinterp.api.schema_models import MAX_MODEL_CHARACTERS
from medinterp.api.schema_sensitivity import ComparingModel, SensitivityModel
from medinterp.api.schema_sources import (
    HeadsAskingModel,
    HeadsModel,
    RelianceAskingModel,
    RelianceModel,
    SelectingModel,
    TextSourcesModel,
)
from medinterp.api.selection import WordSelection, parse_selection
from medinterp.api.store import ReportStore, StoredReport, unpack_record
from medinterp.api.upload import FormRoute, bytes_of, check_fields
from medinterp.api.validators import Validators
from medinterp.api.work import (
    BoxesWork,
    ExportWork,
    FaithfulnessWork,
    HeadsWork,
    MapsWork,
    RelianceWork,
    ReportWork,
    SensitivityWork,
    TextWork,
)
from medinterp.errors import SelectionError

Answer = TypeVar("Answer")
ONCE = {
    "image": "one film a report: `image` was sent more than once",
    "prior": "one prior film a report: `prior` was sent more than once",
    **{
        name: f"`{name}` was sent more than once"
        for name in (
            "prompt", "system", "indication", "report", "max_new_tokens", "window", "prior_window", "force", "model",
        )
    },
}
"""Fields of the form that stand in it once, and what is said when they do not."""
SEVERAL = frozenset({"methods"})
MAX_WINDOW_CHARACTERS = 64
LONG = {**_also(negotiation.MSGPACK, negotiation.EVENTS), **ACCEPTED}
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "A picture."}}


def report_routes(
    backend: Backend,
    reading: Reading,
    asking: Asking,
    answering: Answering,
    once: Once,
    validators: Validators,
    store: ReportStore,
) -> APIRouter:
    """Build the routes."""
    router = APIRouter(prefix="/reports", tags=["reports"], route_class=FormRoute)

    async def from_store(report_id: str, make: Callable[[StoredReport], Answer]) -> Answer:
        """Make an answer from a stored report, away from the event loop."""
        return await asyncio.to_thread(lambda: make(store.get(_known(report_id))))

    @router.post(
        "",
        response_model=ExplanationModel,
        status_code=HTTPStatus.CREATED,
        responses={
            201: {"content": {negotiation.MSGPACK: {}}},
            200: {"content": {negotiation.EVENTS: {}}, "description": "Events `text`, then `report`."},
            **ACCEPTED,
        },
    )
    async def create_report(
        request: Request,
        image: Annotated[UploadFile, File(description="One film: PNG, JPEG, TIFF or DICOM.")],
        prompt: Annotated[str | None, Form()] = None,
        system: Annotated[
            str | None,
            Form(description="The instruction before the prompt; empty for none. The service's by default."),
        ] = None,
        indication: Annotated[
            str | None,
            Form(description="Why the film was taken: follows the prompt as a line of its own, `Indication: ...`."),
        ] = None,
        methods: Annotated[list[str] | None, Form(description="May be repeated.")] = None,
        report: Annotated[
            str | None,
            Form(
                description="A report that somebody else wrote: it is explained as it stands, in one pass, and none is "
                "written. Plain text, UTF-8; CR LF is read as a line feed. Not beside `max_new_tokens`."
            ),
        ] = None,
        max_new_tokens: Annotated[int | None, Form(ge=1)] = None,
        window: Annotated[
            str | None,
            Form(
                max_length=MAX_WINDOW_CHARACTERS,
                description="Of a DICOM: window-1, lut-1, full, or CENTER,WIDTH in numbers; its own choice by default.",
            ),
        ] = None,
        prior: Annotated[
            UploadFile | None, File(description="An earlier film of the same patient, read beside `image`.")
        ] = None,
        prior_window: Annotated[
            str | None, Form(max_length=MAX_WINDOW_CHARACTERS, description="As `window`, of `prior`.")
        ] = None,
        force: Annotated[
            bool, Form(description="Read the film though a warning says that a report on it means nothing.")
        ] = False,
        model: Annotated[
            str | None, Form(max_length=MAX_MODEL_CHARACTERS, description="One of `GET /v1/models`, by its alias.")
        ] = None,
    ) -> Response:
        """Read a film, or explain a `report` of it. With `Accept: text/event-stream` words come as they are written."""
        form = await request.form()
        check_fields(form, ONCE, SEVERAL)
        if form.get("report") == "":
            report = ""  # FastAPI takes an empty field for one that was not sent, and a report would be written
        if form.get("system") == "":
            system = ""
        chosen = tuple(methods) if methods else None
        told = {"report": report, "system": system, "indication": indication, "model": model}
        task = reading.task(prompt, chosen, max_new_tokens, force=force, **told)
        if prior is None and prior_window is not None:
            raise SelectionError("prior_window is of the film `prior`, which was not sent")
        key = idempotency_key(request)
        known = [] if key is None else [await asyncio.to_thread(form_digest, form)]
        data = bytes_of(image)
        before = None if prior is None else bytes_of(prior)
        if prefers_job(request):
            work = ReportWork("", task, window, before is not None, prior_window)
            return await answering.job(request, work, key, known, (data,) if before is None else (data, before))
        media_type = _chosen(request, negotiation.JSON, negotiation.MSGPACK, negotiation.EVENTS)

        async def make(report_id: str) -> Response:
            film = await reading.film(data, window=window, force=force, model=model)
            earlier = None
            if before is not None:
                earlier = await reading.prior(before, window=prior_window, force=force, model=model)
            if media_type == negotiation.EVENTS:
                return await reading.stream(film, task, prior=earlier, report_id=report_id)
            return await reading.answer(film, task, media_type, prior=earlier, report_id=report_id)

        return await once.report(key, [b"report", *known], make, lambda made: reading.again(made, media_type))

    @router.get("/{report_id}", response_model=ExplanationModel, responses=_also(negotiation.MSGPACK))
    async def get_report(request: Request, report_id: ReportId) -> Response:
        """The same answer again."""
        media_type = _chosen(request, negotiation.JSON, negotiation.MSGPACK)

        def answer(stored: StoredReport) -> bytes:
            explanation = unpack_record(stored.blob)
            with_maps = media_type == negotiation.MSGPACK
            model = explanation_model(report_id, explanation, stored.expires_at, with_maps=with_maps)
            return negotiation.encode(model, media_type)

        return Response(await from_store(report_id, answer), media_type=media_type)

    @router.delete("/{report_id}", status_code=HTTPStatus.NO_CONTENT)
    async def delete_report(report_id: ReportId) -> None:
        """Forget the report at once."""
        await asyncio.to_thread(store.delete, _known(report_id))

    @router.get(
        "/{report_id}/maps",
        response_model=MapsModel,
        responses=_also(negotiation.MSGPACK, negotiation.NPZ),
    )
    async def get_maps(
        request: Request, report_id: ReportId, query: Annotated[MapsQuery, Query()]
    ) -> Response:
        """All words' maps by one method."""
        media_type = _chosen(request, negotiation.JSON, negotiation.MSGPACK, negotiation.NPZ)

        def answer(stored: StoredReport) -> bytes:
            explanation = unpack_record(stored.blob)
            maps = maps_model(report_id, explanation, query.method, query.without_sinks, query.quantity, query.image)
            return maps_npz(maps) if media_type == negotiation.NPZ else negotiation.encode(maps, media_type)

        return Response(await from_store(report_id, answer), media_type=media_type)

    @router.post(
        "/{report_id}/maps", response_model=MapsModel, responses=LONG
    )
    async def measure_maps(request: Request, report_id: ReportId, asked: MeasuringModel) -> Response:
        """Ask the model again: maps by a method that runs on it, kept with the report from then on."""
        options = asked.model_dump(exclude={"method", "image"}, exclude_none=True)
        task = asking.measuring(asked.method, options)
        return await answering.question(request, MapsWork(_known(report_id), task, asked.image))

    @router.post(
        "/{report_id}/faithfulness",
        response_model=FaithfulnessModel,
        responses=LONG,
    )
    async def judge_map(request: Request, report_id: ReportId, asked: JudgingModel) -> Response:
        """Do these words depend on the picture, and is the map of them better than chance?"""
        task = JudgingTask(parse_selection(asked.words, asked.finding), asked.method, asked.image)
        return await answering.question(request, FaithfulnessWork(_known(report_id), task))

    @router.post(
        "/{report_id}/sensitivity",
        response_model=SensitivityModel,
        responses=LONG,
    )
    async def compare_variants(request: Request, report_id: ReportId, asked: ComparingModel) -> Response:
        """Does an answer, or the report, hold when it is asked in other words or of the film slightly changed?"""
        return await answering.question(request, SensitivityWork(_known(report_id), asking.comparing(asked)))

    @router.post(
        "/{report_id}/text", response_model=TextSourcesModel, responses=LONG
    )
    async def find_text_sources(request: Request, report_id: ReportId, asked: SelectingModel) -> Response:
        """Which words of the prompt and of the report so far drove these words, and how much the film?

        Kept with the report, the newest 16 selections, for its exports."""
        task = SourcesTask(parse_selection(asked.words, asked.finding))
        return await answering.question(request, TextWork(_known(report_id), task))

    @router.post(
        "/{report_id}/heads", response_model=HeadsModel, responses=LONG
    )
    async def look_by_heads(request: Request, report_id: ReportId, asked: HeadsAskingModel) -> Response:
        """Where did each head of each layer look on the film while it wrote these words?"""
        task = HeadsTask(parse_selection(asked.words, asked.finding), asked.image)
        return await answering.question(request, HeadsWork(_known(report_id), task))

    @router.post(
        "/{report_id}/reliance", response_model=RelianceModel, responses=LONG
    )
    async def measure_reliance(
        request: Request, report_id: ReportId, asked: RelianceAskingModel | None = None
    ) -> Response:
        """What does each word lose when the film is blank, or another one? Asked of the model once, then kept."""
        return await answering.question(request, RelianceWork(_known(report_id)))

    @router.post("/{report_id}/boxes", response_model=BoxVerdictsModel, responses=LONG)
    async def judge_boxes(request: Request, report_id: ReportId, asked: BoxesAskingModel | None = None) -> Response:
        """Says here, looked there: does each box of the answer lie where the model looked? Kept with the report."""
        return await answering.question(request, BoxesWork(_known(report_id)))

    @router.get("/{report_id}/words/{word}/overlay.png", response_class=Response, responses=PNG)
    async def get_word_overlay(
        request: Request,
        report_id: ReportId,
        word: Annotated[int, Path(ge=0)],
        query: Annotated[WordPictureQuery, Query()],
    ) -> Response:
        """The film with one word's map drawn over it."""
        selection, task = WordSelection(word, word), query.task()
        return await picture(request, report_id, lambda: backend.overlay(report_id, selection, task))

    @router.get("/{report_id}/overlay.png", response_class=Response, responses=PNG)
    async def get_overlay(
        request: Request, report_id: ReportId, query: Annotated[PictureQuery, Query()]
    ) -> Response:
        """The film with the map of a phrase (`words=3-7`) or of a finding (`finding=0`)."""
        selection, task = parse_selection(query.words, query.finding), query.task()
        return await picture(request, report_id, lambda: backend.overlay(report_id, selection, task))

    @router.get("/{report_id}/film.png", response_class=Response, responses=PNG)
    async def get_film(request: Request, report_id: ReportId, query: Annotated[FilmQuery, Query()]) -> Response:
        """The film as it was read, or as the model's processor gives it to the model (`view=model`)."""
        asked = (query.size, query.view, query.image, query.depth)
        return await picture(request, report_id, lambda: backend.film(report_id, *asked))

    @router.get("/{report_id}/export", response_class=Response, responses=ACCEPTED)
    async def get_export(
        request: Request, report_id: ReportId, query: Annotated[ExportQuery, Query()]
    ) -> Response:
        """The report and its maps as one file; a picture or a figure is of `words` or a `finding`."""
        task = query.export_task()
        if prefers_job(request):
            await asyncio.to_thread(store.touch, _known(report_id))
            return await answering.job(request, ExportWork(report_id, task), None, ())

        async def make() -> Response:
            return export_response(query.format, await backend.export(report_id, task))

        return await validators.answer(request, report_id, make)

    async def picture(request: Request, report_id: str, draw: Callable[[], Awaitable[bytes]]) -> Response:
        async def make() -> Response:
            return Response(await draw(), media_type="image/png")

        return await validators.answer(request, report_id, make)

    return router
