"""The route that Prometheus, or a person, reads the service's numbers from."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response

from medinterp.api import metrics
from medinterp.api.backend import Backend


def metrics_routes(backend: Backend) -> APIRouter:
    """Build the route."""
    router = APIRouter(tags=["service"])

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."}},
    )
    async def get_metrics() -> Response:
        """Of every replica of every part: reports, seconds by stage, slots, queues, the store. No patient's data."""
        parts = await backend.metrics()
        text = await asyncio.to_thread(metrics.merged, parts)
        return Response(text, media_type=metrics.CONTENT_TYPE)

    return router
