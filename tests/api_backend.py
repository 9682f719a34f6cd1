"""A backend for tests of the HTTP application: reads every film as the sample report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from medinterp.api import pictures
from medinterp.api.backend import ExportFormat, PictureTask, ReadingTask
from medinterp.api.schema import LoadedModelModel
from medinterp.api.selection import Selection
from medinterp.api.settings import ApiSettings, Limits
from medinterp.api.store import ReportStore, SqliteStoreSettings, unpack_record
from medinterp.explainer import Explanation as StoredExplanation
from medinterp.types import Explanation, Film
from tests.api_samples import TEXT, sample_explanation


@dataclass
class FakeBackend:
    """Answers from the sample; may be slow, or fail before the first word or after it."""

    store: ReportStore
    delay_s: float = 0.0
    early: Exception | None = None
    late: Exception | None = None
    tasks: list[ReadingTask] = field(default_factory=list)

    async def model(self) -> LoadedModelModel:
        return LoadedModelModel(
            id="sample",
            revision="1",
            dtype="float32",
            device="cpu",
            notice="not for diagnosis",
            default_prompt="?",
        )

    async def read(self, film: Film, task: ReadingTask) -> Explanation:
        self.tasks.append(task)
        await asyncio.sleep(self.delay_s)
        if self.early:
            raise self.early
        return sample_explanation(film)

    async def read_aloud(self, film: Film, task: ReadingTask) -> AsyncGenerator[str | Explanation]:
        self.tasks.append(task)
        if self.early:
            raise self.early
        for word in TEXT.split(" "):
            await asyncio.sleep(self.delay_s)
            yield word + " "
        if self.late:
            raise self.late
        yield sample_explanation(film)

    def stored(self, report_id: str) -> StoredExplanation:
        return unpack_record(self.store.get(report_id).blob)

    async def overlay(self, report_id: str, selection: Selection, task: PictureTask) -> bytes:
        return pictures.overlay_png(self.stored(report_id), selection, task)

    async def film(self, report_id: str, size: int | None) -> bytes:
        return pictures.film_png(self.stored(report_id), size)

    async def export(self, report_id: str, form: ExportFormat) -> bytes:
        return pictures.exported(self.stored(report_id), form)

    async def check(self) -> None:
        if self.early:
            raise self.early


def api_settings(directory: Path, lifetime_s: float = 3600, **limits: float) -> ApiSettings:
    """Small limits, and a store in the test's own directory."""
    path = str(directory / "store" / "r.sqlite3")
    store = SqliteStoreSettings(path=path, max_bytes=50_000, lifetime_s=lifetime_s)
    chosen = {"max_upload_bytes": 100_000, "max_pixels": 100_000, "max_new_tokens": 64}
    return ApiSettings(
        methods=("raw",),
        limits=Limits.model_validate({**chosen, "default_max_new_tokens": 32, **limits}), store=store
    )


def png(height: int = 40, width: int = 60) -> bytes:
    """A 16-bit ramp as a PNG file."""
    ramp = np.arange(height * width, dtype=np.uint16).reshape(height, width) * 27
    return bytes(cv2.imencode(".png", ramp)[1])
