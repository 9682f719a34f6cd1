"""The HTTP application: routes over a backend and a store, for any server to run at /v1."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from medinterp.api import metrics
from medinterp.api.asking import Asking
from medinterp.api.backend import Backend
from medinterp.api.caller import Callers
from medinterp.api.health import ApiHealth
from medinterp.api.middleware import BodyLimit, PrivateResponses
from medinterp.api.negotiation import NPZ
from medinterp.api.problem_handlers import install_problem_handlers
from medinterp.api.problems import MEDIA_TYPE, Problem
from medinterp.api.reading import Reading
from medinterp.api.routes_metrics import metrics_routes
from medinterp.api.routes_report import report_routes
from medinterp.api.routes_service import service_routes
from medinterp.api.routes_view import view_routes
from medinterp.api.settings import ApiSettings, Limits, LiveSettings
from medinterp.api.store import ReportStore
from medinterp.errors import StoreError
from medinterp.imaging.workers import DecodingPool
from medinterp.stages import NO_TELEMETRY

logger = logging.getLogger(__name__)

OTHER_BYTES = 2**20
"""Of a body that is no form, the largest: questions to the model, cells of a region."""
FORM_BYTES = 64 * 1024
"""Room for the multipart framing and the short fields beside the film, the prompt and the report."""


GZIP_FROM_BYTES = 512
GZIP_LEVEL = 4
"""A report's JSON becomes a quarter, packed maps three quarters; level 9 takes twice the time for 2 % more.

Pictures go as they are, and so do event streams, word by word (both are left out by Starlette from 1.10), and npz,
whose members are deflated already."""


class Api(FastAPI):
    """The application, whose OpenAPI document names the media type of problems."""

    def openapi(self) -> dict[str, Any]:
        """FastAPI's document; it takes every answer for application/json."""
        if self.openapi_schema is None:
            for operations in super().openapi()["paths"].values():
                for operation in operations.values():
                    problem = operation["responses"]["default"]["content"]
                    problem[MEDIA_TYPE] = problem.pop("application/json")
        return super().openapi()


def create_api(
    backend: Backend,
    settings: ApiSettings,
    store: ReportStore,
    pool: DecodingPool | None = None,
    live: LiveSettings | None = None,
) -> FastAPI:
    """Build the application. Its paths are relative: the server mounts it at /v1.

    pool: where films are decoded, by the settings unless given; it starts and ends with the application. live: what of
    the settings may change, where somebody changes it.
    """
    live = live or LiveSettings(settings)
    decoders = pool or DecodingPool(live.limits.film(), settings.decoding.limits())
    live.on_change(lambda: decoders.limit(live.limits.film()))
    _show(store, decoders)
    health = ApiHealth(store, lambda: decoders.workers)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        decoders.warm()
        purging = asyncio.create_task(purge_regularly(store, min(60.0, settings.store.lifetime_s)))
        health.purging = purging
        yield
        purging.cancel()
        with suppress(asyncio.CancelledError):
            await purging
        await asyncio.to_thread(decoders.close)
        store.close()

    app = Api(
        title="MedGemma-Interpret",
        version="1",
        description="A chest film goes in, a report and what explains each of its words come out.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        telemetry=NO_TELEMETRY,
        responses={"default": {"model": Problem, "description": "A problem document (RFC 9457)."}},
    )
    app.state.health = health
    app.add_middleware(BodyLimit, max_bytes=lambda: form_bytes(live.limits), other_bytes=OTHER_BYTES)
    app.add_middleware(PrivateResponses)
    app.add_middleware(
        GZipMiddleware,
        minimum_size=GZIP_FROM_BYTES,
        compresslevel=GZIP_LEVEL,
        exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, NPZ),
    )
    app.add_middleware(Callers)
    install_problem_handlers(app)
    reading, asking = Reading(backend, live, store, decoders), Asking(backend, live, store)
    app.include_router(report_routes(backend, reading, asking, store))
    app.include_router(view_routes(store))
    app.include_router(service_routes(backend, live, store))
    app.include_router(metrics_routes(backend))
    return app


def form_bytes(limits: Limits) -> int:
    """The longest form: two films, each of which is held to its own limit when it is read, and the fields."""
    fields = 4 * (limits.max_prompt_characters + limits.max_report_characters)  # UTF-8
    return 2 * limits.max_upload_bytes + fields + FORM_BYTES


def _show(store: ReportStore, decoders: DecodingPool) -> None:
    """Let the metrics ask how full the store is, and the decoding workers."""
    metrics.STORE_BYTES.ask(lambda: store.usage().bytes)
    metrics.STORE_REPORTS.ask(lambda: store.usage().reports)
    metrics.STORE_SHARE.ask(lambda: store.usage().share)
    metrics.STORE_MAX_BYTES.ask(lambda: store.usage().max_bytes or math.nan)
    metrics.DECODING_WORKERS.ask(lambda: decoders.workers)
    metrics.QUEUE.ask(lambda: decoders.waiting, queue="decoding")


async def purge_regularly(store: ReportStore, every_s: float) -> None:
    """Remove expired reports even when nobody asks for anything."""
    while True:
        await asyncio.sleep(every_s)
        try:
            gone = await asyncio.to_thread(store.purge)
        except StoreError as error:
            logger.warning("expired reports could not be removed: %s", error)
            continue
        if gone:
            logger.info("%d expired reports removed", gone)
