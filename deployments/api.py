"""The ingress of application `api`: the HTTP API, stateless, any replica answers any request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.metrics import collected, join_ray_metrics
from deployments.user_config import UserConfig
from medinterp.api.metrics import Collected
from medinterp.api.settings import ApiFixed, ApiSettings, ApiUserConfig, LiveSettings

if TYPE_CHECKING:
    from medinterp.api.health import ApiHealth


@serve.ingress()
class ApiDeployment:
    """Runs medinterp.api over the other deployments and the report store."""

    def __init__(
        self,
        fixed: ApiFixed,
        generation: DeploymentHandle[Any],
        relevancy: DeploymentHandle[Any],
        rendering: DeploymentHandle[Any],
        aliases: tuple[str, ...],
    ) -> None:
        """Open the store. aliases: what requests call the models, the default one first.

        Raises StoreError; AccessError where strangers could come in without keys."""
        from deployments.backend import ServeBackend
        from deployments.listening import http_host, refuse_strangers
        from deployments.logs import join_serve_log
        from medinterp.api.store import open_store

        join_serve_log(as_json=fixed.logs == "json")
        join_ray_metrics()
        self._store = open_store(fixed.store)
        refuse_strangers(fixed.access, http_host())
        self._settings = ApiSettings(**dict(fixed))
        self._live = LiveSettings(self._settings)
        self._changes = UserConfig(ApiUserConfig, self._live.change)
        self._backend = ServeBackend(generation, relevancy, rendering, self._store, aliases)
        self._health: ApiHealth | None = None

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve after __init__."""
        from medinterp.api.app import create_api

        app = create_api(self._backend, self._settings, self._store, live=self._live)
        self._health = app.state.health
        return app

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Called by Serve with ApiUserConfig, before the first request and at every change."""
        self._changes.take(user_config)

    async def check_health(self) -> None:
        """Raise when the store is away for a minute, films cannot be decoded, or expired reports stay.

        Two looks of 2 s at most; that it runs at all, on the loop of the requests, says that they are answered.
        """
        if self._health is not None:
            await self._health.check()

    async def metrics(self) -> Collected:
        """What this replica has counted."""
        return await asyncio.to_thread(collected)
