"""Asking the model again about a report that is kept: more maps, whether a map is true, whether answers hold."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from fastapi import Response

from medinterp.api import events, metrics
from medinterp.api.answers import maps_model
from medinterp.api.backend import (
    Backend,
    BoxesTask,
    ComparingTask,
    HeadsTask,
    JudgingTask,
    MeasuringTask,
    Progress,
    RelianceTask,
    SourcesTask,
)
from medinterp.api.negotiation import EVENTS, encode
from medinterp.api.pacing import Silence, paced
from medinterp.api.report_id import log_name
from medinterp.api.schema import FaithfulnessModel, MapsModel, Model, ProgressModel
from medinterp.api.schema_boxes import box_verdicts_model
from medinterp.api.schema_sensitivity import ComparingModel, ComparisonModel, ReportComparisonModel
from medinterp.api.settings import Limits, LiveSettings
from medinterp.api.source_answers import heads_model, reliance_model, text_sources_model
from medinterp.api.store import ReportStore, change_record, unpack_record
from medinterp.api.work import (
    BoxesWork,
    FaithfulnessWork,
    HeadsWork,
    MapsWork,
    Question,
    RelianceWork,
    SensitivityWork,
    TextWork,
)
from medinterp.errors import (
    DeadlineExceededError,
    MethodError,
    PromptError,
    ServiceInterruptedError,
    StoreFullError,
)
from medinterp.evaluation.sensitivity.results import Comparison, ReportComparison
from medinterp.explanation import Explanation
from medinterp.imaging.perturb import get_perturbations
from medinterp.relevancy import get_method
from medinterp.types import BoxVerdict, Faithfulness, HeadMaps, MapPack, Reliance, TextSources

logger = logging.getLogger(__name__)


class Asking:
    """Takes questions about stored reports through the backend, and keeps the maps that come back."""

    def __init__(self, backend: Backend, settings: LiveSettings, store: ReportStore) -> None:
        self._backend = backend
        self._settings = settings
        self._store = store

    @property
    def _limits(self) -> Limits:
        return self._settings.limits

    def measuring(self, method: str, options: Mapping[str, Any]) -> MeasuringTask:
        """Check what is asked before anything is spent on it. Raises UnknownMethodError or MethodError."""
        if not get_method(method).on_model:
            raise MethodError(f"{method} is computed when a report is made; ask for it in a new report")
        return MeasuringTask(method, options)

    def comparing(self, asked: ComparingModel) -> ComparingTask:
        """The same for a comparison. Raises PromptError, UnknownMethodError or SelectionError."""
        questions = tuple(question.strip() for question in asked.questions)
        limit = self._limits.max_prompt_characters
        if not all(questions):
            raise PromptError("a question is empty")
        if max(map(len, questions), default=0) > limit:
            raise PromptError(f"a question is longer than {limit} characters")
        if len(set(questions)) < len(questions):
            raise PromptError("a question is asked twice; it would agree with itself")
        methods, perturbations = asked.methods, asked.perturbations
        if methods is not None:
            methods = tuple(dict.fromkeys(get_method(name).name for name in methods))
        if perturbations is not None:
            perturbations = tuple(dict.fromkeys(change.name for change in get_perturbations(perturbations)))
        return ComparingTask(questions, methods, perturbations, asked.seed)

    async def answer(self, work: Question, media_type: str) -> Response:
        """Ask, keep what is found with the report, and answer with it; raises before anything is spent, as `check`."""
        await self.check(work)
        return await self._respond(self.answers(work), work.kind, media_type)

    async def check(self, work: Question) -> None:
        """Raises ReportNotFoundError, and SelectionError for maps on a film that the report has not."""
        stored = await asyncio.to_thread(self._store.get, work.report_id)
        if isinstance(work, MapsWork):
            await asyncio.to_thread(lambda: unpack_record(stored.blob).film_at(work.image))

    async def answers(self, work: Question) -> AsyncGenerator[Progress | Model]:
        """Progress any number of times, and the answer last."""
        match work:
            case MapsWork():
                found = self._maps(work)
            case FaithfulnessWork():
                found = self._faithfulness(work)
            case SensitivityWork():
                found = self._sensitivity(work)
            case TextWork() | HeadsWork():
                found = self._sources(work.report_id, work.task)
            case RelianceWork():
                found = self._reliance(work)
            case BoxesWork():
                found = self._boxes(work.report_id)
        async with aclosing(found) as items:
            async for item in items:
                yield item

    async def _maps(self, work: MapsWork) -> AsyncGenerator[Progress | Model]:
        async with aclosing(self._backend.measure(work.report_id, work.task)) as items:
            packs: list[MapPack] = []
            async for item in items:
                if isinstance(item, Progress):
                    yield item
                else:
                    packs.append(item)
        if packs:
            yield await self._keep(work.report_id, packs, work.image)

    async def _faithfulness(self, work: FaithfulnessWork) -> AsyncGenerator[Progress | Model]:
        async with aclosing(self._backend.judge(work.report_id, work.task)) as items:
            async for item in items:
                yield await self._keep_verdict(work.report_id, item) if isinstance(item, Faithfulness) else item

    async def _sensitivity(self, work: SensitivityWork) -> AsyncGenerator[Progress | Model]:
        async with aclosing(self._backend.compare(work.report_id, work.task)) as items:
            async for item in items:
                match item:
                    case Comparison():
                        yield ComparisonModel.model_validate(item)
                    case ReportComparison():
                        yield ReportComparisonModel.model_validate(item)
                    case _:
                        yield item

    async def _sources(
        self, report_id: str, task: SourcesTask | HeadsTask | RelianceTask | BoxesTask
    ) -> AsyncGenerator[Progress | Model]:
        """What drove some words, what each loses, or verdicts on boxes; kept with the report, but for maps by head."""
        async with aclosing(self._backend.sources(report_id, task)) as items:
            async for item in items:
                match item:
                    case TextSources():
                        explanation = await self._keep_found(report_id, item)
                        yield text_sources_model(report_id, explanation, item)
                    case HeadMaps():
                        yield heads_model(report_id, item)
                    case Reliance():
                        explanation = await self._keep_found(report_id, item)
                        yield reliance_model(report_id, explanation.report, item)
                    case tuple():
                        await self._keep_found(report_id, item)
                        yield box_verdicts_model(report_id, item)
                    case _:
                        yield item

    async def _reliance(self, work: RelianceWork) -> AsyncGenerator[Progress | Model]:
        """What every word loses with another film: asked of the model once, then kept with the report."""
        stored = await asyncio.to_thread(lambda: unpack_record(self._store.get(work.report_id).blob))
        if stored.reliance is not None:
            yield reliance_model(work.report_id, stored.report, stored.reliance)
            return
        async with aclosing(self._sources(work.report_id, RelianceTask())) as items:
            async for item in items:
                yield item

    async def _boxes(self, report_id: str) -> AsyncGenerator[Progress | Model]:
        """Whether boxes lie where the model looked: asked of the model once, then kept with the report."""
        stored = await asyncio.to_thread(lambda: unpack_record(self._store.get(report_id).blob))
        if stored.box_verdicts:
            yield box_verdicts_model(report_id, stored.box_verdicts)
            return
        async with aclosing(self._sources(report_id, BoxesTask())) as items:
            async for item in items:
                yield item

    async def verdict(self, report_id: str, task: JudgingTask) -> FaithfulnessModel:
        """A verdict, kept with the report, without an answer of its own."""
        async with aclosing(self._faithfulness(FaithfulnessWork(report_id, task))) as items:
            async for item in items:
                if isinstance(item, FaithfulnessModel):
                    return item
        raise ServiceInterruptedError("the answer broke off; ask again")

    async def _keep_found(
        self, report_id: str, found: TextSources | Reliance | tuple[BoxVerdict, ...]
    ) -> Explanation:
        """Keep it with the report, and return that."""

        def keep() -> Explanation:
            def change(blob: bytes) -> bytes:
                return change_record(blob, lambda kept: kept.keeping(found))

            try:
                stored = self._store.update(report_id, change)
            except StoreFullError:  # the answer is worth more than its place in the report
                logger.warning("report %s: no room to keep an answer", log_name(report_id))
                return unpack_record(self._store.get(report_id).blob).keeping(found)
            return unpack_record(stored.blob)

        return await asyncio.to_thread(keep)

    async def _keep(self, report_id: str, packs: Sequence[MapPack], image: int) -> MapsModel:
        """Add a method's maps on each film to the stored report, in place of earlier ones."""
        method = packs[0].method

        def change(explanation: Explanation) -> Explanation:
            own, prior = ({pack.method: pack for pack in packs if pack.image == k} for k in (0, 1))
            return replace(
                explanation,
                packs={**explanation.packs, **own},
                prior_packs={**explanation.prior_packs, **prior},
            )

        def keep() -> MapsModel:
            stored = self._store.update(report_id, lambda blob: change_record(blob, change))
            logger.info("report %s: maps by %s kept", log_name(report_id), method)
            explanation: Explanation = unpack_record(stored.blob)
            return maps_model(report_id, explanation, method, image=image)

        return await asyncio.to_thread(keep)

    async def _keep_verdict(self, report_id: str, verdict: Faithfulness) -> FaithfulnessModel:
        """Add the verdict to the stored report, in place of an earlier one of the same map."""

        def change(explanation: Explanation) -> Explanation:
            others = [one for one in explanation.verdicts if not one.of_same_map(verdict)]
            return replace(explanation, verdicts=(*others, verdict))

        try:
            await asyncio.to_thread(self._store.update, report_id, lambda blob: change_record(blob, change))
        except StoreFullError:  # the answer is worth more than its place in the report
            logger.warning("report %s: no room to keep a verdict", log_name(report_id))
        metrics.JUDGEMENTS.add(verdict=verdict.verdict)
        return FaithfulnessModel.model_validate(verdict)

    async def _respond(self, answers: AsyncGenerator[Progress | Model], name: str, media_type: str) -> Response:
        frames = self._items(answers, name)
        if media_type == EVENTS:
            return await events.respond(_framed(frames, name))
        async with aclosing(frames):
            async for item in frames:
                if isinstance(item, Model):
                    return Response(encode(item, media_type), media_type=media_type)
        raise ServiceInterruptedError("the answer broke off; ask again")

    async def _items(
        self, answers: AsyncGenerator[Progress | Model], kind: str
    ) -> AsyncGenerator[Progress | Model | Silence]:
        """Ends with the answer, which is counted."""
        limit_s, answer = self._limits.timeout_s, None
        with metrics.counted(metrics.QUESTIONS, kind=kind):
            try:
                async with aclosing(paced(answers, events.SIGN_OF_LIFE_S, limit_s)) as items:
                    async for item in items:
                        if isinstance(item, Model):
                            answer = item
                            break
                        yield item
            except TimeoutError as error:
                raise DeadlineExceededError(f"no answer within {limit_s:g} s") from error
            if answer is None:
                raise ServiceInterruptedError("the answer broke off; ask again")
        metrics.QUESTIONS.add(kind=kind, outcome="answered")
        yield answer


async def _framed(items: AsyncGenerator[Progress | Model | Silence], name: str) -> AsyncGenerator[bytes]:
    """The framed events; ends with the answer or raises."""
    async with aclosing(items):
        async for item in items:
            match item:
                case Silence():
                    yield events.SIGN_OF_LIFE
                case Progress():
                    yield events.event("progress", ProgressModel.model_validate(item))
                case Model():
                    yield events.event(name, item)
                    return
    raise ServiceInterruptedError("the answer broke off; ask again")
