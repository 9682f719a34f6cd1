"""The rendering deployment: pictures and files of a stored report."""

from __future__ import annotations

from deployments.settings import RenderingSettings
from medinterp.api.backend import ExportFormat, PictureTask
from medinterp.api.selection import Selection
from medinterp.api.store import RedisStoreSettings, SqliteStoreSettings, open_store
from medinterp.explainer import Explanation


class RenderingDeployment:
    """Takes film and maps from the store, so that only an id travels to it, and keeps the last reports unpacked."""

    def __init__(self, store: SqliteStoreSettings | RedisStoreSettings, settings: RenderingSettings) -> None:
        """Open the store and import what draws. Raises StoreError."""
        from medinterp.api import pictures
        from medinterp.api.kept import KeptReports

        self._reports = KeptReports(open_store(store), settings.kept_bytes)
        self._pictures = pictures

    def overlay(self, report_id: str, selection: Selection, task: PictureTask) -> bytes:
        """A PNG of the film with a map. Raises ReportNotFoundError, SelectionError, MethodError."""
        return self._pictures.overlay_png(self._report(report_id), selection, task)

    def film(self, report_id: str, size: int | None) -> bytes:
        """A PNG of the film. Raises ReportNotFoundError."""
        return self._pictures.film_png(self._report(report_id), size)

    def export(self, report_id: str, form: ExportFormat) -> bytes:
        """The report as one file. Raises ReportNotFoundError."""
        return self._pictures.exported(self._report(report_id), form)

    def ping(self) -> None:
        """Answer."""

    def _report(self, report_id: str) -> Explanation:
        return self._reports.get(report_id)
