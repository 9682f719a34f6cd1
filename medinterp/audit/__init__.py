"""A whole archive: films in, tables of evidence out, on Ray Data."""

from __future__ import annotations

from medinterp.audit.tables import Audit, open_audit

__all__ = ["Audit", "open_audit"]
