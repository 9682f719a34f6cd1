"""The page that people look at: a Gradio view around our own HTML, which talks to the HTTP API."""

from __future__ import annotations

from medinterp.ui.app import create_app

__all__ = ["create_app"]
