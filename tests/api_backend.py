"""A backend for tests of the HTTP application: reads every film as the sample report, unless a report is given."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from medinterp.api import pictures
from medinterp.api.access.settings import AccessSettings
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
from medinterp.api.metrics import Collected, collected
from medinterp.api.schema_models import LoadedModelModel
from medinterp.api.selection import Selection, selected
from medinterp.api.settings import ApiSettings, Limits
from medinterp.api.store import ReportStore, SqliteStoreSettings, made_minute, unpack_record
from medinterp.evaluation.sensitivity.results import Comparison, ReportComparison
from medinterp.explanation import Explanation as StoredExplanation
from medinterp.phantom.films import draw_film, sample_film
from medinterp.types import (
    BoxVerdict,
    Explanation,
    Faithfulness,
    Film,
    HeadMaps,
    Interval,
    MapPack,
    OrderScores,
    Reliance,
    TextSources,
)
from tests.api_samples import SPANS, TEXT, given_explanation, sample_explanation
from tests.sensitivity_samples import sample_comparison, sample_report_comparison
from tests.sources_samples import sample_box_verdicts, sample_heads, sample_reliance, sample_text_sources

MODEL_SIZE = 24
"""The longer side of what the sample's model gets."""


@dataclass
class FakeBackend:
    """Answers from the sample; may be slow, or fail before the first word or after it."""

    store: ReportStore
    delay_s: float = 0.0
    early: Exception | None = None
    late: Exception | None = None
    tasks: list[ReadingTask] = field(default_factory=list)
    asked: list[
        MeasuringTask | JudgingTask | ComparingTask | SourcesTask | HeadsTask | RelianceTask | BoxesTask
    ] = field(default_factory=list)
    stopped: int = 0

    aliases: tuple[str, ...] = ("sample",)
    """All of one model, and those after the first not loaded."""

    async def models(self) -> tuple[LoadedModelModel, ...]:
        default = LoadedModelModel(
            alias="sample",
            id="sample",
            loaded=True,
            revision="1",
            dtype="float32",
            device="cpu",
            notice="not for diagnosis",
            default_prompt="?",
            writer="slots: 1 of 300 positions",
        )
        others = [default.model_copy(update={"alias": name, "loaded": False}) for name in self.aliases[1:]]
        return (default, *others)

    async def read(self, film: Film, task: ReadingTask, prior: Film | None = None) -> Explanation:
        self.tasks.append(task)
        await asyncio.sleep(self.delay_s)
        if self.early:
            raise self.early
        return explained(film, task, prior)

    async def read_aloud(
        self, film: Film, task: ReadingTask, prior: Film | None = None
    ) -> AsyncGenerator[str | Explanation]:
        self.tasks.append(task)
        if self.early:
            raise self.early
        for piece in [word + " " for word in TEXT.split(" ")] if task.report is None else [task.report]:
            await asyncio.sleep(self.delay_s)
            yield piece
        if self.late:
            raise self.late
        yield explained(film, task, prior)

    def stored(self, report_id: str) -> StoredExplanation:
        return unpack_record(self.store.get(report_id).blob)

    async def measure(self, report_id: str, task: MeasuringTask) -> AsyncGenerator[Progress | MapPack]:
        self.asked.append(task)
        try:
            if self.early:
                raise self.early
            for done in (64, 128, 256):
                await asyncio.sleep(self.delay_s)
                yield Progress(task.method, done, 256)
            if self.late:
                raise self.late
            for image in range(1 if self.stored(report_id).prior is None else 2):
                values = np.random.default_rng(7 + image).normal(size=(len(SPANS), 4, 4)).astype(np.float32)
                yield MapPack(task.method, values, signed=True, additive=True, options=task.options, image=image)
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise

    async def judge(self, report_id: str, task: JudgingTask) -> AsyncGenerator[Progress | Faithfulness]:
        self.asked.append(task)
        if self.early:
            raise self.early
        explanation = self.stored(report_id)
        words = selected(explanation.report, task.selection)
        pack = pictures.pack_of(explanation, task.method, task.image)
        for done in (10, 20):
            await asyncio.sleep(self.delay_s)
            yield Progress("faithfulness", done, 20)
        if self.late:
            raise self.late
        yield replace(sample_faithfulness(pack.method, explanation.tokens_of(words)), image=task.image)

    async def compare(
        self, report_id: str, task: ComparingTask
    ) -> AsyncGenerator[Progress | Comparison | ReportComparison]:
        self.asked.append(task)
        try:
            if self.early:
                raise self.early
            for done in (1, 2):
                await asyncio.sleep(self.delay_s)
                yield Progress("sensitivity", done, 2)
            if self.late:
                raise self.late
            methods = ("raw",) if task.methods is None else task.methods
            if task.questions:
                yield sample_comparison(task.questions, methods, task.perturbations, task.seed)
            else:
                yield sample_report_comparison(methods, task.perturbations, task.seed)
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise

    async def sources(
        self, report_id: str, task: SourcesTask | HeadsTask | RelianceTask | BoxesTask
    ) -> AsyncGenerator[Progress | TextSources | HeadMaps | Reliance | tuple[BoxVerdict, ...]]:
        self.asked.append(task)
        try:
            if self.early:
                raise self.early
            explanation = self.stored(report_id)
            if isinstance(task, RelianceTask):
                yield Progress("reliance", 2, 3)
            await asyncio.sleep(self.delay_s)
            if self.late:
                raise self.late
            if isinstance(task, RelianceTask):
                yield sample_reliance()
                return
            if isinstance(task, BoxesTask):
                yield sample_box_verdicts()
                return
            tokens = explanation.tokens_of(selected(explanation.report, task.selection))
            yield sample_heads(tokens, task.image) if isinstance(task, HeadsTask) else sample_text_sources(tokens)
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise

    async def overlay(self, report_id: str, selection: Selection, task: PictureTask) -> bytes:
        return pictures.overlay_png(self.stored(report_id), selection, task)

    async def film(
        self, report_id: str, size: int | None, view: FilmView = "film", image: int = 0, depth: FilmDepth = 8
    ) -> bytes:
        return pictures.film_png(self.stored(report_id), MODEL_SIZE if view == "model" else size, image, depth)

    async def export(self, report_id: str, task: ExportTask) -> bytes:
        stored = self.store.get(report_id)
        return pictures.exported(unpack_record(stored.blob), task, made_minute(stored.made_at))

    async def metrics(self) -> tuple[Collected, ...]:
        return (collected("api", "one"),)

    async def check(self) -> None:
        if self.early:
            raise self.early


