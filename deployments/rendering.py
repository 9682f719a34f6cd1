"""The rendering deployment: pictures and files of a stored report."""

from __future__ import annotations

import warnings
from asyncio import to_thread
from collections.abc import Callable
from typing import Any, TypeVar

from deployments.metrics import collected, join_ray_metrics
from deployments.settings import RenderingUserConfig
from deployments.user_config import UserConfig
from medinterp import stages
from medinterp.api import metrics
from medinterp.api.backend import ExportTask, FilmDepth, PictureTask
from medinterp.api.health import UnderWay, store_probe
from medinterp.api.metrics import Collected
from medinterp.api.selection import Selection
from medinterp.api.store import RedisStoreSettings, SqliteStoreSettings, made_minute, open_store
from medinterp.errors import StoreFullError

Result = TypeVar("Result")


class RenderingDeployment:
    """Takes film and maps from the store, so that only an id travels to it, and keeps the last reports unpacked.

    Pictures are drawn in threads: OpenCV and ISA-L let go of the interpreter, so that two are drawn at a time.
    """

    def __init__(self, store: SqliteStoreSettings | RedisStoreSettings) -> None:
        """Open the store and import what draws. Raises StoreError."""
        from medinterp.api import pictures

        # These quote a DICOM's header; a context that silences them is not one thread's own.
        warnings.filterwarnings("ignore", module=r"highdicom|pydicom")
        from medinterp.api.kept import KeptReports

        join_ray_metrics()
        self._store = open_store(store)
        self._reports = KeptReports(self._store, RenderingUserConfig().kept_bytes)
        self._changes = UserConfig(RenderingUserConfig, lambda changed: self._reports.limit(changed.kept_bytes))
        self._pictures = pictures
        self._under_way, self._store_probe = UnderWay("pictures and files"), store_probe(self._store)
        metrics.KEPT_BYTES.ask(lambda: self._reports.nbytes)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Called by Serve with RenderingUserConfig, before the first request and at every change."""
        self._changes.take(user_config)

    async def _draw(self, make: Callable[[], Result]) -> Result:
        """In a thread, timed and watched."""

        def watched() -> Result:
            with self._under_way.one(), stages.stage("render"):
                return make()

        return await to_thread(watched)

    async def overlay(self, report_id: str, selection: Selection, task: PictureTask) -> bytes:
        """A PNG of the film with a map. Raises ReportNotFoundError, SelectionError, MethodError."""
        return await self._draw(lambda: self._pictures.overlay_png(self._reports.get(report_id), selection, task))

    async def film(self, report_id: str, size: int | None, image: int = 0, depth: FilmDepth = 8) -> bytes:
        """A PNG of the film, or of the prior one (image 1). Raises ReportNotFoundError, SelectionError."""
        return await self._draw(lambda: self._pictures.film_png(self._reports.get(report_id), size, image, depth))

    async def export(self, report_id: str, task: ExportTask) -> bytes:
        """The report as one file. Raises ReportNotFoundError, SelectionError, MethodError, ExportError."""

        def make() -> bytes:
            explanation = self._reports.get(report_id)
            made = made_minute(self._reports.made_at(report_id))
            content: bytes = self._pictures.exported(explanation, task, made)
            return content

        return await self._draw(make)

    async def ping(self) -> None:
        """Answer when stored reports can be read. Raises StoreError."""
        await to_thread(self._read_store)

    def _read_store(self) -> None:
        try:
            self._store.check()
        except StoreFullError:
            return  # what is kept can be drawn

    async def check_health(self) -> None:
        """Raise when the store is away for a minute, or a picture has taken 5 minutes. One look of 2 s at most."""
        self._under_way.check()
        await self._store_probe.check()

    async def metrics(self) -> Collected:
        """What this replica has counted."""
        return await to_thread(collected)
