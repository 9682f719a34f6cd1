"""A question about a film in OpenAI's protocol: read as any other film is, and answered with what explains it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from medinterp.api.asking import Asking
from medinterp.api.backend import Backend, JudgingTask, Progress, ReadingTask
from medinterp.api.chat_errors import error_of
from medinterp.api.data_urls import film_of
from medinterp.api.events import MEDIA_TYPE, SIGN_OF_LIFE, SIGN_OF_LIFE_S
from medinterp.api.negotiation import JSON
from medinterp.api.pacing import Silence, paced
from medinterp.api.packed import packed_maps
from medinterp.api.problem_handlers import unforeseen_problem
from medinterp.api.problems import problem_of
from medinterp.api.reading import Reading
from medinterp.api.report_id import new_report_id
from medinterp.api.schema import WordModel
from medinterp.api.schema_chat import (
    AnswerModel,
    ChatAskedModel,
    ChatChunkModel,
    ChatCompletionModel,
    ChoiceModel,
    ChunkChoiceModel,
    DeltaModel,
    EvidenceAsking,
    EvidenceLinksModel,
    EvidenceModel,
    EvidenceWordModel,
    FilmAsking,
    FindingVerdictModel,
    FinishReason,
    LogprobsModel,
    TokenLogprobModel,
    TopLogprobModel,
    UsageModel,
)
from medinterp.api.schema_models import LoadedModelModel
from medinterp.api.schema_packed import PackedMapsModel
from medinterp.api.selection import FindingSelection
from medinterp.api.settings import LiveSettings
from medinterp.errors import DeadlineExceededError, MedInterpError, SelectionError, ServiceInterruptedError
from medinterp.types import Explanation, Film, MapPack, Report

REPLACEMENT = "\ufffd"
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class _Question:
    """What was asked, decoded."""

    film: Film
    prior: Film | None
    task: ReadingTask


@dataclass(frozen=True)
class _Answered:
    """The whole answer."""

    explanation: Explanation
    evidence: EvidenceModel | None


@dataclass(frozen=True)
class _Head:
    """What every chunk of an answer repeats."""

    id: str
    created: int
    model: str
    system_fingerprint: str | None

    def of(self, answered: _Answered) -> _Head:
        """With the revision that answered, which is not known before a model is loaded."""
        return replace(self, system_fingerprint=answered.explanation.provenance.model_revision)


class Chat:
    """Takes questions through the backend; a report is kept when its evidence is asked for, and only then."""

    def __init__(self, backend: Backend, settings: LiveSettings, reading: Reading, asking: Asking) -> None:
        self._backend, self._settings = backend, settings
        self._reading, self._asking = reading, asking

    async def respond(self, asked: ChatAskedModel, urls: Mapping[str, bytes]) -> Response:
        """The answer, or its events. urls: the films that were taken out of the request."""
        model = await self._model(asked.model)
        question = await self._question(asked, urls, model.alias)
        head = _Head(f"chatcmpl-{secrets.token_hex(12)}", int(time.time()), asked.model, model.revision)
        steps = paced(self._steps(asked, question), SIGN_OF_LIFE_S, self._settings.limits.timeout_s)
        if asked.stream:
            return await _streamed(self._frames(asked, head, steps))
        async with aclosing(steps):
            async for step in self._timed(steps):
                if isinstance(step, _Answered):
                    return _whole(asked, head.of(step), step)
        raise ServiceInterruptedError("the answer broke off; ask again")

    async def _model(self, name: str) -> LoadedModelModel:
        """The model that is meant, by its alias or its id. Raises HTTPException 404."""
        models = await self._backend.models()
        for model in (*(one for one in models if one.alias == name), *(one for one in models if one.id == name)):
            return model
        there = ", ".join(model.alias for model in models)
        raise HTTPException(HTTPStatus.NOT_FOUND, f"this service reads films with {there} and no other model")

    async def _question(self, asked: ChatAskedModel, urls: Mapping[str, bytes], model: str) -> _Question:
        """Check everything, then decode the films. Raises RequestValidationError, and as Reading does."""
        reading, how = self._reading, asked.film or FilmAsking()
        methods = asked.evidence.methods if asked.evidence else self._settings.methods[:1]
        limit = asked.max_tokens or asked.max_completion_tokens
        task = reading.task(asked.prompt, methods, limit, force=how.force, system=asked.system, model=model)
        image, *earlier = asked.urls
        if not earlier and how.prior_window is not None:
            raise SelectionError("prior_window is of a second film, which was not sent")
        film = await reading.film(await self._bytes(image, urls), window=how.window, force=how.force, model=model)
        prior = None
        if earlier:
            data = await self._bytes(earlier[0], urls)
            prior = await reading.prior(data, window=how.prior_window, force=how.force, model=model)
        if asked.evidence is not None:
            await reading.require_room(film, prior)
        return _Question(film, prior, task)

    async def _bytes(self, url: str, urls: Mapping[str, bytes]) -> bytes:
        try:
            return await asyncio.to_thread(film_of, url, urls, self._settings.limits.max_upload_bytes)
        except ValueError as error:
            flaw = {"type": "value_error", "loc": ("body", "messages"), "msg": str(error)}
            raise RequestValidationError([flaw]) from None

    async def _steps(
        self, asked: ChatAskedModel, question: _Question
    ) -> AsyncGenerator[str | Progress | _Answered]:
        """The text as it grows where it is streamed, and the whole answer last."""
        film, task, prior = question.film, question.task, question.prior
        if asked.stream:
            async with aclosing(self._backend.read_aloud(film, task, prior)) as items:
                async for item in items:
                    if isinstance(item, Explanation):
                        yield _Answered(item, await self._evidence(asked.evidence, item))
                        return
                    yield item
        else:
            explanation = await self._backend.read(film, task, prior)
            yield _Answered(explanation, await self._evidence(asked.evidence, explanation))

    async def _evidence(self, asked: EvidenceAsking | None, explanation: Explanation) -> EvidenceModel | None:
        """Keep the report, and say what explains it."""
        if asked is None:
            return None
        kept = await self._reading.keep(new_report_id(), explanation)
        place, words = f"reports/{kept.id}", explanation.report.words
        verdicts = None
        if asked.verdicts:
            named = [finding.index for finding in explanation.report.findings if finding.status != "absent"]
            tasks = [(index, JudgingTask(FindingSelection(index))) for index in named]
            verdicts = tuple(
                [
                    FindingVerdictModel(finding=index, verdict=await self._asking.verdict(kept.id, task))
                    for index, task in tasks
                ]
            )

        def inline(packs: Mapping[str, MapPack]) -> dict[str, PackedMapsModel]:
            return {name: packed_maps(kept.id, pack, words) for name, pack in packs.items()}

        maps = prior_maps = None
        if asked.maps == "inline":
            maps = await asyncio.to_thread(inline, explanation.packs)
            prior_maps = await asyncio.to_thread(inline, explanation.prior_packs) if explanation.prior else None
        return EvidenceModel(
            report=kept.id,
            expires_at=kept.expires_at,
            links=EvidenceLinksModel(
                report=place,
                film=f"{place}/film.png",
                maps={method: f"{place}/maps?method={method}" for method in kept.methods},
                faithfulness=f"{place}/faithfulness",
                export=f"{place}/export?format=html",
            ),
            film=kept.film,
            prior=kept.prior,
            methods=kept.methods,
            rows=kept.rows,
            columns=kept.columns,
            words=tuple(_word(place, word) for word in kept.report.words),
            sections=kept.report.sections,
            findings=kept.report.findings,
            provenance=kept.provenance,
            maps=maps,
            prior_maps=prior_maps,
            verdicts=verdicts,
        )

    async def _timed(
        self, steps: AsyncGenerator[str | Progress | _Answered | Silence]
    ) -> AsyncGenerator[str | Progress | _Answered | Silence]:
        try:
            async for step in steps:
                yield step
        except TimeoutError as error:
            raise DeadlineExceededError(f"no answer within {self._settings.limits.timeout_s:g} s") from error

    async def _frames(
        self, asked: ChatAskedModel, head: _Head, steps: AsyncGenerator[str | Progress | _Answered | Silence]
    ) -> AsyncGenerator[bytes]:
        """The events; the first one comes with the first word, so that what fails before has its own status."""
        begun = False
        async with aclosing(steps):
            async for step in self._timed(steps):
                if not begun and isinstance(step, str | _Answered):
                    begun = True
                    yield _chunk(head, ChunkChoiceModel(delta=DeltaModel(role="assistant", content="")))
                match step:
                    case str():
                        if step:
                            yield _chunk(head, ChunkChoiceModel(delta=DeltaModel(content=step)))
                    case _Answered(explanation, evidence):
                        head = head.of(step)
                        report = explanation.report
                        if asked.logprobs:
                            told = _logprobs(report, asked.top_logprobs or 0)
                            yield _chunk(head, ChunkChoiceModel(logprobs=told))
                        yield _chunk(head, ChunkChoiceModel(finish_reason=_finish(report), evidence=evidence))
                        if asked.stream_options is not None and asked.stream_options.include_usage:
                            yield _chunk(head, usage=_usage(explanation))
                        yield DONE
                        return
                    case _:
                        yield SIGN_OF_LIFE
        raise ServiceInterruptedError("the answer broke off; ask again")


async def _streamed(frames: AsyncGenerator[bytes]) -> StreamingResponse:
    """As events.respond; an error on the way is an event in OpenAI's words."""
    first = await anext(frames)

    async def body() -> AsyncGenerator[bytes]:
        async with aclosing(frames):
            yield first
            try:
                async for frame in frames:
                    yield frame
            except MedInterpError as error:
                yield _event(error_of(problem_of(error)).model_dump_json())
            except Exception:
                yield _event(error_of(unforeseen_problem()).model_dump_json())
                raise

    return StreamingResponse(body(), media_type=MEDIA_TYPE)


