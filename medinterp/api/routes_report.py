"""Routes of a report: make it, read it, see it, take it away, forget it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, File, Form, Path, Query, Request, Response, UploadFile

from medinterp.api import negotiation
from medinterp.api.answers import explanation_model, maps_model, maps_npz
from medinterp.api.asked import ReportId
from medinterp.api.asked import also as _also
from medinterp.api.asked import chosen as _chosen
from medinterp.api.asked import known as _known
from medinterp.api.asking import Asking
from medinterp.api.backend import Backend, HeadsTask, JudgingTask, SourcesTask
from medinterp.api.queries import ExportQuery, FilmQuery, MapsQuery, PictureQuery, WordPictureQuery
from medinterp.api.reading import Reading
from medinterp.api.schema import (
    ExplanationModel,
    FaithfulnessModel,
    JudgingModel,
    MapsModel,
    MeasuringModel,
)
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
from medinterp.errors import SelectionError
from medinterp.export.formats import FORMATS

Answer = TypeVar("Answer")
ONCE = {
    "image": "one film a report: `image` was sent more than once",
    "prior": "one prior film a report: `prior` was sent more than once",
    **{
        name: f"`{name}` was sent more than once"
        for name in ("prompt", "report", "max_new_tokens", "window", "prior_window", "force")
    },
}
"""Fields of the form that stand in it once, and what is said when they do not."""
SEVERAL = frozenset({"methods"})
MAX_WINDOW_CHARACTERS = 64
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "A picture."}}


def report_routes(backend: Backend, reading: Reading, asking: Asking, store: ReportStore) -> APIRouter:
    """Build the routes."""
    router = APIRouter(prefix="/reports", tags=["reports"], route_class=FormRoute)

    async def from_store(report_id: str, make: Callable[[StoredReport], Answer]) -> Answer:
        """Make an answer from a stored report, away from the event loop."""
        return await asyncio.to_thread(lambda: make(store.get(_known(report_id))))

    async def found(report_id: str) -> str:
        """The id of a report of the caller's, which another part of the service is about to read for them."""
        await asyncio.to_thread(store.touch, _known(report_id))
        return report_id

    @router.post(
        "",
        response_model=ExplanationModel,
        status_code=HTTPStatus.CREATED,
        responses={
            201: {"content": {negotiation.MSGPACK: {}}},
            200: {"content": {negotiation.EVENTS: {}}, "description": "Events `text`, then `report`."},
        },
    )
    async def create_report(
        request: Request,
        image: Annotated[UploadFile, File(description="One film: PNG, JPEG, TIFF or DICOM.")],
        prompt: Annotated[str | None, Form()] = None,
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
    ) -> Response:
        """Read a film, or explain a `report` of it. With `Accept: text/event-stream` words come as they are written."""
        media_type = _chosen(request, negotiation.JSON, negotiation.MSGPACK, negotiation.EVENTS)
        form = await request.form()
        check_fields(form, ONCE, SEVERAL)
        if form.get("report") == "":
            report = ""  # FastAPI takes an empty field for one that was not sent, and a report would be written
        chosen = tuple(methods) if methods else None
        task = reading.task(prompt, chosen, max_new_tokens, force=force, report=report)
        if prior is None and prior_window is not None:
            raise SelectionError("prior_window is of the film `prior`, which was not sent")
        film = await reading.film(bytes_of(image), window=window, force=force)
        earlier = None
        if prior is not None:
            earlier = await reading.prior(bytes_of(prior), window=prior_window, force=force)
        if media_type == negotiation.EVENTS:
            return await reading.stream(film, task, prior=earlier)
        return await reading.answer(film, task, media_type, prior=earlier)

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
        "/{report_id}/maps", response_model=MapsModel, responses=_also(negotiation.MSGPACK, negotiation.EVENTS)
    )
    async def measure_maps(request: Request, report_id: ReportId, asked: MeasuringModel) -> Response:
        """Ask the model again: maps by a method that runs on it, kept with the report from then on."""
        media_type = _chosen(request, negotiation.JSON, negotiation.MSGPACK, negotiation.EVENTS)
        options = asked.model_dump(exclude={"method", "image"}, exclude_none=True)
        task = asking.measuring(asked.method, options)
        return await asking.maps(_known(report_id), task, media_type, asked.image)

    @router.post(
        "/{report_id}/faithfulness",
        response_model=FaithfulnessModel,
        responses=_also(negotiation.MSGPACK, negotiation.EVENTS),
    )
    async def judge_map(request: Request, report_id: ReportId, asked: JudgingModel) -> Response:
        """Do these words depend on the picture, and is the map of them better than chance?"""
        media_type = _chosen(request, negotiation.JSON, negotiation.MSGPACK, negotiation.EVENTS)
        task = JudgingTask(parse_selection(asked.words, asked.finding), asked.method, asked.image)
        return await asking.faithfulness(_known(report_id), task, media_type)

    @router.post(
        "/{report_id}/sensitivity",
        response_model=SensitivityModel,
        responses=_also(negotiation.MSGPACK, negotiation.EVENTS),
    )
    async def compare_variants(request: Request, report_id: ReportId, asked: ComparingModel) -> Response:
        """Does an answer, or the report, hold when it is asked in other words or of the film slightly changed?"""
        media_type = _chosen(request, negotiation.JSON, negotiation.MSGPACK, negotiation.EVENTS)
        return await asking.sensitivity(_known(report_id), asking.comparing(asked), media_type)

    @router.post(
        "/{report_id}/text", response_model=TextSourcesModel, responses=_also(negotiation.MSGPACK, negotiation.EVENTS)
    )
    async def find_text_sources(request: Request, report_id: ReportId, asked: SelectingModel) -> Response:
        """Which words of the prompt and of the report so far drove these words, and how much the film?

        Kept with the report, the newest 16 selections, for its exports."""
        media_type = _chosen(request, negotiation.JSON, negotiation.MSGPACK, negotiation.EVENTS)
        task = SourcesTask(parse_selection(asked.words, asked.finding))
        return await asking.sources(_known(report_id), task, media_type)

    @router.post(
        "/{report_id}/heads", response_model=HeadsModel, responses=_also(negotiation.MSGPACK, negotiation.EVENTS)
    )
    async def look_by_heads(request: Request, report_id: ReportId, asked: HeadsAskingModel) -> Response:
        """Where did each head of each layer look on the film while it wrote these words?"""
        media_type = _chosen(request, negotiation.JSON, negotiation.MSGPACK, negotiation.EVENTS)
        task = HeadsTask(parse_selection(asked.words, asked.finding), asked.image)
        return await asking.sources(_known(report_id), task, media_type)

    @router.post(
        "/{report_id}/reliance", response_model=RelianceModel, responses=_also(negotiation.MSGPACK, negotiation.EVENTS)
    )
    async def measure_reliance(
        request: Request, report_id: ReportId, asked: RelianceAskingModel | None = None
    ) -> Response:
        """What does each word lose when the film is blank, or another one? Asked of the model once, then kept."""
        media_type = _chosen(request, negotiation.JSON, negotiation.MSGPACK, negotiation.EVENTS)
        return await asking.reliance(_known(report_id), media_type)

    @router.get("/{report_id}/words/{word}/overlay.png", response_class=Response, responses=PNG)
    async def get_word_overlay(
        report_id: ReportId,
        word: Annotated[int, Path(ge=0)],
        query: Annotated[WordPictureQuery, Query()],
    ) -> Response:
        """The film with one word's map drawn over it."""
        selection = WordSelection(word, word)
        return _png(await backend.overlay(await found(report_id), selection, query.task()))

    @router.get("/{report_id}/overlay.png", response_class=Response, responses=PNG)
    async def get_overlay(report_id: ReportId, query: Annotated[PictureQuery, Query()]) -> Response:
        """The film with the map of a phrase (`words=3-7`) or of a finding (`finding=0`)."""
        selection = parse_selection(query.words, query.finding)
        return _png(await backend.overlay(await found(report_id), selection, query.task()))

    @router.get("/{report_id}/film.png", response_class=Response, responses=PNG)
    async def get_film(report_id: ReportId, query: Annotated[FilmQuery, Query()]) -> Response:
        """The film as it was read, or as the model's processor gives it to the model (`view=model`)."""
        return _png(await backend.film(await found(report_id), query.size, query.view, query.image, query.depth))

    @router.get("/{report_id}/export", response_class=Response)
    async def get_export(report_id: ReportId, query: Annotated[ExportQuery, Query()]) -> Response:
        """The report and its maps as one file; a picture or a figure is of `words` or a `finding`."""
        content = await backend.export(await found(report_id), query.export_task())
        kind = FORMATS[query.format]
        return Response(
            content,
            media_type=kind.media_type,
            headers={
                "Content-Disposition": f'attachment; filename="{kind.file_name}"',
                "Content-Security-Policy": "sandbox allow-scripts",
            },
        )

    return router


def _png(picture: bytes) -> Response:
    return Response(picture, media_type="image/png")
