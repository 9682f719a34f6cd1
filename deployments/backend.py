"""The HTTP API's backend over Ray Serve handles: who asks whom, and what happens when one dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from ray.serve.handle import DeploymentHandle

from deployments.faults import translated
from deployments.metrics import collected_by
from deployments.relevancy import Explained
from medinterp.api.backend import (
    BoxesTask,
    ComparingTask,
    ExportTask,
    FilmDepth,
    FilmView,
    HeadsTask,
    JudgingTask,
    MeasuringTask,
    PictureTask,
    Progress,
    ReadingTask,
    RelianceTask,
    SourcesTask,
)
from medinterp.api.caller import CALLER
from medinterp.api.metrics import Collected
from medinterp.api.schema_models import LoadedModelModel
from medinterp.api.selection import Selection
from medinterp.api.store import ReportStore, alias_of
from medinterp.errors import ServiceBusyError, ServiceInterruptedError
from medinterp.evaluation.sensitivity.results import Comparison, ReportComparison
from medinterp.types import (
    BoxVerdict,
    Explanation,
    Faithfulness,
    Film,
    FilmWarning,
    HeadMaps,
    MapPack,
    Reliance,
    TextSources,
)

CHECK_S = 5.0


class ServeBackend:
    """Asks the deployments. The trace never passes through here: generation hands it to relevancy."""

    def __init__(
        self,
        generation: DeploymentHandle[Any],
        relevancy: DeploymentHandle[Any],
        rendering: DeploymentHandle[Any],
        store: ReportStore,
        aliases: tuple[str, ...],
    ) -> None:
        """store: where it stands which model a report was made with."""
        self._store, self.aliases = store, aliases
        # Serve types its calls by neither their results nor their streaming.
        self._parts = (generation, relevancy, rendering)
        self._generation: Any = generation.options(_by_reference=True)
        self._aloud: Any = generation.options(_by_reference=True, stream=True)
        self._relevancy: Any = relevancy.options(_by_reference=True)
        self._rendering: Any = rendering.options(_by_reference=True)

    async def models(self) -> tuple[LoadedModelModel, ...]:
        """What models read films, the default one first."""
        facts: tuple[LoadedModelModel, ...] = await _answered(self._generation.models.remote())
        return facts

    def _holding(self, handle: Any, alias: str | None) -> Any:
        """The handle of generation that goes to a replica which holds the model; all hold the default one."""
        chosen = alias is not None and alias != self.aliases[0]
        return handle.options(multiplexed_model_id=alias) if chosen else handle

    async def _of(self, report_id: str, handle: Any) -> Any:
        """The same for the model that a report was made with."""
        if len(self.aliases) == 1:
            return handle  # generation looks whether it is this one
        alias = await asyncio.to_thread(lambda: alias_of(self._store.get(report_id).blob))
        return self._holding(handle, alias if alias in self.aliases else None)

    async def read(self, film: Film, task: ReadingTask, prior: Film | None = None) -> Explanation:
        """Read the film; once more when a replica died on the way."""
        try:
            return await self._read(film, task, prior)
        except ServiceInterruptedError:
            return await self._read(film, task, prior)

    async def _read(self, film: Film, task: ReadingTask, prior: Film | None) -> Explanation:
        generation = self._holding(self._generation, task.model)
        writing = generation.write.remote(_unnamed(film), task, CALLER.get(), _unnamed(prior))
        return _explanation(film, prior, await _answered(writing))

    async def read_aloud(
        self, film: Film, task: ReadingTask, prior: Film | None = None
    ) -> AsyncGenerator[str | Progress | Explanation]:
        """The same with the text as it grows; once more when a replica died before the first word."""
        silent = True
        try:
            async with aclosing(self._read_aloud(film, task, prior)) as items:
                async for item in items:
                    silent = False
                    yield item
        except ServiceInterruptedError:
            if not silent:
                raise
            async with aclosing(self._read_aloud(film, task, prior)) as items:
                async for item in items:
                    yield item

    async def _read_aloud(
        self, film: Film, task: ReadingTask, prior: Film | None
    ) -> AsyncGenerator[str | Progress | Explanation]:
        generation = self._holding(self._aloud, task.model)
        writing = generation.write_aloud.remote(_unnamed(film), task, CALLER.get(), _unnamed(prior))
        async with aclosing(_streamed(writing)) as items:
            async for item in items:
                yield item if isinstance(item, str | Progress) else _explanation(film, prior, item)

    async def measure(self, report_id: str, task: MeasuringTask) -> AsyncGenerator[Progress | MapPack]:
        """Progress, and last the maps on each film."""
        generation = await self._of(report_id, self._aloud)
        async with aclosing(_streamed(generation.measure.remote(report_id, task, CALLER.get()))) as items:
            async for item in items:
                yield item

    async def judge(self, report_id: str, task: JudgingTask) -> AsyncGenerator[Progress | Faithfulness]:
        """Progress, and the verdict last."""
        generation = await self._of(report_id, self._aloud)
        async with aclosing(_streamed(generation.judge.remote(report_id, task, CALLER.get()))) as items:
            async for item in items:
                yield item

    async def compare(
        self, report_id: str, task: ComparingTask
    ) -> AsyncGenerator[Progress | Comparison | ReportComparison]:
        """Progress, and the comparison last."""
        generation = await self._of(report_id, self._aloud)
        async with aclosing(_streamed(generation.compare.remote(report_id, task, CALLER.get()))) as items:
            async for item in items:
                yield item

    async def sources(
        self, report_id: str, task: SourcesTask | HeadsTask | RelianceTask | BoxesTask
    ) -> AsyncGenerator[Progress | TextSources | HeadMaps | Reliance | tuple[BoxVerdict, ...]]:
        """What drove some words, what each loses with another film, or whether boxes lie where the model looked."""
        generation = await self._of(report_id, self._aloud)
        async with aclosing(_streamed(generation.sources.remote(report_id, task, CALLER.get()))) as items:
            async for item in items:
                yield item

    async def overlay(self, report_id: str, selection: Selection, task: PictureTask) -> bytes:
        """A PNG of the film with a map."""
        picture: bytes = await _answered(self._rendering.overlay.remote(report_id, selection, task))
        return picture

    async def film(
        self, report_id: str, size: int | None, view: FilmView = "film", image: int = 0, depth: FilmDepth = 8
    ) -> bytes:
        """A PNG of the film; what the model gets is drawn where the model is."""
        if view == "model":
            generation = await self._of(report_id, self._generation)
            picture: bytes = await _answered(generation.view.remote(report_id, image))
        else:
            picture = await _answered(self._rendering.film.remote(report_id, size, image, depth))
        return picture

    async def export(self, report_id: str, task: ExportTask) -> bytes:
        """The report as one file."""
        content: bytes = await _answered(self._rendering.export.remote(report_id, task))
        return content

    async def check(self) -> None:
        """Ask every deployment for a sign of life: one replica of each has to give it."""
        waiting = {
            "generation": self._generation.ping.remote(),
            "relevancy": self._relevancy.ping.remote(),
            "rendering": self._rendering.ping.remote(),
        }
        try:
            async with asyncio.timeout(CHECK_S):
                for name in tuple(waiting):
                    await _answered(waiting[name])
                    del waiting[name]
        except TimeoutError as error:
            raise ServiceBusyError(f"{next(iter(waiting))} does not answer within {CHECK_S:g} s") from error

    async def metrics(self) -> tuple[Collected, ...]:
        """What every replica of every deployment has counted."""
        return await collected_by(*self._parts)


def _unnamed(film: Film | None) -> Film | None:
    """The film without what names its patient: the model has no use for that."""
    return film if film is None or film.source is None else replace(film, source=None)


def _explanation(film: Film, prior: Film | None, explained: Explained) -> Explanation:
    """What relevancy answers, with the model's own doubts among the films' warnings."""
    return Explanation(
        _doubted(film, explained.doubts),
        explained.report,
        explained.packs,
        explained.provenance,
        prior=None if prior is None else _doubted(prior, explained.prior_doubts),
        prior_packs=explained.prior_packs,
    )


def _doubted(film: Film, doubts: tuple[FilmWarning, ...]) -> Film:
    return replace(film, warnings=(*film.warnings, *doubts))


async def _streamed(call: Any) -> AsyncGenerator[Any]:
    """The call's items; cancelled when its caller goes away."""
    finished = False
    try:
        with translated():
            async for item in call:
                yield item
        finished = True
    finally:
        if not finished:
            call.cancel()


async def _answered(call: Any) -> Any:
    """The call's result; cancelled with its caller."""
    try:
        with translated():
            return await call
    except asyncio.CancelledError:
        call.cancel()
        raise
