"""The generation deployment: writes the report, or takes a given one, and emits the trace of how it came about."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ray.serve.handle import DeploymentHandle

from deployments.errands import Errands, Result, Tell, Work
from deployments.handoff import Handoff, array_bytes
from deployments.logs import join_serve_log
from deployments.metrics import collected, join_ray_metrics
from deployments.operation import ModelOperation
from deployments.relevancy import Explained
from deployments.settings import EngineSettings, GenerationUserConfig, ModelSettings, SlotsSettings
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
from medinterp.api.schema import LoadedModelModel
from medinterp.api.selection import selected
from medinterp.api.store import RedisStoreSettings, SqliteStoreSettings, open_store, unpack_record
from medinterp.errors import (
    EngineError,
    GenerationCancelled,
    ReportTextError,
    RequestTooLargeError,
    StoreFullError,
)
from medinterp.evaluation.sensitivity import compare_again
from medinterp.evaluation.sensitivity.results import Comparison, ReportComparison
from medinterp.explanation import Explanation
from medinterp.imaging import withhold
from medinterp.imaging.prior import about_prior
from medinterp.relevancy import add_measured
from medinterp.render import encode_png
from medinterp.types import BoxVerdict, Faithfulness, Film, Generation, HeadMaps, MapPack, Reliance, TextSources

if TYPE_CHECKING:
    from medinterp.model.engine import Engine

logger = logging.getLogger("medinterp.generation")


class GenerationDeployment:
    """Holds the model: reports are written side by side, questions to the model run in pieces between their steps."""

    def __init__(
        self,
        settings: ModelSettings,
        writer: SlotsSettings | EngineSettings,
        store: SqliteStoreSettings | RedisStoreSettings,
        relevancy: DeploymentHandle[Any],
    ) -> None:
        """Open the store, load the model and test it, and make the writer's slots and graphs.

        Raises ModelError: a replica that fails the test, or has no room for one slot, never serves; EngineError for an
        engine whose key is missing; StoreError.
        """
        from medinterp.evaluation.boxes import judge_boxes
        from medinterp.evaluation.faithfulness import judge_map
        from medinterp.evaluation.reliance import word_reliance
        from medinterp.model.given import given_tokens
        from medinterp.model.heads import head_maps
        from medinterp.model.prompt import DEFAULT_PROMPT
        from medinterp.model.sources import text_sources
        from medinterp.model.turns import CALLER
        from medinterp.model.view import model_view

        join_serve_log()
        join_ray_metrics()
        self._engine: Engine | None = None
        if isinstance(writer, EngineSettings):
            self._engine = make_engine(writer, image_first=settings.image_first)
        self._store = open_store(store)  # one that cannot be used is told before the model is loaded
        # A thread that has computed keeps helpers (OpenMP's) for as long as it lives, and where they are more than the
        # cores, every step of the writer has to wake its own: this thread lives, so that another one computes.
        with ThreadPoolExecutor(1) as aside:
            self._generator, told = aside.submit(make_generator, settings, writer).result()
        logger.info("the writer: %s", told)
        loaded = self._generator.loaded
        self._errands = Errands(CALLER)
        self._given_tokens = given_tokens
        self._judge_map, self._judge_boxes = judge_map, judge_boxes
        self._head_maps, self._text_sources, self._word_reliance = head_maps, text_sources, word_reliance
        self._model_view = model_view
        self._handoff = Handoff(relevancy, settings.traces_bytes)
        queue = GenerationUserConfig().queue
        self._reports = Admission(queue.reports, max_bytes=queue.film_bytes)
        self._questions = Admission(queue.questions)
        self._operation = ModelOperation(self._generator, self._reports, self._questions, self._handoff)
        self._operation.show(slots=self._engine is None)
        self._changes = UserConfig(GenerationUserConfig, self._operation.change)
        self._prompt = settings.prompt or loaded.default_prompt or DEFAULT_PROMPT
        self._facts = LoadedModelModel(
            id=loaded.model_id,
            revision=loaded.revision,
            dtype=str(loaded.dtype).removeprefix("torch."),
            device=str(loaded.device),
            notice=loaded.notice,
            default_prompt=self._prompt,
            box_question=loaded.box_question,
            writer=told.split("; ")[0],
        )

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Called by Serve with GenerationUserConfig, before the first request and at every change."""
        self._changes.take(user_config)

    async def metrics(self) -> Collected:
        """What this replica has counted."""
        return await asyncio.to_thread(collected)

    async def model(self) -> LoadedModelModel:
        """What model reads the films."""
        return self._facts

    async def write(self, film: Film, task: ReadingTask, caller: str = "", prior: Film | None = None) -> Explained:
        """Read the film, a prior one after it; the trace's numpy arrays go through the object store to relevancy.

        Raises ServiceBusyError, which says when to come again.
        """
        with self._admitted(film, task, caller, prior):
            written = await self._errands.run(
                caller, lambda _, gone: self._generate(film, task, None, None, gone, prior)
            )
            return await self._handoff.explained(written, task.methods)

    async def write_aloud(
        self, film: Film, task: ReadingTask, caller: str = "", prior: Film | None = None
    ) -> AsyncGenerator[str | Progress | Explained]:
        """The report's text as it grows, or a given one whole; then progress; last, what `write` returns."""
        with self._admitted(film, task, caller, prior):
            work = self._errands.aloud(caller, lambda tell, gone: self._generate(film, task, tell, tell, gone, prior))
            async for item in work:
                yield await self._handoff.explained(item, task.methods) if isinstance(item, Generation) else item

    def _admitted(
        self, film: Film, task: ReadingTask, caller: str, prior: Film | None
    ) -> AbstractContextManager[None]:
        films = _films(film, prior)
        return self._reports.entered(caller, (tuple(one.sha256 for one in films), task), array_bytes(films))

    async def measure(
        self, report_id: str, task: MeasuringTask, caller: str = ""
    ) -> AsyncGenerator[Progress | MapPack]:
        """Ask the model again about a stored report: the maps on each film. Raises ReportNotFoundError, MethodError."""
        explanation = await asyncio.to_thread(self._report, report_id)

        def work(tell: Tell, gone: threading.Event) -> tuple[MapPack, ...]:
            measured = self._generator.measure(
                _films(explanation.film, explanation.prior),
                explanation.report,
                explanation.provenance.prompt,
                [task.method],
                {task.method: task.options},
                progress=lambda what, done, of: tell(Progress(what, done, of)),
                cancelled=gone.is_set,
            )
            beside = (explanation.packs, explanation.prior_packs)[: 1 if explanation.prior is None else 2]
            return tuple(add_measured(packs, task.method, measured[task.method], k) for k, packs in enumerate(beside))

        async for item in self._asked(caller, report_id, task, work):
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

        def work(tell: Tell, gone: threading.Event) -> Faithfulness:
            return self._judge_map(
                self._generator.loaded,
                _films(explanation.film, explanation.prior),
                explanation.report,
                explanation.provenance.prompt,
                chosen.token_indices,
                chosen.method,
                chosen.values,
                image=task.image,
                memory_bytes=self._generator.memory_bytes(),
                progress=lambda done, of: tell(Progress("faithfulness", done, of)),
                cancelled=gone.is_set,
            )

        async for item in self._asked(caller, report_id, task, work):
            yield item

    async def compare(
        self, report_id: str, task: ComparingTask, caller: str = ""
    ) -> AsyncGenerator[Progress | Comparison | ReportComparison]:
        """Ask in other words, and of the film changed. Raises ReportNotFoundError, PromptError, MethodError."""
        explanation = await asyncio.to_thread(self._report, report_id)

        def work(tell: Tell, gone: threading.Event) -> Comparison | ReportComparison:
            return compare_again(
                self._generator,
                explanation,
                task.questions,
                methods=task.methods,
                perturbations=task.perturbations,
                seed=task.seed,
                progress=lambda done, of: tell(Progress("sensitivity", done, of)),
                cancelled=gone.is_set,
            )

        async for item in self._asked(caller, report_id, task, work):
            yield item

    async def sources(
        self, report_id: str, task: SourcesTask | HeadsTask | RelianceTask | BoxesTask, caller: str = ""
    ) -> AsyncGenerator[Progress | TextSources | HeadMaps | Reliance | tuple[BoxVerdict, ...]]:
        """What drove some words of a stored report, what each loses with another film, or verdicts on its boxes.

        Raises ReportNotFoundError, SelectionError, MethodError.
        """
        explanation = await asyncio.to_thread(self._report, report_id)
        asked = (explanation.films, explanation.report, explanation.provenance.prompt)

        def work(tell: Tell, gone: threading.Event) -> TextSources | HeadMaps | Reliance | tuple[BoxVerdict, ...]:
            loaded = self._generator.loaded
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

        async for item in self._asked(caller, report_id, task, work):
            yield item

    async def view(self, report_id: str, image: int = 0) -> bytes:
        """A PNG of a stored report's film, or its prior one (image 1), as the model gets it, drawn beside the work.

        Raises ReportNotFoundError, SelectionError.
        """

        def draw() -> bytes:
            return encode_png(self._model_view(self._generator.loaded, self._report(report_id).film_at(image)))

        return await asyncio.to_thread(draw)

    def _report(self, report_id: str) -> Explanation:
        return unpack_record(self._store.get(report_id).blob)

    def _generate(
        self,
        film: Film,
        task: ReadingTask,
        on_word: Callable[[str], None] | None,
        tell: Tell | None,
        gone: threading.Event,
        prior: Film | None = None,
    ) -> Generation:
        """Write the report, or explain the one that is given; then ask the model again where a method needs it.

        Raises FilmWithheldError before the model is asked, for a film unlike those that it was made for.
        """
        films = _films(film, prior)
        doubts = [self._generator.loaded.doubts([one]) for one in films]
        if not task.force:
            withhold(replace(film, warnings=doubts[0]))
            if prior is not None:
                with about_prior():
                    withhold(replace(prior, warnings=doubts[1]))
        if task.report is not None:
            generation = self._explain(films, task, task.report, on_word, gone)
        elif self._engine is not None:
            generation = self._engines(self._engine, films, task, on_word, gone)
        else:
            generation = self._generator.generate(
                films,
                task.prompt or self._prompt,
                max_new_tokens=task.max_new_tokens,
                layer_attention=task.layer_attention,
                on_word=on_word,
                cancelled=gone.is_set,
            )
        generation = replace(generation, warnings=doubts[0], prior_warnings=() if prior is None else doubts[1])
        if not task.on_model:
            return generation

        def progress(what: str, done: int, of: int) -> None:
            if tell is not None:
                tell(Progress(what, done, of))

        with stages.stage("measure"):
            measured = self._generator.measure(
                films,
                generation.report,
                generation.trace.provenance.prompt,
                task.on_model,
                progress=progress,
                cancelled=gone.is_set,
            )
        return replace(generation, measured=measured)

    def _explain(
        self,
        films: list[Film],
        task: ReadingTask,
        report: str,
        on_word: Callable[[str], None] | None,
        gone: threading.Event,
    ) -> Generation:
        """Explain a report that somebody else wrote, in one pass, which nothing can stop once it has begun.

        Raises ReportTextError, and RequestTooLargeError for more tokens than a report may have.
        """
        ids = self._given_tokens(self._generator.loaded.processor.tokenizer, report)
        if len(ids) > task.max_new_tokens:
            raise RequestTooLargeError(
                f"the given report has {len(ids)} tokens; {task.max_new_tokens} are explained at most"
            )
        if gone.is_set():
            raise GenerationCancelled("the caller went away before the report was explained")
        generation = self._generator.force(
            films, ids, task.prompt or self._prompt, layer_attention=task.layer_attention, cancelled=gone.is_set
        )
        if on_word is not None:
            on_word(generation.report.text)
        return generation

    def _engines(
        self,
        engine: Engine,
        films: list[Film],
        task: ReadingTask,
        on_word: Callable[[str], None] | None,
        gone: threading.Event,
    ) -> Generation:
        """Let the engine write, and explain what it wrote.

        Raises before the engine is asked what `Generator.check` raises; EngineError for a text that is not of this
        model's tokens, and what `Engine.write` raises.
        """
        from medinterp.model.engine import as_written

        asked = task.prompt or self._prompt
        self._generator.check(
            films, asked, max_new_tokens=task.max_new_tokens, layer_attention=task.layer_attention
        )
        with stages.stage("write"):
            written = engine.write(
                films, asked, max_new_tokens=task.max_new_tokens, on_word=on_word, cancelled=gone.is_set
            )
        try:
            generation = self._generator.force(
                films, written.text, asked, layer_attention=task.layer_attention, cancelled=gone.is_set
            )
        except ReportTextError:
            generation = None
        if generation is None:  # raised out here, for the report's words are in the error's frames
            raise EngineError(
                "the engine wrote what this model's tokens cannot write: does it run the same checkpoint and chat "
                "template?"
            )
        tokenizer = self._generator.loaded.processor.tokenizer
        return as_written(
            generation, written, tokenizer, model=engine.model, max_new_tokens=task.max_new_tokens, seed=None
        )

    async def _asked(self, caller: str, report_id: str, task: object, work: Work[Result]) -> AsyncGenerator[Any]:
        """What the model is asked about a stored report: progress, the answer last. Raises ServiceBusyError."""

        def timed(tell: Tell, gone: threading.Event) -> Result:
            with stages.stage("measure" if isinstance(task, MeasuringTask) else "judge"):
                return work(tell, gone)

        with self._questions.entered(caller, repr((report_id, task))):
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
