"""The ingress of application `ui`: the page. Fixed replicas; its queue and sessions live in one."""

from __future__ import annotations

from fastapi import FastAPI
from ray import serve

from deployments.settings import UiArgs


@serve.ingress()
class UiDeployment:
    """Serves the Gradio page, which talks to the HTTP API from the browser."""

    def __init__(self, settings: UiArgs) -> None:
        """Keep the settings; Blocks cannot be pickled, so the page is built in the replica."""
        self._settings = settings

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve after __init__."""
        from medinterp.ui import create_app

        return create_app(**self._settings.model_dump())
