"""The rendering deployment: pictures and files of a stored report."""

from __future__ import annotations

from medinterp.api.backend import ExportTask, PictureTask
from medinterp.api.selection import Selection
from medinterp.api.store import RedisStoreSettings, SqliteStoreSettings, open_store, unpack_record
from medinterp.explainer import Explanation


class RenderingDeployment:
    """Stateless; takes the film and maps from the store, so that only an id travels to it."""

    def __init__(self, store: SqliteStoreSettings | RedisStoreSettings) -> None:
        """Open the store and import what draws. Raises StoreError."""
        from medinterp.api import pictures

        self._store = open_store(store)
        self._lifetime_s = store.lifetime_s
        self._pictures = pictures

    def overlay(self, report_id: str, selection: Selection, task: PictureTask) -> bytes:
        """A PNG of the film with a map. Raises ReportNotFoundError, SelectionError, MethodError."""
        return self._pictures.overlay_png(self._report(report_id), selection, task)

    def film(self, report_id: str, size: int | None) -> bytes:
        """A PNG of the film. Raises ReportNotFoundError."""
        return self._pictures.film_png(self._report(report_id), size)

    def export(self, report_id: str, task: ExportTask) -> bytes:
        """The report as one file. Raises ReportNotFoundError, SelectionError, MethodError, ExportError."""
        stored = self._store.get(report_id)
        return self._pictures.exported(unpack_record(stored.blob), task, stored.made(self._lifetime_s))

    def ping(self) -> None:
        """Answer."""

    def _report(self, report_id: str) -> Explanation:
        return unpack_record(self._store.get(report_id).blob)
