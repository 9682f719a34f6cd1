"""The ingress of application `api`: the HTTP API, stateless, any replica answers any request."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from medinterp.api.settings import ApiSettings


@serve.ingress()
class ApiDeployment:
    """Runs medinterp.api over the other deployments and the report store."""

    def __init__(
        self,
        settings: ApiSettings,
        generation: DeploymentHandle[Any],
        relevancy: DeploymentHandle[Any],
        rendering: DeploymentHandle[Any],
    ) -> None:
        """Open the store. Raises StoreError; AccessError where strangers could come in without keys."""
        from deployments.backend import ServeBackend
        from deployments.listening import http_host, refuse_strangers
        from deployments.logs import join_serve_log
        from medinterp.api.store import open_store

        join_serve_log(as_json=settings.logs == "json")
        refuse_strangers(settings.access, http_host())
        self._settings = settings
        self._backend = ServeBackend(generation, relevancy, rendering)
        self._store = open_store(settings.store)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve after __init__."""
        from medinterp.api.app import create_api

        return create_api(self._backend, self._settings, self._store)