def explained(film: Film, task: ReadingTask, prior: Film | None) -> Explanation:
    """The sample, or the given report; with a prior film other maps lie on that."""
    explanation = sample_explanation(film) if task.report is None else given_explanation(task.report, film)
    if task.model is not None:
        explanation = replace(explanation, provenance=replace(explanation.provenance, alias=task.model))
    if prior is None:
        return explanation
    packs = {
        name: replace(pack, values=1 - pack.values, image=1) for name, pack in explanation.packs.items()
    }
    return replace(explanation, prior=prior, prior_packs=packs)


def sample_faithfulness(method: str, tokens: tuple[int, ...]) -> Faithfulness:
    """A verdict made by hand."""
    scores = OrderScores(
        Interval(0.2, 0.1, 0.3), Interval(0.8, 0.7, 0.9), Interval(0.6, 0.5, 0.7), (0.9, 0.1), (0.1, 0.9)
    )
    return Faithfulness(
        method=method,
        token_indices=tokens,
        logprob=-0.5,
        blank_drop=3.0,
        swap_drops=(2.0, 4.0),
        reliance=4.0,
        fractions=(0.0, 1.0),
        scores=scores,
        random=scores,
        centre=scores,
        over_random=Interval(0.5, 0.4, 0.6),
        over_centre=Interval(0.5, 0.4, 0.6),
        verdict="region",
        sentence="Driven by this region.",
    )


def api_settings(
    directory: Path,
    lifetime_s: float = 3600,
    store_bytes: int = 50_000,
    when_full: Literal["evict", "refuse"] = "evict",
    access: AccessSettings | None = None,
    **limits: float,
) -> ApiSettings:
    """Small limits, and a store in the test's own directory."""
    path = str(directory / "store" / "r.sqlite3")
    store = SqliteStoreSettings(path=path, max_bytes=store_bytes, lifetime_s=lifetime_s, when_full=when_full)
    chosen = {"max_upload_bytes": 100_000, "max_pixels": 100_000, "max_new_tokens": 64}
    return ApiSettings(
        methods=("raw",),
        limits=Limits.model_validate({**chosen, "default_max_new_tokens": 32, **limits}),
        store=store,
        access=AccessSettings(allowed_hosts=("*",)) if access is None else access,
    )


@functools.cache
def png(height: int = 40, width: int = 60, seed: int = 3) -> bytes:
    """A synthetic chest film as a 16-bit PNG file, drawn once."""
    return bytes(cv2.imencode(".png", draw_film(sample_film(seed), width, height).uint16())[1])
