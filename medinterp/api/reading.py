"""Reading a film on request: check, read, keep, answer; at once or word by word."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing, suppress
from http import HTTPStatus

from fastapi import Response
from fastapi.responses import StreamingResponse

from medinterp import stages
from medinterp.api import events, metrics
from medinterp.api.answers import explanation_model
from medinterp.api.backend import Backend, Progress, ReadingTask
from medinterp.api.negotiation import EVENTS, MSGPACK, encode
from medinterp.api.pacing import Silence, paced
from medinterp.api.report_id import log_name
from medinterp.api.schema import ExplanationModel, ProgressModel, TextDelta
from medinterp.api.settings import Limits, LiveSettings
from medinterp.api.store import ReportStore, pack_record, unpack_record
from medinterp.errors import (
    DeadlineExceededError,
    PromptError,
    ReportTextError,
    RequestTooLargeError,
    ServiceInterruptedError,
    StoreError,
    UnknownModelError,
)
from medinterp.imaging import withhold
from medinterp.imaging.prior import about_prior
from medinterp.imaging.workers import DecodingPool
from medinterp.relevancy import get_method
from medinterp.types import Asked, Explanation, Film

logger = logging.getLogger(__name__)
UNKNOWN = "unknown"
"""In the metrics, for a model that is none of the service's."""
REPLACEMENT = "\ufffd"
"""What a decoder puts in place of bytes that are no letter."""