def _event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


def _chunk(head: _Head, choice: ChunkChoiceModel | None = None, usage: UsageModel | None = None) -> bytes:
    model = ChatChunkModel(**vars(head), choices=() if choice is None else (choice,), usage=usage)
    unsaid: dict[str, Any] = {"delta": {name for name, value in choice.delta if value is None}} if choice else {}
    return _event(model.model_dump_json(exclude={"choices": {"__all__": {**unsaid, **_without_evidence(choice)}}}))


def _without_evidence(choice: ChoiceModel | ChunkChoiceModel | None) -> dict[str, Any]:
    """What is left out of a choice that nobody asked to explain: other clients know no such field."""
    return {"evidence": True} if choice is not None and choice.evidence is None else {}


def _whole(asked: ChatAskedModel, head: _Head, answered: _Answered) -> Response:
    report = answered.explanation.report
    choice = ChoiceModel(
        message=AnswerModel(content=report.text),
        logprobs=_logprobs(report, asked.top_logprobs or 0) if asked.logprobs else None,
        finish_reason=_finish(report),
        evidence=answered.evidence,
    )
    model = ChatCompletionModel(**vars(head), choices=(choice,), usage=_usage(answered.explanation))
    left_out = {"choices": {"__all__": _without_evidence(choice)}}
    return Response(model.model_dump_json(exclude=left_out), media_type=JSON)


