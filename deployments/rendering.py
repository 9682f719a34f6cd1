"""The rendering deployment: pictures and files of a stored report."""

from __future__ import annotations

import warnings
from asyncio import to_thread

from deployments.settings import RenderingSettings
from medinterp.api.backend import ExportTask, FilmDepth, PictureTask
from medinterp.api.selection import Selection
from medinterp.api.store import RedisStoreSettings, SqliteStoreSettings, made_minute, open_store


class RenderingDeployment:
    """Takes film and maps from the store, so that only an id travels to it, and keeps the last reports unpacked.

    Pictures are drawn in threads: OpenCV and ISA-L let go of the interpreter, so that two are drawn at a time.
    """

    def __init__(self, store: SqliteStoreSettings | RedisStoreSettings, settings: RenderingSettings) -> None:
        """Open the store and import what draws. Raises StoreError."""
        from medinterp.api import pictures

        # These quote a DICOM's header; a context that silences them is not one thread's own.
        warnings.filterwarnings("ignore", module=r"highdicom|pydicom")
        from medinterp.api.kept import KeptReports

        self._reports = KeptReports(open_store(store), settings.kept_bytes)
        self._pictures = pictures

    async def overlay(self, report_id: str, selection: Selection, task: PictureTask) -> bytes:
        """A PNG of the film with a map. Raises ReportNotFoundError, SelectionError, MethodError."""
        return await to_thread(lambda: self._pictures.overlay_png(self._reports.get(report_id), selection, task))

    async def film(self, report_id: str, size: int | None, image: int = 0, depth: FilmDepth = 8) -> bytes:
        """A PNG of the film, or of the prior one (image 1). Raises ReportNotFoundError, SelectionError."""
        return await to_thread(lambda: self._pictures.film_png(self._reports.get(report_id), size, image, depth))

    async def export(self, report_id: str, task: ExportTask) -> bytes:
        """The report as one file. Raises ReportNotFoundError, SelectionError, MethodError, ExportError."""

        def make() -> bytes:
            explanation = self._reports.get(report_id)
            made = made_minute(self._reports.made_at(report_id))
            content: bytes = self._pictures.exported(explanation, task, made)
            return content

        return await to_thread(make)

    def ping(self) -> None:
        """Answer."""
