"""The engine that writes where the settings name one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deployments.settings import EngineSettings
from medinterp.errors import EngineError

if TYPE_CHECKING:
    from medinterp.model.engine import Engine


def open_engine(settings: EngineSettings, *, image_first: bool) -> Engine:
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
