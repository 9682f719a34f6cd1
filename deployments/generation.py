"""The generation deployment: has reports written or explained, and hands on the trace of how they came about."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from ray.serve.handle import DeploymentHandle

from deployments.errands import Errands, Result, Tell
from deployments.handoff import Handoff, array_bytes
from deployments.logs import join_serve_log
from deployments.metrics import collected, join_ray_metrics
from deployments.models import Models
from deployments.operation import ModelOperation
from deployments.relevancy import Explained
from deployments.served import ServedModel
from deployments.settings import (
    DefaultModelSettings,
    EngineSettings,
    GenerationUserConfig,
    ModelSettings,
    SlotsSettings,
)
from deployments.user_config import UserConfig
from deployments.writers import make_engine, make_generator
from medinterp import stages
from medinterp.api.admission import Admission
from medinterp.api.answers import pack_of
from medinterp.api.backend import (
    BoxesTask,
    ComparingTask,
    HeadsTask,
    JudgingTask,
    MeasuringTask,
    Progress,
    ReadingTask,
    RelianceTask,
    SourcesTask,
)
from medinterp.api.metrics import Collected
from medinterp.api.schema_models import LoadedModelModel
from medinterp.api.selection import selected
from medinterp.api.store import RedisStoreSettings, SqliteStoreSettings, open_store, unpack_record
from medinterp.errors import StoreFullError
from medinterp.evaluation.sensitivity import compare_again
from medinterp.evaluation.sensitivity.results import Comparison, ReportComparison
from medinterp.explanation import Explanation
from medinterp.relevancy import add_measured
from medinterp.render import encode_png
from medinterp.types import BoxVerdict, Faithfulness, Film, Generation, HeadMaps, MapPack, Reliance, TextSources

if TYPE_CHECKING:
    from medinterp.model import Generator

logger = logging.getLogger("medinterp.generation")


class GenerationDeployment:
    """Holds the models: reports are written side by side, questions to a model run in pieces between their steps."""

    def __init__(
        self,
        settings: DefaultModelSettings,
        writer: SlotsSettings | EngineSettings,
        store: SqliteStoreSettings | RedisStoreSettings,
        relevancy: DeploymentHandle[Any],
        others: tuple[ModelSettings, ...] = (),
        max_loaded: int = 1,
    ) -> None:
        """Open the store, load the model and test it, and make the writer's slots and graphs.

        others: models that requests may choose, of which max_loaded at once are held beside it; they write in slots of
        their own, also where an engine writes for the default one.

        Raises ModelError: a replica that fails the test, or has no room for one slot, never serves; EngineError for an
        engine whose key is missing; StoreError.
        """
        from medinterp.evaluation.boxes import judge_boxes
        from medinterp.evaluation.faithfulness import judge_map
        from medinterp.evaluation.reliance import word_reliance
        from medinterp.model.beside import loading_beside
        from medinterp.model.heads import head_maps
        from medinterp.model.sources import text_sources
        from medinterp.model.turns import CALLER
        from medinterp.model.view import model_view

        join_serve_log()
        join_ray_metrics()
        engine = None
        if isinstance(writer, EngineSettings):
            engine = make_engine(writer, image_first=settings.image_first)
        self._store = open_store(store)  # one that cannot be used is told before the model is loaded
        # A thread that has computed keeps helpers (OpenMP's) for as long as it lives, and where they are more than the
        # cores, every step of the writer has to wake its own: this thread lives, so that another one computes.
        with ThreadPoolExecutor(1) as aside:
            generator, told = aside.submit(make_generator, settings, writer, settings.max_trace_bytes).result()
        logger.info("the writer: %s", told)
        default = ServedModel(settings.chosen_by, generator, told, engine)
        self._errands = Errands(CALLER)

        def load(other: ModelSettings) -> ServedModel:
            slots = writer if isinstance(writer, SlotsSettings) else SlotsSettings()
            with loading_beside([model.generator.loaded.lock for model in self._models.loaded]):
                generator, told = make_generator(other, slots, settings.max_trace_bytes)
            logger.info("model %s: the writer: %s", other.chosen_by, told)
            self._operation.configure(generator)
            return ServedModel(other.chosen_by, generator, told)

        self._models = Models(default, others, max_loaded, load, self._errands)
        self._judge_map, self._judge_boxes = judge_map, judge_boxes
        self._head_maps, self._text_sources, self._word_reliance = head_maps, text_sources, word_reliance
        self._model_view = model_view
        self._handoff = Handoff(relevancy, settings.traces_bytes)
        queue = GenerationUserConfig().queue
        self._reports = Admission(queue.reports, max_bytes=queue.film_bytes)
        self._questions = Admission(queue.questions)
        self._operation = ModelOperation(self._models, self._reports, self._questions, self._handoff)
        self._operation.show(slots=engine is None)
        self._changes = UserConfig(GenerationUserConfig, self._operation.change)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Called by Serve with GenerationUserConfig, before the first request and at every change."""
        self._changes.take(user_config)

    async def metrics(self) -> Collected:
        """What this replica has counted."""
        return await asyncio.to_thread(collected)

    async def models(self) -> tuple[LoadedModelModel, ...]:
        """What models read films, the default one first; none is loaded for this."""
        return await asyncio.to_thread(self._models.facts)

    async def write(self, film: Film, task: ReadingTask, caller: str = "", prior: Film | None = None) -> Explained:
        """Read the film, a prior one after it; the trace's numpy arrays go through the object store to relevancy.

        Raises ServiceBusyError, which says when to come again; UnknownModelError, ModelBrokenError.
        """
        films = _films(film, prior)
        with self._admitted(films, task, caller):
            async with self._models.lent(task.model) as model:
                written = await self._errands.run(caller, lambda _, gone: model.write(films, task, None, None, gone))
                return await self._handoff.explained(written, task.methods)

    async def write_aloud(
        self, film: Film, task: ReadingTask, caller: str = "", prior: Film | None = None
    ) -> AsyncGenerator[str | Progress | Explained]:
        """The report's text as it grows, or a given one whole; then progress; last, what `write` returns."""
        films = _films(film, prior)
        with self._admitted(films, task, caller):
            async with self._models.lent(task.model) as model:
                work = self._errands.aloud(caller, lambda tell, gone: model.write(films, task, tell, tell, gone))
                async for item in work:
                    yield await self._handoff.explained(item, task.methods) if isinstance(item, Generation) else item

    def _admitted(self, films: list[Film], task: ReadingTask, caller: str) -> AbstractContextManager[None]:
        return self._reports.entered(caller, (tuple(one.sha256 for one in films), task), array_bytes(films))

    async def measure(
        self, report_id: str, task: MeasuringTask, caller: str = ""
    ) -> AsyncGenerator[Progress | MapPack]:
        """Ask the model again about a stored report: the maps on each film. Raises ReportNotFoundError, MethodError."""
        explanation = await asyncio.to_thread(self._report, report_id)

        def work(generator: Generator, tell: Tell, gone: threading.Event) -> tuple[MapPack, ...]:
            measured = generator.measure(
                _films(explanation.film, explanation.prior),
                explanation.report,
                explanation.provenance.asked,
                [task.method],
                {task.method: task.options},
                progress=lambda what, done, of: tell(Progress(what, done, of)),
                cancelled=gone.is_set,
            )
            beside = (explanation.packs, explanation.prior_packs)[: 1 if explanation.prior is None else 2]
            return tuple(add_measured(packs, task.method, measured[task.method], k) for k, packs in enumerate(beside))

        async for item in self._asked(caller, report_id, explanation, task, work):
            for one in item if isinstance(item, tuple) else (item,):
                yield one

    async def judge(
        self, report_id: str, task: JudgingTask, caller: str = ""
    ) -> AsyncGenerator[Progress | Faithfulness]:
        """Judge a map of a stored report. Raises ReportNotFoundError, SelectionError, MethodError."""
        explanation = await asyncio.to_thread(self._report, report_id)
        chosen = explanation.map(
            selected(explanation.report, task.selection),
            pack_of(explanation, task.method, task.image).method,
            image=task.image,
        )

        def work(generator: Generator, tell: Tell, gone: threading.Event) -> Faithfulness:
            return self._judge_map(
                generator.loaded,
                _films(explanation.film, explanation.prior),
                explanation.report,
                explanation.provenance.asked,
                chosen.token_indices,
                chosen.method,
                chosen.values,
                image=task.image,
                memory_bytes=generator.memory_bytes(),
                progress=lambda done, of: tell(Progress("faithfulness", done, of)),
                cancelled=gone.is_set,
            )

        async for item in self._asked(caller, report_id, explanation, task, work):
            yield item

    async def compare(
        self, report_id: str, task: ComparingTask, caller: str = ""
    ) -> AsyncGenerator[Progress | Comparison | ReportComparison]:
        """Ask in other words, and of the film changed. Raises ReportNotFoundError, PromptError, MethodError."""
        explanation = await asyncio.to_thread(self._report, report_id)

        def work(generator: Generator, tell: Tell, gone: threading.Event) -> Comparison | ReportComparison:
            return compare_again(
                generator,
                explanation,
                task.questions,
                methods=task.methods,
                perturbations=task.perturbations,
                seed=task.seed,
                progress=lambda done, of: tell(Progress("sensitivity", done, of)),
                cancelled=gone.is_set,
            )

        async for item in self._asked(caller, report_id, explanation, task, work):
            yield item

    async def sources(
        self, report_id: str, task: SourcesTask | HeadsTask | RelianceTask | BoxesTask, caller: str = ""
    ) -> AsyncGenerator[Progress | TextSources | HeadMaps | Reliance | tuple[BoxVerdict, ...]]:
        """What drove some words of a stored report, what each loses with another film, or verdicts on its boxes.

        Raises ReportNotFoundError, SelectionError, MethodError.
        """
        explanation = await asyncio.to_thread(self._report, report_id)
        asked = (explanation.films, explanation.report, explanation.provenance.asked)

        def work(
            generator: Generator, tell: Tell, gone: threading.Event
        ) -> TextSources | HeadMaps | Reliance | tuple[BoxVerdict, ...]:
            loaded = generator.loaded
            if isinstance(task, RelianceTask | BoxesTask):
                boxes = isinstance(task, BoxesTask)
                question = partial(self._judge_boxes, packs=explanation.packs) if boxes else self._word_reliance
                what = "boxes" if boxes else "reliance"
                return question(
                    loaded,
                    *asked,
                    progress=lambda done, of: tell(Progress(what, done, of)),
                    cancelled=gone.is_set,
                )
            tokens = explanation.tokens_of(selected(explanation.report, task.selection))
            if isinstance(task, HeadsTask):
                return self._head_maps(loaded, *asked, tokens, image=task.image, cancelled=gone.is_set)
            return self._text_sources(loaded, *asked, tokens, cancelled=gone.is_set)

        async for item in self._asked(caller, report_id, explanation, task, work):
            yield item

    async def view(self, report_id: str, image: int = 0) -> bytes:
        """A PNG of a stored report's film, or its prior one (image 1), as the model gets it, drawn beside the work.

        Raises ReportNotFoundError, SelectionError.
        """

        explanation = await asyncio.to_thread(self._report, report_id)
        async with self._models.writer_of(explanation.provenance) as model:
            film, loaded = explanation.film_at(image), model.generator.loaded
            return await asyncio.to_thread(lambda: encode_png(self._model_view(loaded, film)))

    def _report(self, report_id: str) -> Explanation:
        return unpack_record(self._store.get(report_id).blob)

    async def _asked(
        self,
        caller: str,
        report_id: str,
        explanation: Explanation,
        task: object,
        work: Callable[[Generator, Tell, threading.Event], Result],
    ) -> AsyncGenerator[Any]:
        """What the model that wrote a stored report is asked about it: progress, the answer last.

        Raises ServiceBusyError, ModelGoneError.
        """
        with self._questions.entered(caller, repr((report_id, task))):
            async with self._models.writer_of(explanation.provenance) as model:

                def timed(tell: Tell, gone: threading.Event) -> Result:
                    with model.in_use(), stages.stage("measure" if isinstance(task, MeasuringTask) else "judge"):
                        return work(model.generator, tell, gone)

                async for item in self._errands.aloud(caller, timed):
                    yield item

    async def ping(self) -> None:
        """Answer when films can be read and stored reports asked about. Raises ModelError, ServiceError, StoreError."""
        await self.check_health()
        try:
            await asyncio.to_thread(self._store.check)
        except StoreFullError:
            return  # questions can be asked

    async def check_health(self) -> None:
        """Raise when nobody writes, a step is stuck, or the device does not compute: the replica is replaced."""
        await self._operation.check()


def _films(film: Film, prior: Film | None) -> list[Film]:
    """As the model sees them: the current one first."""
    return [film] if prior is None else [film, prior]
