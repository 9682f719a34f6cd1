"""Routes for what draws a report by itself: maps that come once, and the words that a region drove."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from medinterp.api import negotiation
from medinterp.api.answers import pack_of
from medinterp.api.asked import ReportId, also, chosen, known
from medinterp.api.packed import packed_maps
from medinterp.api.queries import PackedMapsQuery
from medinterp.api.schema_packed import PackedMapsModel
from medinterp.api.schema_region import RegionAskedModel, RegionModel, RegionWordModel
from medinterp.api.store import ReportStore, unpack_record
from medinterp.api.validators import Validators


def view_routes(store: ReportStore, validators: Validators) -> APIRouter:
    """Build the routes."""
    router = APIRouter(prefix="/reports", tags=["reports"])

    @router.get(
        "/{report_id}/maps/packed", response_model=PackedMapsModel, responses=also(negotiation.MSGPACK)
    )
    async def get_packed_maps(
        request: Request, report_id: ReportId, query: Annotated[PackedMapsQuery, Query()]
    ) -> Response:
        """Every token's maps by one method as float16 with their scale: what a browser draws all words from."""
        media_type = chosen(request, negotiation.JSON, negotiation.MSGPACK)

        def answer() -> bytes:
            explanation = unpack_record(store.get(known(report_id)).blob)
            pack = pack_of(explanation, query.method, query.image)
            return negotiation.encode(packed_maps(report_id, pack, explanation.report.words), media_type)

        async def make() -> Response:
            return Response(await asyncio.to_thread(answer), media_type=media_type)

        return await validators.answer(request, report_id, make, media_type)

    @router.post("/{report_id}/region", response_model=RegionModel, responses=also(negotiation.MSGPACK))
    async def rank_region(request: Request, report_id: ReportId, asked: RegionAskedModel) -> Response:
        """The words that a region of the film drove, the most driven first."""
        media_type = chosen(request, negotiation.JSON, negotiation.MSGPACK)

        def answer() -> bytes:
            explanation = unpack_record(store.get(known(report_id)).blob)
            found = explanation.region(
                asked.box,
                cells=asked.cells,
                method=pack_of(explanation, asked.method, asked.image).method,
                image=asked.image,
                without_sinks=asked.without_sinks,
                quantity=asked.quantity,
            )
            words = tuple(map(RegionWordModel.model_validate, found.words))
            model = RegionModel(
                id=report_id, method=found.method, image=found.image, coverage=found.coverage, words=words
            )
            return negotiation.encode(model, media_type)

        return Response(await asyncio.to_thread(answer), media_type=media_type)

    return router