class Reading:
    """Takes uploads through the backend into the store."""

    def __init__(self, backend: Backend, settings: LiveSettings, store: ReportStore, decoders: DecodingPool) -> None:
        self._backend = backend
        self._decoders = decoders
        self._settings = settings
        self._store = store

    @property
    def _limits(self) -> Limits:
        return self._settings.limits

    def task(
        self,
        prompt: Asked | None,
        methods: tuple[str, ...] | None,
        max_new_tokens: int | None,
        *,
        force: bool = False,
        report: str | None = None,
        model: str | None = None,
        system: str | None = None,
        indication: str | None = None,
    ) -> ReadingTask:
        """Check a request's parameters before anything is spent on it.

        Raises UnknownModelError, PromptError, UnknownMethodError, RequestTooLargeError or ReportTextError.
        """
        with self._counted(model):
            return self._task(prompt, methods, max_new_tokens, force, report, model, system, indication)

    def _counted(self, model: str | None) -> AbstractContextManager[None]:
        return metrics.counted(metrics.REPORTS, model=self._label(model))

    def _label(self, model: str | None) -> str:
        """The model as the metrics name it: one of the configured ones."""
        aliases = self._backend.aliases
        return aliases[0] if model is None else model if model in aliases else UNKNOWN

    def _task(
        self,
        prompt: Asked | None,
        methods: tuple[str, ...] | None,
        max_new_tokens: int | None,
        force: bool,
        report: str | None,
        model: str | None,
        system: str | None,
        indication: str | None,
    ) -> ReadingTask:
        aliases = self._backend.aliases
        if model is not None and model not in aliases:
            raise UnknownModelError(f"there is no model {model!r} here; there are {', '.join(aliases)}")
        limits = self._limits
        texts = [prompt] if isinstance(prompt, str) else [] if prompt is None else prompt.texts
        if sum(map(len, [*texts, system or "", indication or ""])) > limits.max_prompt_characters:
            raise PromptError(
                f"the prompt is longer than {limits.max_prompt_characters} characters, with all that goes with it"
            )
        if max_new_tokens is not None and max_new_tokens > limits.max_new_tokens:
            raise RequestTooLargeError(f"max_new_tokens is at most {limits.max_new_tokens} here")
        if report is not None:
            if max_new_tokens is not None:
                raise ReportTextError("a given report is explained and nothing is written: leave out max_new_tokens")
            report, max_new_tokens = self._given(report), limits.max_new_tokens
        chosen = [get_method(name) for name in methods or self._settings.methods]
        return ReadingTask(
            prompt=_asked(prompt),
            methods=tuple(dict.fromkeys(method.name for method in chosen)),
            max_new_tokens=max_new_tokens or limits.default_max_new_tokens,
            layer_attention=any("layer_attention" in method.needs for method in chosen),
            on_model=tuple(dict.fromkeys(method.name for method in chosen if method.on_model)),
            force=force,
            report=report,
            model=model,
            system=None if system is None else _plain_lines(system),
            indication=_plain_lines(indication).strip() or None if indication else None,
        )

    def _given(self, report: str) -> str:
        """A report that was given, without a BOM, with the line ends that a model writes (a form sends CR LF for each).

        Raises ReportTextError.
        """
        text = _plain_lines(report.removeprefix("\ufeff"))
        if not text.strip():
            raise ReportTextError("the given report is empty")
        limit = self._limits.max_report_characters
        if len(text) > limit:
            raise ReportTextError(f"the given report has {len(text)} characters; {limit} are explained at most")
        if REPLACEMENT in text:
            raise ReportTextError("the given report is not UTF-8 text, or holds U+FFFD in place of a lost letter")
        return text

    async def film(
        self, data: bytes, *, window: str | None = None, force: bool = False, model: str | None = None
    ) -> Film:
        """Decode an upload in a worker process. model: for which it is counted.

        Raises FilmError, FilmWithheldError unless force; SelectionError for a window that the film has not;
        ServiceBusyError when too many films wait, DeadlineExceededError.
        """
        with self._counted(model):
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    with stages.stage("decode"):
                        film = await self._decoders.read(data, window=window)
            except TimeoutError as error:
                raise self._too_slow() from error
            if not force:
                withhold(film)
            return film

    async def prior(
        self, data: bytes, *, window: str | None = None, force: bool = False, model: str | None = None
    ) -> Film:
        """The same for a prior film: what is raised says so."""
        with about_prior():
            return await self.film(data, window=window, force=force, model=model)

    async def answer(
        self, film: Film, task: ReadingTask, media_type: str, *, prior: Film | None = None, report_id: str
    ) -> Response:
        """Read the film, keep the report, and answer with it. Raises StoreFullError before anything is spent on it."""
        with self._counted(task.model):
            await self.require_room(film, prior)
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    explanation = await self._backend.read(film, task, prior)
            except TimeoutError as error:
                raise self._too_slow() from error
            model = await self.keep(report_id, explanation, with_maps=media_type == MSGPACK)
        return self._made(model, media_type)

    async def again(self, report_id: str, media_type: str) -> Response:
        """Answer with a report that is there as `answer` or `stream` did when it was made. Raises ReportNotFoundError.
        """

        def stored() -> ExplanationModel:
            kept = self._store.get(report_id)
            return explanation_model(
                report_id, unpack_record(kept.blob), kept.expires_at, with_maps=media_type == MSGPACK
            )

        model = await asyncio.to_thread(stored)
        if media_type != EVENTS:
            return self._made(model, media_type)
        return StreamingResponse(iter([events.event("report", model)]), media_type=EVENTS)

    def _made(self, model: ExplanationModel, media_type: str) -> Response:
        return Response(
            encode(model, media_type),
            status_code=HTTPStatus.CREATED,
            media_type=media_type,
            headers={"Location": f"reports/{model.id}"},
        )

    async def stream(
        self, film: Film, task: ReadingTask, *, prior: Film | None = None, report_id: str
    ) -> StreamingResponse:
        """Read the film and answer with an event stream; raises as `answer` before it begins."""
        with self._counted(task.model):
            await self.require_room(film, prior)
        return await events.respond(self._frames(film, task, prior, report_id))

    async def _frames(
        self, film: Film, task: ReadingTask, prior: Film | None, report_id: str
    ) -> AsyncGenerator[bytes]:
        """The framed events; ends with the report or raises."""
        items = paced(self._backend.read_aloud(film, task, prior), events.SIGN_OF_LIFE_S, self._limits.timeout_s)
        with self._counted(task.model):
            report: ExplanationModel | None = None
            try:
                async with aclosing(items):
                    async for item in items:
                        match item:
                            case Silence():
                                yield events.SIGN_OF_LIFE
                            case str():
                                yield events.event("text", TextDelta(delta=item))
                            case Progress():
                                yield events.event("progress", ProgressModel.model_validate(item))
                            case Explanation():
                                report = await self.keep(report_id, item)
                                break
            except TimeoutError as error:
                raise self._too_slow() from error
            if report is None:
                raise ServiceInterruptedError("the report broke off; send the film again")
        yield events.event("report", report)

    async def progress(
        self, film: Film, task: ReadingTask, prior: Film | None
    ) -> AsyncGenerator[Progress | Explanation]:
        """Read the film without a word of what is written: how far it is, and last the explanation."""
        written = 0
        async with aclosing(self._backend.read_aloud(film, task, prior)) as items:
            async for item in items:
                if isinstance(item, str):
                    written += 1
                    yield Progress("report", min(written, task.max_new_tokens), task.max_new_tokens)
                else:
                    yield item

    async def keep(self, report_id: str, explanation: Explanation, *, with_maps: bool = False) -> ExplanationModel:
        """Put the report into the store and describe it. Raises StoreError."""

        def keep() -> ExplanationModel:
            blob = pack_record(explanation)
            try:
                with stages.stage("store"):
                    expires_at = self._store.put(report_id, blob)
            except StoreError:
                # Another replica may have kept the report of the same request before: then it is there.
                with suppress(StoreError):
                    expires_at = self._store.stamp(report_id).expires_at
                    return explanation_model(report_id, explanation, expires_at, with_maps=with_maps)
                raise
            outcome = "given" if explanation.provenance.given else "written"
            metrics.REPORTS.add(outcome=outcome, model=self._label(explanation.provenance.alias))
            metrics.WORDS.add(len(explanation.report.words))
            film = explanation.film
            logger.info(
                "report %s: film %d x %d, %d tokens, %d bytes kept",
                log_name(report_id),
                film.width,
                film.height,
                len(explanation.report.tokens),
                len(blob),
            )
            return explanation_model(report_id, explanation, expires_at, with_maps=with_maps)

        return await asyncio.to_thread(keep)

    async def require_room(self, film: Film, prior: Film | None) -> None:
        """The films' pixels as they are: compressed they leave room for the maps."""
        needed = sum(one.pixels.nbytes for one in (film, prior) if one is not None)
        await asyncio.to_thread(self._store.require_room, needed)

    def _too_slow(self) -> DeadlineExceededError:
        return DeadlineExceededError(f"no report within {self._limits.timeout_s:g} s")


def _asked(prompt: Asked | None) -> Asked | None:
    """With plain lines; an empty one is none."""
    if isinstance(prompt, str):
        return _plain_lines(prompt) or None
    return None if prompt is None else prompt.reworded(_plain_lines)


def _plain_lines(text: str) -> str:
    """The text with the line ends that people and models write: a form sends CR LF for each."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
