"""The reading room: one HTML document with its style and its script in it, over the HTTP API or a file's own data."""

from __future__ import annotations

from medinterp.view.document import Document, document

__all__ = ["Document", "document"]
