"""The HTTP application: routes over a backend and a store, for any server to run at /v1."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from medinterp.api import metrics
from medinterp.api.access.audit import AuditLog
from medinterp.api.access.door import PROBES, Access, Door
from medinterp.api.access.owned import CallersStore
from medinterp.api.answering import Answering
from medinterp.api.asking import Asking
from medinterp.api.backend import Backend
from medinterp.api.caller import Callers
from medinterp.api.chat import Chat
from medinterp.api.chat_errors import PATH as CHAT_PATH
from medinterp.api.chat_errors import ChatErrors
from medinterp.api.health import ApiHealth
from medinterp.api.jobs.desk import Desk
from medinterp.api.jobs.doing import Doing
from medinterp.api.jobs.ledger import Ledger
from medinterp.api.jobs.running import Runner
from medinterp.api.jobs.settings import JobSettings
from medinterp.api.middleware import BodyLimit, PrivateResponses
from medinterp.api.negotiation import NPZ
from medinterp.api.once import Once
from medinterp.api.openapi import complete
from medinterp.api.problem_handlers import install_problem_handlers, problem_response
from medinterp.api.problems import Problem, problem_of_status
from medinterp.api.reading import Reading
from medinterp.api.request_log import RequestLog
from medinterp.api.routes_batches import batch_routes
from medinterp.api.routes_chat import chat_routes
from medinterp.api.routes_docs import docs_routes
from medinterp.api.routes_jobs import job_routes
from medinterp.api.routes_metrics import metrics_routes
from medinterp.api.routes_report import report_routes
from medinterp.api.routes_service import service_routes
from medinterp.api.routes_session import session_routes
from medinterp.api.routes_view import view_routes
from medinterp.api.settings import ApiSettings, Limits, LiveSettings
from medinterp.api.store import ReportStore
from medinterp.api.validators import Validators
from medinterp.errors import StoreError
from medinterp.imaging.workers import DecodingPool
from medinterp.stages import NO_TELEMETRY
from medinterp.web.heads import HeadAsGet
from medinterp.web.peers import Hosts
from medinterp.web.request_id import RequestIds

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
    """The application, whose OpenAPI document is completed."""

    def openapi(self) -> dict[str, Any]:
        """FastAPI's document, and what that lacks."""
        if self.openapi_schema is None:
            complete(super().openapi())
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
    the settings may change, where somebody changes it. Raises AccessError when the keys cannot be read, AuditError when
    the audit log cannot be opened.
    """
    access = Access(settings.access, store)
    audit = None if settings.access.audit_log is None else AuditLog(Path(settings.access.audit_log).expanduser())
    live = live or LiveSettings(settings)
    decoders = pool or DecodingPool(live.limits.film(), settings.decoding.limits())
    live.on_change(lambda: decoders.limit(live.limits.film()))
    _show(store, decoders)
    health = ApiHealth(store, lambda: decoders.workers)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        decoders.warm()
        runner.start()
        purging = asyncio.create_task(purge_regularly(store, min(60.0, settings.store.lifetime_s)))
        health.purging = purging
        yield
        await runner.stop()
        purging.cancel()
        with suppress(asyncio.CancelledError):
            await purging
        await asyncio.to_thread(decoders.close)
        store.close()
        if audit is not None:
            audit.close()

    app = Api(
        title="MedGemma-Interpret",
        version="1",
        description="A chest film goes in, a report and what explains each of its words come out.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would send elsewhere by the Host header, and not below a proxy's prefix
        lifespan=lifespan,
        telemetry=NO_TELEMETRY,
        responses={"default": {"model": Problem, "description": "A problem document (RFC 9457)."}},
    )
    app.state.health = health
    app.add_middleware(
        BodyLimit,
        max_bytes=lambda: form_bytes(live.limits),
        other_bytes=OTHER_BYTES,
        forms_at={"/batches": lambda: batch_bytes(live.limits, settings.jobs)},
        others_at={CHAT_PATH: lambda: 2 * base64_bytes(live.limits.max_upload_bytes) + OTHER_BYTES},
    )
    app.add_middleware(
        GZipMiddleware,
        minimum_size=GZIP_FROM_BYTES,
        compresslevel=GZIP_LEVEL,
        exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, NPZ),
    )
    # From here outwards: who asks, under which name, as what; the last one added is the first to see a request.
    app.add_middleware(Callers)
    app.add_middleware(Door, access=access)
    app.add_middleware(
        Hosts,
        allowed=settings.access.allowed_hosts,
        peers=access.peers,
        refuse=lambda status, told: problem_response(problem_of_status(status, told)),
        open_paths=PROBES,
    )
    app.add_middleware(PrivateResponses)
    app.add_middleware(ChatErrors)  # whoever answers for that route, it is in that protocol's words
    app.add_middleware(HeadAsGet)
    app.add_middleware(RequestLog)
    app.add_middleware(RequestIds)
    install_problem_handlers(app)
    mine = CallersStore(store, audit)
    reading, asking = Reading(backend, live, mine, decoders), Asking(backend, live, mine)
    ledger = Ledger(store, settings.jobs, settings.store.lifetime_s)
    runner = Runner(ledger, Doing(backend, reading, asking, mine), settings.jobs)
    desk, once = Desk(ledger, runner, mine, settings.jobs), Once(store, settings.jobs)
    answering = Answering(asking, desk, once, live)
    validators = Validators(mine, cached=settings.cache_pictures)
    app.include_router(report_routes(backend, reading, asking, answering, once, validators, mine))
    app.include_router(view_routes(mine, validators))
    app.include_router(job_routes(desk, reading, live))
    app.include_router(batch_routes(desk, reading, once, live, settings.jobs))
    app.include_router(chat_routes(Chat(backend, live, reading, asking), OTHER_BYTES))
    app.include_router(session_routes(access))
    app.include_router(docs_routes())
    app.include_router(service_routes(backend, live, store))
    app.include_router(metrics_routes(backend))
    return app


def base64_bytes(size: int) -> int:
    """So many bytes as base64, each slash of which may be escaped in JSON."""
    return 2 * ((size + 2) // 3 * 4)


def batch_bytes(limits: Limits, jobs: JobSettings) -> int:
    """The longest form of a batch: its films, the reports that may be given of them, and the fields."""
    return jobs.batch_bytes + jobs.batch_films * 4 * limits.max_report_characters + FORM_BYTES


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
