"""A report with its maps as a file to take away: a page, a JSON document, a numpy archive."""

from __future__ import annotations

from medinterp.export.archive import npz
from medinterp.export.page import html
from medinterp.export.record import document

__all__ = ["document", "html", "npz"]