def _word(place: str, word: WordModel) -> EvidenceWordModel:
    return EvidenceWordModel(**word.model_dump(), overlay=f"{place}/words/{word.index}/overlay.png")


def _finish(report: Report) -> FinishReason:
    return "stop" if report.complete else "length"


def _usage(explanation: Explanation) -> UsageModel | None:
    read, written = explanation.provenance.prompt_tokens, len(explanation.report.tokens)
    if read is None:
        return None
    return UsageModel(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


def _logprobs(report: Report, top: int) -> LogprobsModel:
    """Each token as it stands in the text. One that is a part of a character has that character, and no bytes."""
    spans = [(token.start, token.end) for token in report.tokens]
    told = []
    for index, token in enumerate(report.tokens):
        shared = any(_overlap(spans[index], spans[k]) for k in (index - 1, index + 1) if 0 <= k < len(spans))
        own = _one(report.text[token.start : token.end], token.logprob, whole=not shared)
        others = [_one(other.text, other.logprob, whole=True) for other in token.alternatives]
        likeliest = sorted([own, *others], key=lambda one: -one.logprob)[:top]
        told.append(TokenLogprobModel(**own.model_dump(), top_logprobs=tuple(likeliest)))
    return LogprobsModel(content=tuple(told))


def _overlap(one: Sequence[int], other: Sequence[int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _one(text: str, logprob: float, *, whole: bool) -> TopLogprobModel:
    known = whole and REPLACEMENT not in text
    return TopLogprobModel(token=text, bytes=tuple(text.encode()) if known else None, logprob=logprob)
