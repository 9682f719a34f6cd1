"""The page that people look at: the reading room, by itself and in a Gradio view."""

from __future__ import annotations

from medinterp.ui.app import create_app

__all__ = ["create_app"]
