"""An audit as one page that asks nothing of any machine, with its plots as files beside it."""

from __future__ import annotations

from medinterp.audit.page.build import write_page

__all__ = ["write_page"]
