"""Who writes the reports: the loaded model in slots of its own, or an engine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from deployments.settings import EngineSettings, ModelSettings, SlotsSettings
from medinterp.errors import EngineError

if TYPE_CHECKING:
    from medinterp.model import Generator
    from medinterp.model.engine import Engine


def make_generator(
    settings: ModelSettings, writer: SlotsSettings | EngineSettings
) -> tuple[Generator, str]:
    """The model, loaded and tested, with the writer's slots and graphs; and who writes, in words for the log."""
    from medinterp.model import Generator, load_model, plan_room, self_test

    loaded = load_model(
        settings.name,
        revision=settings.revision,
        adapter=settings.adapter,
        adapter_revision=settings.adapter_revision,
        dtype=settings.dtype,
        device=settings.device,
        allow_download=settings.allow_download,
        image_first=settings.image_first,
        calibration=settings.calibration,
        film_domain=settings.film_domain,
    )
    self_test(loaded)
    limits: dict[str, Any] = {"max_trace_bytes": settings.max_trace_bytes}
    if isinstance(writer, EngineSettings):
        return Generator(loaded, **limits), f"the engine's model {writer.model}; at {writer.base_url}"
    room = plan_room(
        loaded,
        max_slots=writer.max_slots,
        max_length=writer.max_length,
        memory_share=writer.memory_share,
        max_trace_bytes=settings.max_trace_bytes,
        compiled=writer.compile,
    )
    return Generator(loaded, room=room, **limits), room.told(loaded)


def make_engine(settings: EngineSettings, *, image_first: bool) -> Engine:
    """The engine that writes; raises EngineError when its address cannot be used or its key is not there."""
    from medinterp.model.engine import Engine

    key = None
    if settings.api_key_env is not None:
        key = os.environ.get(settings.api_key_env)
        if not key:
            raise EngineError(
                f"writer.api_key_env names the environment variable {settings.api_key_env}, which is not set here"
            )
    try:
        return Engine(settings.base_url, settings.model, key, settings.timeout_s, image_first)
    except ValueError as error:
        raise EngineError(f"writer.base_url: {error}") from error
