"""The generation deployment without Ray: what it hands to relevancy comes back as it is."""

from __future__ import annotations

from typing import Any

from deployments.generation import GenerationDeployment
from deployments.settings import (
    DefaultModelSettings,
    EngineSettings,
    GenerationUserConfig,
    QueueSettings,
    SlotsSettings,
)
from medinterp.api.store import SqliteStoreSettings


class Untouched:
    """Answers with the generation itself in place of its maps."""

    def options(self, **_: Any) -> Untouched:
        return self

    @property
    def explain(self) -> Untouched:
        return self

    async def remote(self, generation: Any, methods: tuple[str, ...]) -> Any:
        return generation


def generation_deployment(
    store: SqliteStoreSettings, writer: SlotsSettings | EngineSettings | None = None, queue: QueueSettings | None = None
) -> GenerationDeployment:
    """Of the bundled model, which knows its own films."""
    parts = DefaultModelSettings(name="phantom"), writer or SlotsSettings(), store
    deployment = GenerationDeployment(*parts, Untouched())  # type: ignore[arg-type]
    deployment.reconfigure(GenerationUserConfig(queue=queue or QueueSettings()).model_dump())
    return deployment
